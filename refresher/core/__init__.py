"""The rules: no I/O, no clock, no dice. Time and chance are arguments; what comes out says why."""

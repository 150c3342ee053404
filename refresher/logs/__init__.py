"""The log: the line of each notification, repeated failures, formats, redaction and writing."""

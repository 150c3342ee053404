"""Flags, environment and file become frozen settings, or every mistake at once."""

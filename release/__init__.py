"""Generates the files of a release: manual page, completion scripts, schema of the chart's values."""

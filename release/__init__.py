"""What a release needs and the program does not: the manual page, the files of an installation, the schema
of the chart's values."""

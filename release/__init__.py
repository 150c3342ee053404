"""What a release needs and the program does not: completion and manual page, made when it is built,
and what the values of the chart may be."""

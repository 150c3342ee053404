"""One module per command. Each is thin: read options, wire the parts, print text, return an exit code."""

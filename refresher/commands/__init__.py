"""One module a command. Thin: options in, parts put together, text and exit code out."""

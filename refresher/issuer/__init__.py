"""The HTTP client of the Inlive API, which mints tokens."""

"""The one who mints: the HTTP client of the Inlive API."""

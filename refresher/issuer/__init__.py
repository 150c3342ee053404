"""The HTTP clients of issuers, which mint tokens."""

"""Where application keys come from."""

"""Where application keys are read from."""

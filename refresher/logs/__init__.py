"""The log: what a notification says, which failures are repeated, how a line looks, who writes it."""

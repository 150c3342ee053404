"""The metrics: what is counted, and how Prometheus scrapes it."""

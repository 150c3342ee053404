"""Serves HTTP: the endpoints for Prometheus, probes and people, and the consumers' listener. Only a
report of an expired token influences the engine."""

"""Kubernetes: the one adapter that speaks to an API server (`api`), and what is asked of it but Secrets."""

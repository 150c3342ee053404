"""Kubernetes: the client of the API server (`api`) and its uses, except Secrets (`outputs.secret`)."""

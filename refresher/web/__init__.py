"""HTTP endpoints for Prometheus, the kubelet's probes and people with a browser. All are read-only."""

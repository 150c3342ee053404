"""Who asks over HTTP: Prometheus, the kubelet's probes, people with a browser. They influence nothing."""

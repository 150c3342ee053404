"""Who asks over HTTP: Prometheus, the kubelet's probes, people with a browser; and the consumers of tokens.
Consumers may report that a token has expired. Nobody else influences anything."""

// From where the tests have the custom resource definitions of the Prometheus operator: its source has them.
module inlive.invalid/prometheus-operator

go 1.24.0

require github.com/prometheus-operator/prometheus-operator v0.86.1

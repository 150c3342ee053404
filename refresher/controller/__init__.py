"""`AccessToken` objects of Kubernetes: their fields, what they demand, and what their status says."""

"""The registry's controller at scale and its latencies, on the API server of KUBECONFIG."""

"""The controller's Kubernetes API, `registry.telltale.dev/v1alpha1`: what people write, and what it answers."""

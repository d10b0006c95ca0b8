"""The control plane: which version of a model is served, decided step by step and with a way back."""

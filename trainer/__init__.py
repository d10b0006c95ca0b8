"""Training: from a window of batches to a registered model version in the model store."""

"""Taking batches in: reading, storing once, waiting for their training."""

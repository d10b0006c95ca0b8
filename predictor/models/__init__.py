"""Which model versions there are, which are in memory, and which of them is a model's default."""

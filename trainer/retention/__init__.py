"""Retention: which batches, model versions and MLflow runs nobody needs any more, and removing them in a safe order."""

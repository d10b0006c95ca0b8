"""PostgreSQL and object storage behind small ports: batches, the training queue, the model store."""

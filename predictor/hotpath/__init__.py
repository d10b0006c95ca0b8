"""The hot path: scoring requests answered by plain ASGI ahead of the facade."""

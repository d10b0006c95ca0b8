"""The FastAPI facade: every route that is not the hot path, and the documentation of all of them."""

"""Spans on their way from the components to a collector; it knows none of them."""

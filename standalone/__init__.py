"""Telltale on one machine: the same parts, an embedded PostgreSQL, local files, no cluster."""

"""Disturbs the registry controller by faults of everything that it talks to; see `docs/killpoints.md`."""

"""Security events, kept for tests to look at."""

from __future__ import annotations


class RecordedEvents:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self.fetched: list[int] = []
        self.failed = 0
        self.leases: list[int] = []
        self.failed_leases = 0
        self.alone: list[bool] = []

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def keys_fetched(self, keys: int) -> None:
        self.fetched.append(keys)

    def keys_failed(self) -> None:
        self.failed += 1

    def quotas_leased(self, subjects: int, seconds: float) -> None:
        assert seconds >= 0
        self.leases.append(subjects)

    def quotas_failed(self) -> None:
        self.failed_leases += 1

    def quotas_alone(self, alone: bool) -> None:
        self.alone.append(alone)

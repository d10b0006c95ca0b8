"""What the security parts tell whoever watches: a port for metrics, so that they know no metrics library."""

from __future__ import annotations

from typing import Protocol


class SecurityEvents(Protocol):
    """Receives what happens, on the event loop's thread; nothing here may block or raise."""

    def refused(self, reason: str) -> None:
        """Count a request or connection that was refused; ``reason`` is one of a small, stable set."""

    def keys_fetched(self, keys: int) -> None:
        """Note a refresh of the issuer's keys that worked, and how many keys can be used."""

    def keys_failed(self) -> None:
        """Count a refresh of the issuer's keys that failed; those known before stay in use."""

    def quotas_leased(self, subjects: int, seconds: float) -> None:
        """Note a lease of quotas for so many subjects, and how long the database took."""

    def quotas_failed(self) -> None:
        """Count a lease that failed."""

    def quotas_alone(self, alone: bool) -> None:
        """Note whether quotas are enforced by the last known share, because the database does not answer."""


class NoEvents:
    """Receives everything and keeps nothing."""

    def refused(self, reason: str) -> None:
        """Do nothing."""

    def keys_fetched(self, keys: int) -> None:
        """Do nothing."""

    def keys_failed(self) -> None:
        """Do nothing."""

    def quotas_leased(self, subjects: int, seconds: float) -> None:
        """Do nothing."""

    def quotas_failed(self) -> None:
        """Do nothing."""

    def quotas_alone(self, alone: bool) -> None:
        """Do nothing."""

"""A controller in this process that looks when it is told to, and ends at a write."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from killpoints.errors import NotPlayed
from killpoints.seam import Notes, Seam
from registry.composition import Controller, build
from registry.errors import RegistryError
from registry.resolving import ModelSource
from registry.settings import RegistrySettings
from registry.work_queue import Key
from registry.write_back import ModelNotes


@dataclass(frozen=True)
class Turn:
    """What one look came to.

    Args:
        again_in: seconds until the next look is due; None where only a change can bring something.
        phase: where the rollout stands; None where there is no ServedModel.
        labels: of the writes that were made.
        error: why the look was given up, where it was.

    """

    again_in: float | None
    phase: str | None
    labels: tuple[str, ...]
    error: str = ""


class Looks(Protocol):
    """A controller that is driven by hand."""

    def look(self) -> Turn:
        """Look once; raises Crash where the controller ended."""

    def close(self) -> None:
        """Let go of it, dead or alive."""


def settings_for(namespace: str, prometheus_url: str) -> RegistrySettings:
    """Return the settings of a controller of one ServedModel."""
    return RegistrySettings(
        namespaces=[namespace],
        leader_election=False,
        require_route_acceptance=False,
        workers=1,
        prometheus_url=prometheus_url,
        request_timeout_seconds=20,
    )


def make(settings: RegistrySettings, **parts: Any) -> Controller:
    """Build a controller of these parts; NotPlayed where OpenSSL cannot.

    Each has clients of its own, and once in thousands of times OpenSSL fails to read the bundle of certificates.
    """
    try:
        return build(settings, **parts)
    except ssl.SSLError as error:
        raise NotPlayed(f"OpenSSL: {error}") from error


class HandController:
    """The controller, all of it but its threads.

    Args:
        settings: of it.
        key: the ServedModel.
        models: MLflow, to read.
        notes: MLflow, to write.
        seam: every write goes through it.
        clock: the time of day.

    """

    def __init__(
        self,
        settings: RegistrySettings,
        key: Key,
        models: ModelSource,
        notes: ModelNotes,
        seam: Seam,
        clock: Callable[[], datetime],
    ) -> None:
        self._key, self._seam = key, seam
        self._built = make(settings, source=models, notes=Notes(notes, seam), wrap=seam.wrap, clock=clock)

    def look(self) -> Turn:
        """Ask MLflow, look once, and write what MLflow is to be told."""
        done = len(self._seam.labels)
        self._built.resolver.poll()
        try:
            looked = self._built.reconciler.reconcile(self._key)
        except RegistryError as error:
            return Turn(0.1, None, tuple(self._seam.labels[done:]), f"{type(error).__name__}: {error}")
        self._built.write_back.flush()
        return Turn(looked.again_in, looked.phase, tuple(self._seam.labels[done:]))

    def close(self) -> None:
        """Let go of its connections."""
        self._built.hurry()
        self._built.close()

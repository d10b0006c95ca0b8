"""What a scenario is: what people do to a ServedModel, each time when the controller has come to rest.

A scenario knows nothing of how it is played: on a real cluster or on a stand-in, by a clock moved by hand or by the
real one. So one and the same can be killed, and be disturbed by faults of the API server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from registry.api.rollout_action import Kind

Manifest = dict[str, Any]


class Stage(Protocol):
    """Where a scenario is played, with all that is not the controller."""

    def create(self) -> None:
        """Create the ServedModel."""

    def delete(self) -> None:
        """Delete the ServedModel."""

    def patch(self, spec: Manifest) -> None:
        """Change its spec, as a merge patch does."""

    def move_alias(self, number: int | None) -> None:
        """Let MLflow's alias name a version, or none."""

    def act(self, kind: Kind, to: int | None = None) -> None:
        """Create a RolloutAction; ``to`` is the version to undo to."""

    def measure(self, value: float | None) -> None:
        """Let Prometheus answer this to every query."""

    def set_sources(self, *, away: bool) -> None:
        """Let MLflow and Prometheus go away, or come back."""

    def freeze(self, seconds: int) -> None:
        """Put a freeze window into the spec that begins this very minute."""

    def elapse(self, seconds: float) -> None:
        """Let time go by in which nothing happens."""


@dataclass(frozen=True)
class Step:
    """Something that somebody does, and the phase in which the rollout then comes to rest; None once it is gone."""

    do: Callable[[Stage], None]
    until: str | None


@dataclass(frozen=True)
class Scenario:
    """A history of one ServedModel.

    Args:
        name: one word, for the command line.
        spec: of the ServedModel.
        before: what happens until the transition that is looked at.
        steps: the transition.
        while_down: what happens while the controller is down after a crash; the undisturbed run ends with it.
        by_hand_only: its times are too long for the real clock.

    """

    name: str
    spec: Manifest
    before: tuple[Step, ...]
    steps: tuple[Step, ...]
    while_down: Step | None = None
    by_hand_only: bool = False

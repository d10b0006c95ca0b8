"""The seam at which the controller dies: every write, to the API server and to MLflow, goes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeVar

from killpoints.labels import label, label_of_tags
from registry.kubernetes.resources import Manifest
from registry.kubernetes.writes import Write, Writes
from registry.write_back import ModelNotes

_Answer = TypeVar("_Answer")


class Crash(BaseException):
    """The process ends here; nothing of the controller may catch it."""


def crash() -> NoReturn:
    """End the controller within this process."""
    raise Crash


@dataclass(frozen=True)
class Kill:
    """A point: the first write of this label, and whether it still reaches the server."""

    label: str
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.label}"


class Witness(Protocol):
    """Sees every write to the API server, and says what is wrong with it."""

    def around(self, write: Writes, wanted: Write) -> Manifest:
        """Do a write."""


class Seam:
    """Counts writes, and ends the controller once, before or after one of them.

    Args:
        served_model: its name, which labels leave out.
        witness: sees the writes.
        die: ends the controller.

    """

    def __init__(self, served_model: str, witness: Witness, die: Callable[[], NoReturn] = crash) -> None:
        self._served_model, self._witness, self._die = served_model, witness, die
        self.kill: Kill | None = None
        self.labels: list[str] = []

    def wrap(self, write: Writes) -> Writes:
        """Return ``write``, at which the controller may end."""

        def killing(wanted: Write) -> Manifest:
            return self._pass(label(wanted, self._served_model), lambda: self._witness.around(write, wanted))

        return killing

    def note(self, named: str, do: Callable[[], None]) -> None:
        """Do a write to MLflow."""
        self._pass(named, do)

    def _pass(self, named: str, do: Callable[[], _Answer]) -> _Answer:
        kill = self.kill if self.kill is not None and self.kill.label == named else None
        if kill is not None and not kill.after:
            self._end()
        answer = do()  # where that fails the write is still to come, and the end with it
        self.labels.append(named)
        if kill is not None:
            self._end()
        return answer

    def _end(self) -> NoReturn:
        self.kill = None
        self._die()


class Notes:
    """What is written to MLflow, behind the seam.

    Args:
        models: MLflow.
        seam: at which the controller may end.

    """

    def __init__(self, models: ModelNotes, seam: Seam) -> None:
        self._models, self._seam = models, seam

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        """Take tags of a version, if the controller lives."""
        self._seam.note(label_of_tags(number, tags), lambda: self._models.set_tags(model, number, tags))

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Take an alias, if the controller lives."""
        self._seam.note(f"MLflow alias is {number}", lambda: self._models.set_alias(model, alias, number))

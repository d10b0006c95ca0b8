"""What became of a version, written to MLflow where the data scientist looks; never waited for.

Only the newest wish for each version counts. What was written is remembered, so nothing is written twice; what could
not be written is tried again at the next flush. A controller that starts anew writes once what it finds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass
from threading import Event, Lock
from typing import Protocol

from registry.errors import MlflowUnavailable, NotRegistered

_log = logging.getLogger(__name__)


class ModelNotes(Protocol):
    """What is written to MLflow; `registry.mlflow_registry.MlflowRegistry` is one."""

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        """Write tags of a version."""

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let an alias name a version."""


@dataclass(frozen=True)
class Note:
    """A tag of a version (its number in ``of``) or an alias of a model (with an empty ``of``)."""

    model: str
    of: str
    name: str


class WriteBack:
    """Notes for MLflow.

    Args:
        notes: MLflow; it is given to whatever wraps its writes, too.
        may_write: whether this replica still leads; once it does not, what it had to note is old news and is dropped.

    """

    def __init__(self, notes: ModelNotes, may_write: Callable[[], bool] = lambda: True) -> None:
        self._notes, self._may_write = notes, may_write
        self._lock = Lock()
        self._wanted: dict[Note, str] = {}
        self._written: dict[Note, str] = {}
        # In the context of the look that asked for it.
        self._asked_in: dict[tuple[str, str], Context] = {}
        self._news = Event()

    def want_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        """Ask for tags of a version."""
        self._want({Note(model, number, name): value for name, value in tags.items()})

    def has_taken(self, model: str, number: str, tags: Mapping[str, str]) -> bool:
        """Tell whether just these tags of a version are written."""
        with self._lock:
            notes = {Note(model, number, name): value for name, value in tags.items()}
            return all(self._written.get(note) == value and note not in self._wanted for note, value in notes.items())

    def want_alias(self, model: str, alias: str, number: str) -> None:
        """Ask for an alias to name a version."""
        self._want({Note(model, "", alias): number})

    def forget(self) -> None:
        """Take nothing as written: another replica may have written since."""
        with self._lock:
            self._written.clear()
            self._wanted.clear()
            self._asked_in.clear()

    def let_go(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        """Remember no more that these tags of a version were written."""
        with self._lock:
            for name in tags:
                self._written.pop(Note(model, number, name), None)

    def let_go_of_all(self, of_it: Callable[[str], bool]) -> None:
        """Remember no more that tags and aliases with such names were written; what still waits is written."""
        with self._lock:
            self._written = {note: value for note, value in self._written.items() if not of_it(note.name)}

    def run(self, stop: Event, retry_seconds: float, beat: Callable[[], None] = lambda: None) -> None:
        """Write what is wanted until ``stop``; ``beat`` is told before each wait and each write."""
        while not stop.is_set():
            beat()
            self._news.wait(retry_seconds)
            self._news.clear()
            if not stop.is_set() and not self.flush(beat):
                beat()
                stop.wait(retry_seconds)

    def pending(self) -> int:
        """Return how many notes wait."""
        with self._lock:
            return len(self._wanted)

    def wake(self) -> None:
        """Let `run` look around now."""
        self._news.set()

    def flush(self, beat: Callable[[], None] = lambda: None) -> bool:
        """Write what is wanted, while we may; tell whether nothing is left that MLflow did not take."""
        with self._lock:
            wanted = dict(self._wanted)
        groups: dict[tuple[str, str], dict[str, str]] = {}
        for note, value in wanted.items():
            groups.setdefault((note.model, note.of), {})[note.name] = value
        taken = True
        for (model, of), values in groups.items():
            beat()
            if not self._may_write():
                self.forget()
                return True
            taken &= self._write(model, of, values)
        return taken

    def _write(self, model: str, of: str, values: Mapping[str, str]) -> bool:
        with self._lock:
            context = self._asked_in.get((model, of)) or copy_context()
        try:
            if of:
                context.run(self._notes.set_tags, model, of, values)
            else:
                for alias, number in values.items():
                    context.run(self._notes.set_alias, model, alias, number)
        except NotRegistered as error:
            _log.warning("MLflow has no version to note this on any more: %s", error)
        except MlflowUnavailable as error:
            _log.warning("MLflow did not take what became of a version, and is asked again: %s", error)
            return False
        with self._lock:
            self._asked_in.pop((model, of), None)
            for name, value in values.items():
                note = Note(model, of, name)
                self._written[note] = value
                if self._wanted.get(note) == value:
                    del self._wanted[note]
        return True

    def _want(self, notes: Mapping[Note, str]) -> None:
        with self._lock:
            changed = False
            for note, value in notes.items():
                known = self._wanted.get(note, self._written.get(note))
                if known != value:
                    self._wanted[note] = value
                    self._asked_in[note.model, note.of] = copy_context()
                    changed = True
        if changed:
            self._news.set()

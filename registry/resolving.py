"""What a ServedModel's selector means, as MLflow has it, without ever keeping a reconcile waiting for MLflow.

Answers are kept and looked up again by `poll`, which one thread calls every few seconds: one call tells all aliases of
500 models, and only what moved is read. A reconcile waits, for a bounded time, only where nothing is known yet. While
MLflow does not tell its aliases everything is Unknown: nothing of what was known is used to change traffic.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock
from typing import Protocol

from pydantic import ValidationError

from contract.names import TAG_DIGEST, TAG_VERSION
from registry.api.model_revision import ModelRevisionSpec
from registry.api.served_model import ModelSelector, PredictorSpec
from registry.errors import MlflowUnavailable, NotRegistered
from registry.mlflow_registry import Registered, RunFacts
from registry.rollout.naming import revision_name
from registry.rollout.snapshot import NotFound, Resolution, Target, Unknown
from registry.work_queue import Key

_log = logging.getLogger(__name__)

# How often what cannot move by itself is read again: a version may be deleted, and its tags may change. So many at a
# poll, and so many of what may move without an alias that tells: a thousand ServedModels must not keep MLflow busy, nor
# the poll from what moved.
REVIEW_SECONDS = 60.0
MOST_REVIEWS = 10
MOST_UNSURE = 50
MOST_RUNS = 10_000
_VERSION_ID, _DIGEST = re.compile(r"[0-9]{14}"), re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_SHOWN = 80


class ModelSource(Protocol):
    """What is read of MLflow; `registry.mlflow_registry.MlflowRegistry` is one."""

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Return the MLflow number of each alias, by model."""

    def by_id(self, model: str, version: str) -> Registered | None:
        """Return a version by our id."""

    def by_alias(self, model: str, alias: str) -> Registered:
        """Return the version that an alias names."""

    def newest(self, model: str, condition: str) -> Registered | None:
        """Return the newest version that meets a condition."""

    def run(self, run_id: str) -> RunFacts:
        """Return what a run says."""


@dataclass(frozen=True)
class Found:
    """A version that can be served."""

    model: str
    version: str
    number: str
    digest: str
    run_id: str
    run: RunFacts


Answer = Found | NotFound | Unknown


def target_of(found: Found, served_model: str, predictor: PredictorSpec) -> Target | NotFound:
    """Return the revision that a version is when it is served so; NotFound where no ModelRevision can hold it."""
    try:
        spec = ModelRevisionSpec(
            served_model=served_model,
            model=found.model,
            version=found.version,
            mlflow_version=found.number,
            mlflow_run_id=found.run_id,
            digest=found.digest,
            feature_names=list(found.run.feature_names),
            predictor=predictor,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        message = f"MLflow's version {_shown(found.number)} of {_shown(found.model)} cannot be served"
        return NotFound("Unservable", f"{message}: its {_named(fault['loc'])}: {fault['msg']}")
    return Target(revision_name(served_model, found.model, found.version, found.digest, predictor), spec)


def _named(location: tuple[int | str, ...]) -> str:
    """Return the name of a field of a ModelRevision, with the position in a list counted from 1."""
    return " ".join(str(part + 1) if isinstance(part, int) else part.replace("_", " ") for part in location)


def _shown(text: str) -> str:
    """Return a text of MLflow's as it may stand in a message."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def look_up(source: ModelSource, selector: ModelSelector) -> Answer:
    """Ask MLflow what a selector means."""
    try:
        version = _version(source, selector)
        if version is None:
            return NotFound("NoSuchVersion", f"MLflow has no version of {selector.name} with {_said(selector)}")
        return _found(source, selector.name, version)
    except NotRegistered as error:
        return NotFound("NoSuchVersion", f"{selector.name}, {_said(selector)}: {error}")
    except MlflowUnavailable as error:
        return Unknown(str(error))


def _version(source: ModelSource, selector: ModelSelector) -> Registered | None:
    if selector.alias is not None:
        return source.by_alias(selector.name, selector.alias)
    if selector.version is not None:
        return source.by_id(selector.name, selector.version)
    if selector.run_id is not None:
        return source.newest(selector.name, f"run_id = '{selector.run_id}'")
    name, _, value = (selector.tag or "").partition("=")
    if "`" in name or "'" in value:
        return None  # MLflow's filter language cannot say it
    return source.newest(selector.name, f"tags.`{name}` = '{value}'")


def _found(source: ModelSource, model: str, version: Registered) -> Answer:
    what = f"MLflow's version {version.number} of {model}"
    if not version.id or not version.digest:
        missing = TAG_VERSION if not version.id else TAG_DIGEST
        return NotFound("NotTelltale", f"{what} has no tag {missing}: it was not registered by Telltale's trainer")
    for tag, value, form in ((TAG_VERSION, version.id, _VERSION_ID), (TAG_DIGEST, version.digest, _DIGEST)):
        if not form.fullmatch(value):
            return NotFound("NotTelltale", f"{what}: its tag {tag} is {_shown(value)}, and not {form.pattern}")
    if not version.run_id:
        return NotFound("NoRun", f"{what} has no run, so nothing tells its features and metrics")
    run = source.run(version.run_id)
    if not run.feature_names:
        return NotFound("NoSignature", f"{what}: its run has no data set that names the features")
    return Found(model, version.id, version.number, version.digest, version.run_id, run)


def _said(selector: ModelSelector) -> str:
    kind, value = next((kind, value) for kind, value in selector.dump().items() if kind != "name")
    return f"{kind} {value}"


@dataclass
class _Entry:
    answer: Answer | None = None
    asked: Future[None] | None = None
    looked_at: float = 0.0
    users: set[Key] = field(default_factory=set)

    def is_being_asked(self) -> bool:
        """Tell whether a reconcile has had MLflow asked, and will be told."""
        return self.answer is None and self.asked is not None and not self.asked.done()


class _Turn(Enum):
    """When a selector is looked up again."""

    NOW = "it moved, or nothing is known of it"
    UNSURE = "it may mean something else by now"
    REVIEW = "it may not have moved, and is read again now and then"


class Resolver:
    """What the selectors in use mean, kept up to date.

    Args:
        source: MLflow.
        executor: asks it where nothing is known yet.
        clock: seconds, that never go back.
        patience: how many seconds a reconcile waits for a first answer.
        notify: told which ServedModel has something new to look at.

    """

    def __init__(
        self,
        source: ModelSource,
        executor: Executor,
        clock: Callable[[], float],
        *,
        patience: float,
        notify: Callable[[Key], None],
    ) -> None:
        self._source, self._executor, self._clock = source, executor, clock
        self._patience, self._notify = patience, notify
        self._lock = Lock()
        self._entries: dict[ModelSelector, _Entry] = {}
        self._used: dict[Key, ModelSelector] = {}
        self._runs: dict[str, RunFacts] = {}
        self._outage: str | None = None

    def resolve(self, key: Key, selector: ModelSelector, served_by: PredictorSpec, *, hurry: bool) -> Resolution:
        """Return what a selector means for a ServedModel, without waiting where ``hurry`` is set."""
        answer = self.answer(key, selector, hurry=hurry)
        return target_of(answer, key.name, served_by) if isinstance(answer, Found) else answer

    def answer(self, key: Key, selector: ModelSelector, *, hurry: bool) -> Answer:
        """Return what is known of a selector; it is kept up to date for ``key`` from now on."""
        with self._lock:
            if self._used.get(key) != selector:
                self._leave(key)
                self._used[key] = selector
            entry = self._entries.setdefault(selector, _Entry())
            entry.users.add(key)
            if self._outage is not None:
                return Unknown(self._outage)
            if entry.answer is None and entry.asked is None:
                entry.asked = self._executor.submit(self._look_up, selector)
            known, asked = entry.answer, entry.asked
        if known is None and asked is not None and not hurry:
            try:
                asked.result(self._patience)
            except NotYet:
                return Unknown("MLflow has not answered yet")
        with self._lock:
            return entry.answer or Unknown("MLflow has not answered yet")

    def forget(self, key: Key) -> None:
        """Keep nothing up to date for a ServedModel that is gone."""
        with self._lock:
            self._leave(key)

    def forget_all(self) -> None:
        """Know nothing of selectors any more, and keep none up to date; what a run says never changes."""
        with self._lock:
            self._entries.clear()
            self._used.clear()
            self._outage = None

    def run(self, run_id: str, *, hurry: bool) -> RunFacts | Unknown:
        """Return what a run says, for offline gates; runs of versions that were resolved are known."""
        with self._lock:
            known = self._runs.get(run_id)
        if known is not None:
            return known
        if hurry:
            return Unknown("not asked: an action goes first")
        try:
            return self._executor.submit(self._read_run, run_id).result(self._patience)
        except NotYet:
            return Unknown("MLflow has not answered yet")
        except NotRegistered:
            return RunFacts({}, ())
        except MlflowUnavailable as error:
            return Unknown(str(error))

    def poll(self, beat: Callable[[], None] = lambda: None) -> None:
        """Look up what may have moved, and tell whom it concerns; ``beat`` is told before each is looked up."""
        try:
            aliases = self._source.aliases()
        except MlflowUnavailable as error:
            self._set_outage(str(error))
            return
        self._set_outage(None)
        for selector in self._due(aliases):
            beat()
            self._look_up(selector)

    def _due(self, aliases: Mapping[str, Mapping[str, str]]) -> list[ModelSelector]:
        """Return what is to be looked up at a poll: what moved, and the oldest of the rest."""
        before = self._clock() - REVIEW_SECONDS
        due: dict[_Turn, list[ModelSelector]] = {turn: [] for turn in _Turn}
        with self._lock:
            for selector, entry in sorted(self._entries.items(), key=lambda item: item[1].looked_at):
                turn = _turn(selector, entry, aliases)
                if not entry.is_being_asked() and (turn is not _Turn.REVIEW or entry.looked_at <= before):
                    due[turn].append(selector)
        return [*due[_Turn.NOW], *due[_Turn.UNSURE][:MOST_UNSURE], *due[_Turn.REVIEW][:MOST_REVIEWS]]

    def _look_up(self, selector: ModelSelector) -> None:
        with self._lock:
            entry = self._entries.get(selector)
        if entry is None:
            return
        answer = look_up(self._source, selector)
        with self._lock:
            if self._entries.get(selector) is not entry:
                return  # it was forgotten meanwhile, and the answer may be older than what is known since
            entry.asked, entry.looked_at = None, self._clock()
            if answer == entry.answer:
                return
            entry.answer = answer
            if isinstance(answer, Found):
                self._keep_run(answer.run_id, answer.run)
            users = tuple(entry.users)
        for key in users:
            self._notify(key)

    def _read_run(self, run_id: str) -> RunFacts:
        facts = self._source.run(run_id)
        with self._lock:
            self._keep_run(run_id, facts)
        return facts

    def _set_outage(self, message: str | None) -> None:
        with self._lock:
            changed = (message is None) != (self._outage is None)
            self._outage = message
            users = {key for entry in self._entries.values() for key in entry.users} if changed else set()
        if changed:
            _log.warning("MLflow does not answer: %s", message) if message else _log.info("MLflow answers again")
        for key in users:
            self._notify(key)

    def _leave(self, key: Key) -> None:
        selector = self._used.pop(key, None)
        entry = None if selector is None else self._entries.get(selector)
        if selector is None or entry is None:
            return
        entry.users.discard(key)
        if not entry.users:
            del self._entries[selector]

    def _keep_run(self, run_id: str, facts: RunFacts) -> None:
        if len(self._runs) >= MOST_RUNS:
            self._runs.pop(next(iter(self._runs)))
        self._runs[run_id] = facts


def _turn(selector: ModelSelector, entry: _Entry, aliases: Mapping[str, Mapping[str, str]]) -> _Turn:
    """Tell when a selector is to be looked up again, from what MLflow's aliases name now."""
    number = None if selector.alias is None else aliases.get(selector.name, {}).get(selector.alias)
    match entry.answer:
        case None:
            return _Turn.NOW
        case Found():
            if selector.alias is not None:
                return _Turn.REVIEW if number == entry.answer.number else _Turn.NOW
            return _Turn.REVIEW if selector.tag is None else _Turn.UNSURE
        case NotFound() if selector.alias is not None and number is None:
            return _Turn.REVIEW
    return _Turn.UNSURE

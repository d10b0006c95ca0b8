"""MLflow and Prometheus as the controller calls them, each call timed: for the metrics, the trace and the debug log.

What comes back and what is raised is left as it is. The span in which a version was trained is remembered on the way,
since a rollout links to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from contract.names import TAG_TRACEPARENT
from registry.errors import MlflowUnavailable, PrometheusUnavailable, RegistryError
from registry.metrics import RegistryMetrics
from registry.mlflow_registry import Registered, RunFacts
from registry.prometheus import Ask
from registry.resolving import ModelSource
from registry.tracing import Tracing, changes_something
from registry.write_back import ModelNotes
from telemetry.spans import SpanPlace, Value, sampled_place

_log = logging.getLogger(__name__)

MOST_VERSIONS = 10_000
_FIRST_ERROR = 400
# Not found, and somebody was faster: answers that a look reckons with.
_EXPECTED = (404, 409)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class CarryingExecutor(ThreadPoolExecutor):
    """Threads whose work belongs to the look that it is done for."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have work done in the context of whoever asks for it."""
        context = copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))


class Calls:
    """Told of every call to somebody else.

    Args:
        metrics: count them.
        tracing: takes them down.

    """

    def __init__(self, metrics: RegistryMetrics, tracing: Tracing) -> None:
        self.metrics, self.tracing = metrics, tracing

    def of_kubernetes(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Take note of a request to the API server; see `registry.kubernetes.api.OnCall`."""
        self.metrics.called(verb, resource, code, seconds)
        failed = code == 0 or (code >= _FIRST_ERROR and code not in _EXPECTED)
        said: dict[str, Value] = {
            "peer.service": "kubernetes",
            "telltale.verb": verb,
            "telltale.resource": resource,
            "http.response.status_code": code,
        }
        self.tracing.called(
            f"{verb} {resource}",
            seconds,
            said,
            error=str(code) if failed else None,
            changes=changes_something(verb, resource, code),
        )
        _log.debug("kubernetes: %s %s: %d after %.0f ms", verb, resource, code, seconds * 1e3)

    @contextmanager
    def of(self, source: str, call: str, away: type[RegistryError], said: Mapping[str, Value]) -> Iterator[None]:
        """Time the block's call to a source; ``away`` is the error which says that it does not answer."""
        began, fault, is_up = time.monotonic(), "", True
        try:
            yield
        except RegistryError as error:
            fault, is_up = type(error).__name__, not isinstance(error, away)
            raise
        finally:
            seconds = time.monotonic() - began
            self.metrics.asked(source, call, seconds, is_up=is_up)
            attributes = {"peer.service": source, **said} | ({"error.type": fault} if fault else {})
            self.tracing.called(f"{source} {call}", seconds, attributes, error=None if is_up else fault)
            _log.debug("%s: %s %s: %s after %.0f ms", source, call, dict(said), fault or "answered", seconds * 1e3)

    def of_gate(self, gate: str, ask: Ask) -> Ask:
        """Return ``ask`` as it is called for a gate."""

        def asking(query: str) -> float | None:
            with self.of("prometheus", "query", PrometheusUnavailable, {"telltale.gate": gate}):
                return ask(query)

        return asking


class ObservedModels:
    """MLflow; a `registry.resolving.ModelSource` and a `registry.write_back.ModelNotes`.

    Args:
        source: where versions are read.
        notes: where notes on them are written.
        calls: told of each call.

    """

    def __init__(self, source: ModelSource, notes: ModelNotes, calls: Calls) -> None:
        self._source, self._notes, self._calls = source, notes, calls
        self._trained: dict[tuple[str, str], SpanPlace] = {}

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Return the MLflow number of each alias, by model."""
        self._calls.tracing.seeks()
        with self._mlflow("aliases", {}):
            found = self._source.aliases()
        self._calls.metrics.polled()
        return found

    def by_id(self, model: str, version: str) -> Registered | None:
        """Return a version by our id."""
        self._calls.tracing.seeks()
        with self._mlflow("by_id", {"telltale.model": model, "telltale.model_version": version}):
            return self._kept(model, self._source.by_id(model, version))

    def by_alias(self, model: str, alias: str) -> Registered:
        """Return the version that an alias names."""
        self._calls.tracing.seeks()
        with self._mlflow("by_alias", {"telltale.model": model, "telltale.alias": alias}):
            found = self._source.by_alias(model, alias)
        self._kept(model, found)
        return found

    def newest(self, model: str, condition: str) -> Registered | None:
        """Return the newest version that meets a condition."""
        self._calls.tracing.seeks()
        with self._mlflow("newest", {"telltale.model": model}):
            return self._kept(model, self._source.newest(model, condition))

    def run(self, run_id: str) -> RunFacts:
        """Return what a run says."""
        with self._mlflow("run", {"telltale.run_id": run_id}):
            return self._source.run(run_id)

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        """Write tags of a version."""
        with self._mlflow("set_tags", {"telltale.model": model, "telltale.mlflow_version": number}):
            self._notes.set_tags(model, number, tags)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let an alias name a version."""
        with self._mlflow("set_alias", {"telltale.model": model, "telltale.alias": alias}):
            self._notes.set_alias(model, alias, number)

    def trained(self, model: str, number: str) -> SpanPlace | None:
        """Return the span in which a version was trained, as far as it was read lately and its training was traced."""
        return self._trained.get((model, number))

    def _mlflow(self, call: str, said: Mapping[str, Value]) -> AbstractContextManager[None]:
        return self._calls.of("mlflow", call, MlflowUnavailable, said)

    def _kept(self, model: str, found: Registered | None) -> Registered | None:
        place = None if found is None else sampled_place(found.tags.get(TAG_TRACEPARENT))
        if found is not None and place is not None:
            if len(self._trained) >= MOST_VERSIONS:
                self._trained.pop(next(iter(self._trained)))
            self._trained[model, found.number] = place
        return found

"""Health, readiness and liveness: three questions with three answers.

Liveness says that the process answers at all. Readiness says that every served model is loaded; it asks no store, so
PostgreSQL going away takes no predictor out of service. Health tells a person everything and is 200 even when degraded.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from predictor.facade.answers import Dependencies, Health, Liveness, Readiness, ServedModel
from predictor.models.loaded_versions import LoadedVersions
from predictor.observability.dependencies import DependencyWatch
from predictor.problems import Answer


class HealthService:
    """Answers the health routes.

    Args:
        loaded: the versions in memory.
        dependencies: looks at the stores.
        others: what else readiness waits for.

    """

    def __init__(
        self, loaded: LoadedVersions, dependencies: DependencyWatch, others: Callable[[], list[str]] = list
    ) -> None:
        self._loaded = loaded
        self._dependencies = dependencies
        self._others = others

    def alive(self) -> Answer:
        """Answer ``GET /healthz``."""
        return Answer(200, msgspec.json.encode(Liveness()))

    def ready(self) -> Answer:
        """Answer ``GET /health/ready``: 503 until every served model is loaded."""
        waiting = self._waiting()
        status = 503 if waiting else 200
        document = Readiness(not waiting, self._models(), waiting)
        return Answer(status, msgspec.json.encode(document), {"Retry-After": "1"} if waiting else {})

    def is_ready(self) -> bool:
        """Tell whether requests can be answered."""
        return not self._waiting()

    def _waiting(self) -> list[str]:
        waiting = [self._missing(model) for model in self._loaded.missing]
        if not self._loaded.known.is_set():
            waiting.append("PostgreSQL, to tell which versions are served")
        return waiting + self._others()

    def _missing(self, model: str) -> str:
        failure = self._loaded.failures.get(model)
        return f"model {model} is not loaded yet" if failure is None else f"model {model}: {failure}"

    async def health(self) -> Answer:
        """Answer ``GET /health``."""
        dependencies = await self._dependencies.look()
        problems = self._problems(dependencies)
        document = Health("degraded" if problems else "ok", self._models(), problems, dependencies)
        return Answer(200, msgspec.json.encode(document))

    def _models(self) -> list[ServedModel]:
        defaults = self._loaded.defaults
        return [ServedModel(name, defaults[name].version, defaults[name].digest) for name in sorted(defaults)]

    def _problems(self, dependencies: Dependencies) -> list[str]:
        named = (("postgres", dependencies.postgres), ("object_store", dependencies.object_store))
        problems = [f"{name}: {state.detail}" for name, state in named if not state.ok]
        if not self._loaded.known.is_set():
            problems.append("which versions are served is not known yet")
        for model, failure in sorted(self._loaded.failures.items()):
            problems.append(f"model {model}: {failure}")
        failed = set(self._loaded.failures)
        problems += [f"model {model} is not loaded yet" for model in self._loaded.missing if model not in failed]
        return problems

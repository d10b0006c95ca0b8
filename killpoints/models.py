"""MLflow as far as the controller uses it: one model of a few versions, whose alias is moved by hand."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from killpoints.scenarios import BAD_VERSION, OTHER_FEATURES, version_id
from registry.errors import MlflowUnavailable, NotRegistered
from registry.mlflow_registry import Registered, RunFacts

MODEL, ALIAS = "cars", "champion"


class Models:
    """Reads and notes of one ServedModel; it answers as `registry.mlflow_registry.MlflowRegistry` does."""

    def __init__(self) -> None:
        self.alias: int | None = None
        self.is_away = False
        self.tags: dict[str, dict[str, str]] = {}
        self.noted_aliases: dict[str, str] = {}
        self._lock = Lock()

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Return the alias."""
        self._answer()
        return {MODEL: {} if self.alias is None else {ALIAS: str(self.alias)}}

    def by_id(self, model: str, version: str) -> Registered | None:
        """Return a version by its id."""
        raise NotImplementedError(f"no scenario selects {model} {version} by its id")

    def by_alias(self, model: str, alias: str) -> Registered:
        """Return the version that the alias names."""
        self._answer()
        number = self.alias
        if number is None:
            raise NotRegistered(f"{model} has no alias {alias}")
        return Registered(str(number), version_id(number), f"sha256:{number:064}", str(number))

    def newest(self, model: str, condition: str) -> Registered | None:
        """Return the newest version that meets a condition."""
        raise NotImplementedError(f"no scenario selects {model} by {condition}")

    def run(self, run_id: str) -> RunFacts:
        """Return what a run says; its id is its version's number."""
        self._answer()
        names = ("temperature", "speed") if int(run_id) == OTHER_FEATURES else ("speed",)
        return RunFacts({"holdout_flag_rate": 0.5 if int(run_id) == BAD_VERSION else 0.05}, names)

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002 - there is one model
        """Take tags of a version."""
        self._answer()
        with self._lock:
            self.tags.setdefault(number, {}).update(tags)

    def set_alias(self, model: str, alias: str, number: str) -> None:  # noqa: ARG002
        """Take an alias."""
        self._answer()
        with self._lock:
            self.noted_aliases[alias] = number

    def _answer(self) -> None:
        if self.is_away:
            raise MlflowUnavailable("MLflow: connection refused")

"""What MLflow has of a model's versions and runs, and removing of it what nobody needs.

Only what the trainer made is seen, which is what has its tags: versions and runs that people made for themselves are
none of ours. A removed run is marked as deleted, as MLflow's own UI does it; `mlflow gc` frees its artefacts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from contract.names import TAG_BATCH, TAG_COLLECTED, TAG_GATE, TAG_KEEP, TAG_VERSION
from trainer.retention.facts import Registration, RunFact, Tracked
from trainer.tracking_errors import mlflow_errors

_PAGE = 1_000
_MISSING = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
# What the run store says of a run that somebody deleted.
_INACTIVE = ErrorCode.Name(INVALID_PARAMETER_VALUE)


class MlflowRecords:
    """MLflow as garbage collection uses it.

    Every method may raise TrackingUnavailable, TrackingForbidden or TrackingRefused.

    Args:
        tracking_uri: a server's URL or a database's, as MLflow takes it.

    """

    def __init__(self, tracking_uri: str) -> None:
        with mlflow_errors():
            self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def prepare(self) -> None:
        """Touch the store, which makes a database's tables at first contact."""
        with mlflow_errors():
            self._client.search_experiments(max_results=1)

    def of(self, model: str, *, before: datetime) -> Tracked | None:
        """Return what MLflow has of a model, of its runs those that began before; None if it knows no such model."""
        with mlflow_errors():
            try:
                aliases = self._client.get_registered_model(model).aliases or {}
            except MlflowException as error:
                if error.error_code != _MISSING:
                    raise
                return None
            by_number: dict[str, list[str]] = {}
            for alias, number in sorted(aliases.items()):
                by_number.setdefault(str(number), []).append(alias)
            registrations = tuple(
                _registration(version, tuple(by_number.get(str(version.version), [])))
                for version in self._versions(f"name = '{model}'")
                if TAG_BATCH in (version.tags or {}) and TAG_VERSION in (version.tags or {})
            )
        return Tracked(registrations, self.runs(model, before=before))

    def runs(self, model: str, *, before: datetime) -> tuple[RunFact, ...]:
        """Return the runs that the trainer made for a model before a time, and that are not deleted."""
        with mlflow_errors():
            experiment = self._client.get_experiment_by_name(model)
            if experiment is None:
                return ()
            query = f"tags.`{TAG_BATCH}` LIKE '%' AND attributes.start_time <= {_milliseconds(before)}"
            return tuple(_run(run) for run in self._runs(experiment.experiment_id, query))

    def holds(self, model: str, number: str) -> str | None:
        """Return what keeps a version, read now: an alias or a person's mark; None if nothing does, or it is gone."""
        with mlflow_errors(), _missing_is_fine():
            version = self._client.get_model_version(model, number)
            if version.aliases:
                return f"the alias {version.aliases[0]}"
            if _is_marked(version.tags):
                return "it is marked to be kept"
        return None

    def uses(self, run: str) -> str | None:
        """Return which registered version of whatever model stands on a run, or None."""
        with mlflow_errors():
            found = self._client.search_model_versions(f"run_id = '{run}'", max_results=1)
        return f"{found[0].name} {found[0].version} is registered from it" if found else None

    def note_collected(self, run: str, at: datetime) -> None:
        """Write on a version's run, which is kept for its numbers, since when its artefact is gone."""
        with mlflow_errors(), _missing_is_fine():
            self._client.set_tag(run, TAG_COLLECTED, at.isoformat(timespec="seconds"))

    def delete_registration(self, model: str, number: str) -> None:
        """Remove a version from the registry, if it is there."""
        with mlflow_errors(), _missing_is_fine():
            self._client.delete_model_version(model, number)

    def delete_run(self, run: str) -> None:
        """Mark a run as deleted, if it is there."""
        with mlflow_errors(), _missing_is_fine():
            self._client.delete_run(run)

    def _versions(self, query: str) -> Iterator[ModelVersion]:
        token: str | None = None
        while True:
            page = self._client.search_model_versions(query, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _runs(self, experiment: str, query: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._client.search_runs([experiment], query, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _registration(version: ModelVersion, aliases: tuple[str, ...]) -> Registration:
    tags = version.tags or {}
    return Registration(
        number=str(version.version),
        version=tags[TAG_VERSION],
        batch=tags[TAG_BATCH],
        run=str(version.run_id or ""),
        created=_time(version.creation_timestamp),
        aliases=aliases,
        keep=_is_marked(tags),
        refused=tags.get(TAG_GATE) == "refused",
    )


def _run(run: Run) -> RunFact:
    tags = run.data.tags
    return RunFact(
        id=str(run.info.run_id),
        batch=tags[TAG_BATCH],
        version=tags.get(TAG_VERSION, ""),
        started=_time(run.info.start_time),
        collected=TAG_COLLECTED in tags,
        keep=_is_marked(tags),
    )


def _is_marked(tags: dict[str, str] | None) -> bool:
    return (tags or {}).get(TAG_KEEP, "").strip().lower() in {"true", "1", "yes"}


def _time(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if error.error_code not in (_MISSING, _INACTIVE):
            raise

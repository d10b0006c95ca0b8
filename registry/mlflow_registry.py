"""What the control plane reads from MLflow's model registry and writes back to it.

MLflow's numbers stay in here; the rest of Telltale knows a version by its id, which is a tag on MLflow's version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from contract.names import CHAMPION_ALIAS, TAG_DIGEST, TAG_GATE, TAG_GATE_REASON, TAG_VERSION
from contract.redaction import without_credentials
from registry.errors import MlflowForbidden, MlflowUnavailable, NotRegistered

_WHAT_TO_DO = {
    "UNAUTHENTICATED": "it does not know us: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of"
    " the registry's own",
    "PERMISSION_DENIED": "the account of MLFLOW_TRACKING_USERNAME may not do this: an administrator of MLflow has to"
    " give it the role telltale-registry",
}
_WHAT_TO_DO["CUSTOMER_UNAUTHORIZED"] = _WHAT_TO_DO["UNAUTHENTICATED"]


@dataclass(frozen=True)
class Registered:
    """A model version as MLflow has it.

    Args:
        number: MLflow's own version number.
        id: our version id; empty where a person registered the version by hand.
        digest: the artefact digest it was registered with; empty likewise.

    """

    number: str
    id: str
    digest: str
    run_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class RunFacts:
    """What a run says of the version that came of it.

    Args:
        metrics: the last value of each.
        feature_names: of the records it was trained on, in their order; empty where the run does not say.

    """

    metrics: Mapping[str, float]
    feature_names: tuple[str, ...]


class MlflowRegistry:
    """MLflow's model registry.

    Args:
        tracking_uri: a server's URL, or a database's, as MLflow takes it.

    """

    def __init__(self, tracking_uri: str) -> None:
        with _mlflow_errors():
            self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def champions(self) -> dict[str, str]:
        """Return the MLflow number that the alias ``champion`` names, by model; models without one are left out."""
        found: dict[str, str] = {}
        for model, aliases in self.aliases().items():
            if CHAMPION_ALIAS in aliases:
                found[model] = aliases[CHAMPION_ALIAS]
        return found

    def aliases(self) -> dict[str, dict[str, str]]:
        """Return the MLflow number that each alias names, by model; a call for each 500 models."""
        found: dict[str, dict[str, str]] = {}
        token: str | None = None
        with _mlflow_errors():
            while True:
                page = self._client.search_registered_models(max_results=500, page_token=token)
                found |= {m.name: {alias: str(n) for alias, n in (m.aliases or {}).items()} for m in page}
                token = page.token
                if not token:
                    return found

    def by_number(self, model: str, number: str) -> Registered:
        """Return a version by MLflow's number; NotRegistered if there is none."""
        try:
            with _mlflow_errors():
                return _registered(self._client.get_model_version(model, number))
        except MlflowForbidden:
            with _mlflow_errors():  # a server says the same of a model that is not there, unless asked for the model
                self._client.get_registered_model(model)
            raise

    def by_id(self, model: str, version: str) -> Registered | None:
        """Return a version by our id, or None if MLflow has none."""
        with _mlflow_errors():
            # Model names and version ids are of a closed alphabet, so nothing in here needs quoting.
            found = self._client.search_model_versions(f"name = '{model}' AND tags.`{TAG_VERSION}` = '{version}'")
        return _registered(found[0]) if found else None

    def by_alias(self, model: str, alias: str) -> Registered:
        """Return the version that an alias names; NotRegistered if there is none."""
        with _mlflow_errors(missing=_NO_ALIAS):
            return _registered(self._client.get_model_version_by_alias(model, alias))

    def newest(self, model: str, condition: str) -> Registered | None:
        """Return the newest version of a model that meets a condition in MLflow's filter language, or None."""
        query = f"name = '{model}' AND {condition}"
        with _mlflow_errors():
            found = self._client.search_model_versions(query, max_results=1, order_by=["version_number DESC"])
        return _registered(found[0]) if found else None

    def run(self, run_id: str) -> RunFacts:
        """Return what a run says; NotRegistered if there is none."""
        with _mlflow_errors():
            run = self._client.get_run(run_id)
        return RunFacts(dict(run.data.metrics), _feature_names(run))

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        """Write those tags of a version that it has not yet."""
        with _mlflow_errors():
            known = self._client.get_model_version(model, number).tags or {}
            for name, value in tags.items():
                if known.get(name, "") != value[:5000]:
                    self._client.set_model_version_tag(model, number, name, value[:5000])

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let an alias name a version, unless it does."""
        with _mlflow_errors():
            known = self._client.get_registered_model(model).aliases or {}
            if str(known.get(alias, "")) == number:
                return
            self._client.set_registered_model_alias(model, alias, number)

    def make_champion(self, model: str, number: str) -> None:
        """Move the alias ``champion``."""
        with _mlflow_errors():
            self._client.set_registered_model_alias(model, CHAMPION_ALIAS, number)

    def tag_gate(self, model: str, number: str, *, passed: bool, message: str) -> None:
        """Write the gate's verdict where the data scientist looks."""
        with _mlflow_errors():
            self._client.set_model_version_tag(model, number, TAG_GATE, "passed" if passed else "refused")
            self._client.set_model_version_tag(model, number, TAG_GATE_REASON, message[:5000])


def _registered(version: ModelVersion) -> Registered:
    tags = version.tags or {}
    return Registered(
        str(version.version), tags.get(TAG_VERSION, ""), tags.get(TAG_DIGEST, ""), version.run_id or "", dict(tags)
    )


def _feature_names(run: Run) -> tuple[str, ...]:
    """Return the columns of the data set that a run was trained on."""
    for given in run.inputs.dataset_inputs if run.inputs else ():
        try:
            columns = json.loads(given.dataset.schema or "{}").get("mlflow_colspec") or ()
            names = tuple(str(column["name"]) for column in columns)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # a data set of another kind
        if names:
            return names
    return ()


_MISSING = (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST),)
# An alias that does not exist is an invalid parameter to MLflow.
_NO_ALIAS = (*_MISSING, ErrorCode.Name(INVALID_PARAMETER_VALUE))


@contextmanager
def _mlflow_errors(missing: tuple[str, ...] = _MISSING) -> Iterator[None]:
    """Turn MLflow's errors into ours; its SQL store wraps the database's in MlflowException too."""
    try:
        yield
    except MlflowException as error:
        # MLflow repeats the tracking URI, and what is raised here is seen by whoever may see a status.
        said = without_credentials(str(error.message))
        if error.error_code in missing:
            raise NotRegistered(f"MLflow: {said}") from error
        if what_to_do := _WHAT_TO_DO.get(str(error.error_code)):
            raise MlflowForbidden(f"MLflow: {what_to_do}") from error
        raise MlflowUnavailable(f"MLflow: {error.error_code}: {said}") from error

"""The control plane of one machine: judges what was trained, and makes the predictor follow ``champion``.

It gathers a snapshot, asks :func:`registry.alias_policy.decide` for the next step, applies it and looks again, until
nothing is to be done. Every step can be cut off anywhere and is then decided anew: the gate's verdict is recorded last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from contract.errors import CorruptArtifact
from contract.names import is_model_name
from registry.alias_policy import Hold, Promote, RecordVerdict, Serve, Snapshot, Version, decide
from registry.errors import RegistryError
from registry.mlflow_registry import MlflowRegistry, Registered
from registry.offline_gate import Verdict
from standalone.evidence import gather
from store.errors import ObjectMissing, StoreUnavailable
from store.ingest_log import BatchRow, IngestLog
from store.model_store import ModelStore
from store.served_version import ServedVersion
from store.serving import ServedVersions

_log = logging.getLogger(__name__)


@dataclass
class Controller:
    """Reconciles the versions served with MLflow's aliases and the gate's verdicts."""

    log: IngestLog
    models: ModelStore
    served: ServedVersions
    mlflow: MlflowRegistry
    # What the log already says, so that a version that is held back is not reported at every look.
    _held: dict[str, tuple[str, str]] = field(default_factory=dict)

    def reconcile(self) -> None:
        """Bring every model to where nothing is left to do; what goes wrong with one model holds up no other.

        Raises:
            MlflowUnavailable, StoreUnavailable: nothing can be looked at now; nothing is lost, call again later.

        """
        for row in self.log.ungated():
            with self._apart(row.model):
                self._judge(row)
        served = self.served.all()
        for model, number in self.mlflow.champions().items():
            if is_model_name(model):  # others were made by people, for something else
                with self._apart(model):
                    self._follow(model, self.mlflow.by_number(model, number), served.get(model))

    @contextmanager
    def _apart(self, model: str) -> Iterator[None]:
        """Log what goes wrong with one model and go on with the next."""
        try:
            yield
        except StoreUnavailable:
            raise
        except RegistryError as error:
            _log.warning("nothing is changed for model %s now: %s", model, error)
        except Exception:  # noqa: BLE001 - whatever is wrong with one model, the others must go on; logged whole
            _log.exception("nothing is changed for model %s now", model)

    def _judge(self, row: BatchRow) -> None:
        """Let the gate judge a trained version, and apply what follows."""
        registered = self.mlflow.by_id(row.model, row.version)
        if registered is None:
            verdict = Verdict(False, "NotRegistered", f"MLflow has no version tagged {row.version}; was it deleted?")
            self._record(row, None, verdict)
            return
        number = self.mlflow.champions().get(row.model)
        champion = None if number is None else self.mlflow.by_number(row.model, number)
        served = self.served.all().get(row.model)
        step = decide(
            Snapshot(
                untested=self._gathered(row.model, registered),
                champion=None if champion is None or not champion.id else self._gathered(row.model, champion),
                served=None if served is None else served.version,
                served_features=self._features(served),
            )
        )
        if isinstance(step, Promote):
            self.mlflow.make_champion(row.model, registered.number)
            self._serve(row.model, step.version)
        if isinstance(step, Promote | RecordVerdict):
            self._record(row, registered, step.verdict)

    def _record(self, row: BatchRow, registered: Registered | None, verdict: Verdict) -> None:
        if registered is not None:
            self.mlflow.tag_gate(row.model, registered.number, passed=verdict.passed, message=verdict.message)
        self.log.record_gate(row.id, "passed" if verdict.passed else "refused", f"{verdict.reason}: {verdict.message}")
        _log.info(
            "gate %s %s %s: %s", "passed" if verdict.passed else "refused", row.model, row.version, verdict.message
        )

    def _follow(self, model: str, champion: Registered, served: ServedVersion | None) -> None:
        """Serve what ``champion`` names, if that is not what is served and it can be."""
        if served is not None and champion.id == served.version:
            self._held.pop(model, None)
            return
        step = decide(
            Snapshot(
                untested=None,
                champion=self._gathered(model, champion),
                served=None if served is None else served.version,
                served_features=self._features(served),
            )
        )
        if isinstance(step, Serve):
            self._serve(model, step.version)
            _log.info("serving %s %s, which champion names", model, step.version.id)
        elif isinstance(step, Hold) and self._held.get(model) != (champion.number, step.verdict.reason):
            self._held[model] = (champion.number, step.verdict.reason)
            self.mlflow.tag_gate(model, champion.number, passed=False, message=step.verdict.message)
            _log.warning("champion of %s is version %s, not served: %s", model, champion.number, step.verdict.message)

    def _serve(self, model: str, version: Version) -> None:
        self.served.serve(model, version.id, version.evidence.stored_digest)

    def _gathered(self, model: str, registered: Registered) -> Version:
        return Version(registered.id, gather(self.models, model, registered.id, registered_digest=registered.digest))

    def _features(self, served: ServedVersion | None) -> tuple[str, ...] | None:
        """Return the signature of what is served; None if nothing is, or if it can no longer be read."""
        if served is None:
            return None
        try:
            return self.models.manifest(served.model, served.version).feature_names
        except (CorruptArtifact, ObjectMissing) as fault:
            _log.warning("the version served of %s cannot be read: %s", served.model, fault)
            return None

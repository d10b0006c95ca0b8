"""The training of one batch's version, whose effect is made once however often it is attempted.

The order makes every cut harmless: the files, run and registration in MLflow, the manifest (from here on the version
can be scored), the alias, the log. An attempt that finds the manifest only has to finish; one that does not forgets
what lost attempts left in MLflow and starts anew, with the same seed and so the same forest. Two attempts never run
side by side, see :mod:`trainer.attempt`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contract.forest_file import encode_forest
from contract.manifest import Manifest, encode_probe
from store.errors import ObjectExists, ObjectMissing
from store.ingest_log import BatchRow, IngestLog
from store.model_store import ModelStore
from trainer.attempt import AttemptLock, Check
from trainer.baseline import baseline
from trainer.evaluation import evaluate
from trainer.export import export
from trainer.fit import Hyperparameters, fit, seed_of
from trainer.plots import render
from trainer.probe import probe_rows
from trainer.run_record import RegisteredRun, RunRecord
from trainer.tracing import describe, traceparent
from trainer.tracking import Tracking
from trainer.window import Window, WindowReader

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """Trains batches.

    Args:
        log: where batches come from and end.
        models: where versions go.
        tracking: where runs are kept.
        clock: gives the time of now.
        attempts: keeps two attempts at one batch apart.
        windows: reads what a model is trained on.
        n_estimators: trees in a forest.
        contamination: share of the training records that are to come out as anomalous.
        min_holdout_records: records from which on a part is held out for the evaluation.

    """

    log: IngestLog
    models: ModelStore
    tracking: Tracking
    clock: Callable[[], datetime]
    attempts: AttemptLock
    windows: WindowReader
    n_estimators: int = 200
    contamination: float = 0.05
    min_holdout_records: int = 20

    def train(self, batch_id: str) -> None:
        """Make the batch's version, or finish what a lost attempt began; does nothing for one that is done.

        Raises:
            AttemptRunning, StoreUnavailable, TrackingUnavailable: for now; what was begun is finished another time.
            UntrainableBatch: the batch can never become a version.

        """
        with self.attempts.held(batch_id) as still_alone:
            row = self.log.get(batch_id)
            describe({"telltale.model": row.model, "telltale.model_version": row.version})
            if row.state == "done":
                self._published(row)  # if we were overtaken, what we had begun is still there, and nobody's
                return
            self.log.start_training(batch_id)
            manifest = self._published(row) or self._publish(row, still_alone)
            self.tracking.make_candidate(row.model, row.version, manifest.mlflow_version)
            self.log.finish_training(batch_id)
        _log.info("trained %s %s on %d records", row.model, row.version, manifest.training_records)

    def _published(self, row: BatchRow) -> Manifest | None:
        """Return the manifest that an earlier attempt wrote, or None."""
        try:
            manifest = self.models.manifest(row.model, row.version)
        except ObjectMissing:
            return None
        self._keep_only(manifest)
        return manifest

    def _publish(self, row: BatchRow, still_alone: Check) -> Manifest:
        self.tracking.forget_attempts(row.model, row.id, still_alone=still_alone)
        manifest = self._make(row, still_alone)
        still_alone()
        try:
            self.models.publish(manifest)
        except ObjectExists:
            # An attempt that lost its lock unnoticed was faster: its version is the batch's, and ours is nobody's.
            manifest = self.models.manifest(row.model, row.version)
            self._keep_only(manifest)
        return manifest

    def _keep_only(self, manifest: Manifest) -> None:
        kept = RegisteredRun(manifest.mlflow_run_id, manifest.mlflow_version)
        self.tracking.forget_attempts(manifest.model, manifest.batch_id, keep=kept)

    def _make(self, row: BatchRow, still_alone: Check) -> Manifest:
        """Fit, evaluate, store and record a version; return the manifest that makes it visible."""
        window = self.windows.read(row)
        dataset = window.dataset
        parameters = Hyperparameters(self.n_estimators, self.contamination, seed_of(row.model, row.version))
        fitted = fit(dataset.X, parameters)
        forest = export(fitted.estimator, dataset.feature_names, training_digest=dataset.digest)
        data = encode_forest(forest)
        stored = self.models.put_forest(row.model, row.version, data)
        rows = probe_rows(forest, dataset.X, parameters.seed)
        # scikit-learn's own numbers: the gate holds the kernel against them.
        expected = fitted.estimator.decision_function(rows)
        probe = self.models.put_probe(row.model, row.version, encode_probe(rows, expected))
        evaluation = evaluate(fitted.scores, dataset, parameters, min_records=self.min_holdout_records)
        plots = render(dataset, fitted.scores, f"{row.model} {row.version}")
        still_alone()
        run = self.tracking.record(
            RunRecord(
                model=row.model,
                version=row.version,
                batch_id=row.id,
                forest=fitted.estimator,
                dataset=dataset,
                params=_params(parameters, window),
                metrics=evaluation.metrics,
                plots=plots,
                baseline=baseline(dataset),
                digest=stored.digest,
                warnings=[*row.warnings, *window.warnings, *evaluation.warnings],
                traceparent=traceparent(),
            )
        )
        return Manifest(
            model=row.model,
            version=row.version,
            forest=stored,
            probe=probe,
            feature_names=dataset.feature_names,
            batch_id=row.id,
            training_digest=dataset.digest,
            training_records=len(dataset),
            mlflow_run_id=run.run_id,
            mlflow_version=run.number,
            created_at=self.clock(),
        )


def _params(parameters: Hyperparameters, window: Window) -> dict[str, str]:
    return {
        "algorithm": "IsolationForest",
        "n_estimators": str(parameters.n_estimators),
        "contamination": str(parameters.contamination),
        "seed": str(parameters.seed),
        "window_batches": str(window.batches),
        "window_records": str(len(window.dataset)),
        "features": str(len(window.dataset.feature_names)),
    }

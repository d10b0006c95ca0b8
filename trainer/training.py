"""The training of one batch's version, whose effect is made once however often it is attempted.

The order makes every cut harmless: run and registration in MLflow, the files, the manifest (from here on the version
can be scored), the alias, the log. An attempt that finds the manifest only has to finish; one that does not forgets
what lost attempts left in MLflow and starts anew, with the same seed and so the same forest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contract.forest_file import encode_forest
from contract.manifest import Manifest, encode_probe
from store.ingest_log import BatchRow, IngestLog
from store.model_store import ModelStore
from trainer.dataset import Dataset, join
from trainer.evaluation import baseline, evaluate, probe_rows
from trainer.export import export
from trainer.fit import Hyperparameters, fit, seed_of
from trainer.plots import render
from trainer.tracking import RunRecord, Tracking

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """Trains batches.

    Args:
        log: where batches come from and end.
        models: where versions go.
        tracking: where runs are kept.
        clock: gives the time of now.
        window_records: how many records a model sees at most, unless its batch alone has more.
        n_estimators: trees in a forest.
        contamination: share of the training records that are to come out as anomalous.

    """

    log: IngestLog
    models: ModelStore
    tracking: Tracking
    clock: Callable[[], datetime]
    window_records: int = 100_000
    n_estimators: int = 200
    contamination: float = 0.05

    def train(self, batch_id: str) -> None:
        """Make the batch's version, or finish what a lost attempt began; does nothing for one that is done."""
        row = self.log.get(batch_id)
        if row.state == "done":
            return
        self.log.start_training(batch_id)
        if self.models.has(row.model, row.version):
            manifest = self.models.manifest(row.model, row.version)
        else:
            self.tracking.forget_attempts(row.model, row.id)
            manifest = self._make(row)
            self.models.publish(manifest)
        self.tracking.make_candidate(row.model, row.version, manifest.mlflow_version)
        self.log.finish_training(batch_id)
        _log.info("trained %s %s on %d records", row.model, row.version, manifest.training_records)

    def _make(self, row: BatchRow) -> Manifest:
        """Fit, evaluate, record and store a version; return the manifest that makes it visible."""
        window = self.log.window(row, records=self.window_records)
        dataset = join([self.log.read(batch) for batch in window], records=self.window_records)
        parameters = Hyperparameters(self.n_estimators, self.contamination, seed_of(row.model, row.version))
        estimator = fit(dataset.X, parameters)
        forest = export(estimator, dataset.feature_names, training_digest=dataset.digest)
        data = encode_forest(forest)
        stored = self.models.put_forest(row.model, row.version, data)
        rows = probe_rows(dataset.X, forest.threshold[forest.feature >= 0], parameters.seed)
        probe = self.models.put_probe(row.model, row.version, encode_probe(rows, estimator.decision_function(rows)))
        scores = estimator.decision_function(dataset.X)
        evaluation = evaluate(scores, dataset, parameters)
        run = self.tracking.record(
            RunRecord(
                model=row.model,
                version=row.version,
                batch_id=row.id,
                forest=estimator,
                dataset=dataset,
                params=self._params(parameters, dataset, len(window)),
                metrics=evaluation.metrics,
                plots=render(dataset, scores, f"{row.model} {row.version}"),
                baseline=baseline(dataset),
                digest=stored.digest,
                warnings=[*row.warnings, *evaluation.warnings],
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

    def _params(self, parameters: Hyperparameters, dataset: Dataset, batches: int) -> dict[str, str]:
        return {
            "algorithm": "IsolationForest",
            "n_estimators": str(parameters.n_estimators),
            "contamination": str(parameters.contamination),
            "seed": str(parameters.seed),
            "window_batches": str(batches),
            "window_records": str(len(dataset)),
            "features": str(len(dataset.feature_names)),
        }

"""What a logged model is in a notebook: copied beside it, so that it loads where Telltale is not installed.

`mlflow.pyfunc.load_model("models:/default@champion").predict(frame)` gives scores; the scikit-learn estimator itself is
the file `data/model.joblib` of the same artefact. Only joblib, pandas and scikit-learn are imported here.
"""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pandas as pd


class AnomalyModel:
    """An Isolation Forest that answers as `/score` does."""

    def __init__(self, forest: Any) -> None:
        self.forest = forest

    def predict(self, rows: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return `anomaly_score` (the decision function) and `is_anomaly` for each row."""
        del params  # MLflow passes them; there are none
        scores = self.forest.decision_function(np.asarray(rows, dtype=np.float64))
        return pd.DataFrame({"anomaly_score": scores, "is_anomaly": scores < 0})


def _load_pyfunc(path: str) -> AnomalyModel:
    """Return the model in a joblib file; MLflow calls this by its name."""
    return AnomalyModel(joblib.load(path))

"""A BentoML service around a joblib file, as its first example shows it.

`python bentoml_sklearn.py MODEL_FILE FOLDER PORT` becomes `bentoml serve`, which imports this file again.
"""

# BentoML has no types, or is not in the environment that is checked.
# mypy: disable-error-code="import-not-found,untyped-decorator,attr-defined"
from __future__ import annotations

import os
import sys
from pathlib import Path

import bentoml
import joblib


@bentoml.service(workers=1)
class AnomalyDetector:
    """The service."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL_FILE"])

    @bentoml.api
    def score(self, vehicle_id: str, timestamp: str, feature_vector: list[float]) -> dict[str, str | float | bool]:
        """Score one record."""
        del timestamp
        decision = float(self.model.decision_function([feature_vector])[0])
        return {"vehicle_id": vehicle_id, "anomaly_score": decision, "is_anomaly": decision < 0}


def main(model_file: str, folder: str, port: str) -> None:
    """Start the server."""
    here = Path(__file__).resolve()
    program = str(Path(sys.executable).with_name("bentoml"))
    variables = {"MODEL_FILE": model_file, "BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": folder}
    command = [program, "serve", f"{here.stem}:{AnomalyDetector.name}", "--working-dir", str(here.parent)]
    os.execve(program, [*command, "--host", "127.0.0.1", "--port", port], os.environ | variables)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])

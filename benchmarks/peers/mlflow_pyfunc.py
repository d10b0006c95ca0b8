"""`mlflow models serve` of a scikit-learn model, as MLflow's guide to serving shows it; it answers +-1, no score.

`python mlflow_pyfunc.py MODEL_FILE FOLDER PORT` saves the model in MLflow's form and becomes `mlflow models serve`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import joblib
import mlflow.sklearn


def main(model_file: str, folder: str, port: str) -> None:
    """Save the model and start the server."""
    saved = Path(folder) / "model"
    mlflow.sklearn.save_model(
        joblib.load(model_file),
        saved,
        skops_trusted_types=["sklearn.tree._tree.Tree"],
        pip_requirements=[],  # else it loads the model in processes of their own to find them out, for a minute
    )
    programs = Path(sys.executable).parent
    # It starts uvicorn by its bare name.
    variables = {"PATH": f"{programs}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    command = [str(programs / "mlflow"), "models", "serve", "--model-uri", str(saved), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
    os.execve(command[0], command, os.environ | variables)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(*sys.argv[1:])

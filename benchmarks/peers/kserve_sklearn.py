"""KServe's SDK around a joblib file, as its guide to custom predictors shows it. V2 REST.

`python kserve_sklearn.py MODEL_FILE FOLDER PORT`
"""

# KServe has no types, or is not in the environment that is checked.
# mypy: disable-error-code="import-untyped,import-not-found,misc"
from __future__ import annotations

import sys

import joblib
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve_loopback import serve

model_file, _folder, port = sys.argv[1:]


class Forest(Model):
    """The forest as a model of KServe's."""

    def __init__(self) -> None:
        super().__init__("default")
        self.forest = joblib.load(model_file)
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:  # noqa: ARG002
        """Return the decision function of each row."""
        decision = self.forest.decision_function(payload.inputs[0].as_numpy())
        output = InferOutput(name="anomaly_score", shape=list(decision.shape), datatype="FP64", data=decision.tolist())
        return InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    serve(Forest(), port=int(port))

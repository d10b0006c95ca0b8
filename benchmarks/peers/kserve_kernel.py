"""KServe's SDK around Telltale's own kernel: what is left between the two is the server. V2 REST and gRPC.

`python kserve_kernel.py FOREST_FILE FOLDER PORT GRPC_PORT`, with this repository on PYTHONPATH.
"""

# KServe has no types, or is not in the environment that is checked.
# mypy: disable-error-code="import-untyped,import-not-found,misc"
from __future__ import annotations

import sys
from pathlib import Path

from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve_loopback import serve

from contract.digests import digest_of
from contract.forest_file import decode_forest
from scoring.kernel import kernel_name, scorer

forest_file, _folder, port, grpc_port = sys.argv[1:]


class Forest(Model):
    """The forest as a model of KServe's."""

    def __init__(self) -> None:
        super().__init__("default")
        data = Path(forest_file).read_bytes()
        self.scorer = scorer(decode_forest(data, digest=digest_of(data)))
        self.ready = True

    async def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:  # noqa: ARG002
        """Return the decision function of each row, and its label."""
        decision = self.scorer.score(payload.inputs[0].as_numpy())
        shape = list(decision.shape)
        outputs = [
            InferOutput(name="anomaly_score", shape=shape, datatype="FP64", data=decision.tolist()),
            InferOutput(name="is_anomaly", shape=shape, datatype="BOOL", data=(decision < 0).tolist()),
        ]
        return InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=outputs)


if __name__ == "__main__":
    if kernel_name() == "numpy":
        sys.exit("the compiled kernel is not there: this server would be compared with what it does not run")
    serve(Forest(), port=int(port), grpc_port=int(grpc_port))

"""The documentation's examples of the Open Inference Protocol and of KServe's V1. PURE."""

from __future__ import annotations

from predictor.facade.openapi_examples import EARLIER, VERSION
from predictor.facade.openapi_parts import Named
from predictor.v2.json_answer import InferResponse, OutputTensor
from predictor.v2.outputs import DATATYPES
from predictor.v2.served_models import INPUT_NAME, PLATFORM, IndexEntry, ModelMetadata, TensorMetadata

_ROW = [0.7, 0.2, 0.9, 0.5]
_ROWS = [_ROW, [0.5, 0.3, 0.8, 1.2]]
_FEATURES = ["f0", "f1", "f2", "f3"]
_SCORES = [0.0416, -0.1032]
_FLAGS = [False, True]

INFER_REQUESTS: Named = {
    "row": (
        "one row",
        {"id": "42", "inputs": [{"name": INPUT_NAME, "shape": [1, 4], "datatype": "FP64", "data": _ROW}]},
    ),
    "rows": (
        "two rows, and one of the outputs",
        {
            "inputs": [{"name": INPUT_NAME, "shape": [2, 4], "datatype": "FP64", "data": _ROWS}],
            "outputs": [{"name": "is_anomaly"}],
        },
    ),
}
INFERRED: Named = {
    "row": (
        "for one row",
        InferResponse(
            "default",
            VERSION,
            [OutputTensor("anomaly_score", "FP64", [1], [0.0416]), OutputTensor("is_anomaly", "BOOL", [1], [False])],
            "42",
        ),
    ),
    "rows": (
        "for two rows",
        InferResponse("default", VERSION, [OutputTensor("is_anomaly", "BOOL", [2], _FLAGS)]),
    ),
}
SERVER: Named = {
    "server": (
        "this server",
        {"name": "telltale", "version": "0.1.0", "extensions": ["binary_tensor_data", "model_repository"]},
    )
}
LIVE: Named = {"live": ("it does", {"live": True})}
READY: Named = {"ready": ("it is", {"ready": True})}
MODEL_READY: Named = {"ready": ("it is", {"name": "default", "ready": True})}
MODEL_NAMES: Named = {"models": ("two models", {"models": ["default", "vans"]})}
METADATA: Named = {
    "model": (
        "a model of four features",
        ModelMetadata(
            "default",
            [VERSION, EARLIER],
            PLATFORM,
            [TensorMetadata(INPUT_NAME, "FP64", [-1, 4])],
            [TensorMetadata(name, datatype, [-1]) for name, datatype in DATATYPES.items()],
            {"feature_names": _FEATURES},
        ),
    )
}
INDEX_REQUESTS: Named = {
    "all": ("every version", {}),
    "ready": ("those that can serve", {"ready": True}),
}
INDEX: Named = {
    "index": (
        "two versions",
        [
            IndexEntry("default", VERSION, "READY"),
            IndexEntry("default", EARLIER, "UNAVAILABLE", "the manifest is damaged"),
        ],
    )
}
PREDICT_REQUESTS: Named = {
    "rows": ("rows", {"instances": _ROWS}),
    "names": ("features by name", {"instances": [dict(zip(_FEATURES, _ROW, strict=True))]}),
}
PREDICTED: Named = {
    "predictions": (
        "for two rows",
        {
            "predictions": [
                {"anomaly_score": score, "is_anomaly": flag} for score, flag in zip(_SCORES, _FLAGS, strict=True)
            ]
        },
    )
}
BAD_INFER = "inputs[0].shape is [1, 3]; model 'default' takes [rows, 4], or [4] for one row: f0, f1, f2, f3"
BAD_PREDICT = "instances[0] has 3 values; a row of model 'default' has 4: f0, f1, f2, f3"
BAD_INDEX = 'ready: expected true or false, got a string; the body is {"ready": true} for what can serve, or empty'
SERVER_NOT_READY = "the server is not ready: GET /health/ready says what it waits for"
MODEL_NOT_READY = "model 'default' is not ready: GET /health says why"
COMPRESSED = "Content-Encoding is 'gzip': send it uncompressed"
NO_PATH = "nothing is at this path: GET /docs lists all paths"

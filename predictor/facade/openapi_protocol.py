"""The documentation of the Open Inference Protocol (V2) and of KServe's V1, path by path as in its table. PURE."""

from __future__ import annotations

from collections.abc import Sequence

from predictor.errors import UnsupportedMedia
from predictor.facade import openapi_protocol_examples as examples
from predictor.facade import openapi_refusals as refusals
from predictor.facade.openapi_examples import VERSION
from predictor.facade.openapi_parts import (
    JSON,
    LIMITED,
    Json,
    Named,
    answer,
    binary,
    content,
    header,
    in_path,
    operation,
    ref,
    request_body,
)
from predictor.facade.openapi_refusals import Refusal, protocol_error, protocol_errors
from predictor.hotpath.exchange import Scope
from predictor.problems import KINDS
from predictor.v2.errors import read_only
from predictor.v2.request_headers import HEADER_LENGTH

PROTOCOL = "Open Inference Protocol"
V1 = "V1"

_OCTETS = "application/octet-stream"
_READ: Scope = "models:read"
_SCORE: Scope = "telemetry:score"
_NAME = in_path("name", "The model's name.", "default", pattern="^[^/:]+$")
_VERSION = in_path("version", "The model version: 14 digits.", VERSION, pattern="^[0-9]{14}$")
_INFER = f"""One input tensor has all features of the model: `[rows, features]`, with the values in one list, or in one
list for each row. Its name does not matter, and a Content-Type is not needed.

With the header `{HEADER_LENGTH}` the body begins with so many bytes of JSON, and the tensor's values follow as
little-endian bytes, `parameters.binary_data_size` of them. Outputs come so where `parameters.binary_data`, or the
request's `parameters.binary_data_output`, is true; the answer then is `{_OCTETS}`.
"""
_LENGTH = header(
    HEADER_LENGTH,
    "The length of the JSON that the body begins with, where binary tensors follow.",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999_999},
)
_UNKNOWN_PATH = protocol_error(404, "unknown-path", "Nothing is at this path", examples.NO_PATH)
_COMPRESSED = protocol_error(415, "compressed", KINDS[UnsupportedMedia].title, examples.COMPRESSED)
_UNKNOWN = (*protocol_errors(refusals.UNKNOWN), _UNKNOWN_PATH)
_STORE = protocol_errors(refusals.STORE)
_DAMAGED = protocol_errors(refusals.DAMAGED)


def protocol_paths() -> Json:
    """Return V2's paths."""
    model, version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    return {
        f"{model}/infer": {"post": _infer("infer", [_NAME])},
        f"{version}/infer": {"post": _infer("inferVersion", [_NAME, _VERSION])},
        "/v2": {"get": _server()},
        "/v2/health/live": {"get": _health("live", "Tell that the server lives.", "Live", examples.LIVE)},
        "/v2/health/ready": {"get": _server_ready()},
        "/v2/models": {"get": _names("protocolModels", PROTOCOL)},
        model: {"get": _metadata("modelMetadata", [_NAME])},
        f"{model}/ready": {"get": _model_ready("modelReady", [_NAME], PROTOCOL)},
        version: {"get": _metadata("modelVersionMetadata", [_NAME, _VERSION])},
        f"{version}/ready": {"get": _model_ready("modelVersionReady", [_NAME, _VERSION], PROTOCOL)},
        "/v2/repository/index": {"post": _index()},
        "/v2/repository/models/{name}/load": {"post": _refused("load", "loaded")},
        "/v2/repository/models/{name}/unload": {"post": _refused("unload", "unloaded")},
    }


def v1_paths() -> Json:
    """Return V1's paths."""
    return {
        "/v1/models": {"get": _names("v1Models", V1)},
        "/v1/models/{name}": {"get": _model_ready("v1ModelReady", [_NAME], V1)},
        "/v1/models/{name}:predict": {"post": _predict()},
    }


def _bad(name: str, sentence: str) -> Refusal:
    return protocol_error(400, name, "The request cannot be taken", sentence)


def _infer(key: str, parameters: Sequence[Json]) -> Json:
    inferred = content(ref("InferResponse"), examples.INFERRED)
    own = (
        _bad("bad-infer", examples.BAD_INFER),
        _COMPRESSED,
        *_UNKNOWN,
        *_DAMAGED,
        *_STORE,
    )
    return operation(
        "Score rows by a model's default version." if len(parameters) == 1 else "Score rows by one version of a model.",
        tag=PROTOCOL,
        key=key,
        scope=_SCORE,
        description=_INFER,
        parameters=[*parameters, _LENGTH],
        body=request_body(content(ref("InferRequest"), examples.INFER_REQUESTS), binary(_OCTETS)),
        responses={
            "200": answer("Scored.", inferred, binary(_OCTETS), headers=(HEADER_LENGTH, *LIMITED)),
            **refusals.errors_of_protocol(own, scope=_SCORE),
        },
    )


def _get(
    key: str,
    summary: str,
    schema: str,
    named: Named,
    *own: Refusal,
    tag: str = PROTOCOL,
    scope: Scope | None = _READ,
    parameters: Sequence[Json] = (),
) -> Json:
    limited = LIMITED if scope else ()
    return operation(
        summary,
        tag=tag,
        key=key,
        scope=scope,
        parameters=parameters,
        responses={
            "200": answer("Known.", content(ref(schema), named), headers=limited),
            **refusals.errors_of_protocol(own, scope=scope),
        },
    )


def _server() -> Json:
    return _get("server", "Tell the server's name, version and extensions.", "ServerMetadata", examples.SERVER)


def _health(key: str, summary: str, schema: str, named: Named, *own: Refusal) -> Json:
    return _get(key, summary, schema, named, *own, scope=None)


def _server_ready() -> Json:
    own = protocol_error(503, "server-not-ready", "The server is not ready", examples.SERVER_NOT_READY)
    return _health("protocolReady", "Tell whether the server is ready.", "Ready", examples.READY, own)


def _names(key: str, tag: str) -> Json:
    return _get(key, "List the models' names.", "ModelNames", examples.MODEL_NAMES, *_STORE, tag=tag)


def _metadata(key: str, parameters: Sequence[Json]) -> Json:
    summary = "Tell what a model takes and gives, and its versions."
    own = (*_UNKNOWN, *_DAMAGED, *_STORE)
    return _get(key, summary, "ModelMetadata", examples.METADATA, *own, parameters=parameters)


def _model_ready(key: str, parameters: Sequence[Json], tag: str) -> Json:
    what = "a model" if len(parameters) == 1 else "a version of a model"
    own = (*_UNKNOWN, protocol_error(503, "model-not-ready", "It is not ready", examples.MODEL_NOT_READY), *_STORE)
    summary = f"Tell whether {what} can serve."
    return _get(key, summary, "ModelReady", examples.MODEL_READY, *own, tag=tag, parameters=parameters)


def _index() -> Json:
    return operation(
        "List every model version, and whether it can serve.",
        tag=PROTOCOL,
        key="repositoryIndex",
        scope=_READ,
        body=request_body(content(ref("IndexRequest"), examples.INDEX_REQUESTS), required=False),
        responses={
            "200": answer("The index.", content(ref("Index"), examples.INDEX), headers=LIMITED),
            **refusals.errors_of_protocol([_bad("bad-index", examples.BAD_INDEX), _COMPRESSED, *_STORE], scope=_READ),
        },
    )


def _refused(key: str, done: str) -> Json:
    own = (protocol_error(400, f"not-{done}", "Clients decide nothing here", read_only("default", done)), _UNKNOWN_PATH)
    return operation(
        f"Refuse to have a model {done}.",
        tag=PROTOCOL,
        key=f"repository{key.capitalize()}",
        scope=_READ,
        description="What is served follows the registry, so this is always 400.",
        parameters=[_NAME],
        responses=refusals.errors_of_protocol(own, scope=_READ),
    )


def _predict() -> Json:
    own = (_bad("bad-predict", examples.BAD_PREDICT), _COMPRESSED, *_UNKNOWN, *_DAMAGED, *_STORE)
    return operation(
        "Score rows by a model's default version.",
        tag=V1,
        key="v1Predict",
        scope=_SCORE,
        parameters=[_NAME],
        body=request_body(content(ref("PredictRequest"), examples.PREDICT_REQUESTS, JSON)),
        responses={
            "200": answer("Scored.", content(ref("PredictResponse"), examples.PREDICTED), headers=LIMITED),
            **refusals.errors_of_protocol(own, scope=_SCORE),
        },
    )

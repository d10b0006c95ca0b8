"""The plane that KServe's SDK sees, and the hot path that goes past it: the same answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from predictor.errors import UnknownModel, UnknownVersion
from predictor.v2.errors import BadInferRequest, RepositoryIsReadOnly
from tests.predictor.v2.asking import HEADER, binary_body, body, normal_rows, tensor
from tests.predictor.v2.serving import NEW, OLD, Serving


def _infer_request(content: bytes, size: int) -> Any:
    from kserve.protocol.infer_type import InferRequest

    return InferRequest.from_bytes(content, size, "default")


@pytest.mark.parametrize("version", [None, OLD])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("wanted", [None, "is_anomaly", "anomaly_score"])
@pytest.mark.parametrize("n", [1, 3, 500])
def test_the_plane_infers_what_the_hot_path_infers(
    protocol: Serving, http: httpx.Client, version: str | None, binary: bool, wanted: str | None, n: int
) -> None:
    rows = normal_rows(n)
    more: dict[str, Any] = {"id": "7", "parameters": {"binary_data_output": binary}}
    if wanted is not None:
        more["outputs"] = [{"name": wanted}]
    content, size = binary_body(rows, **more)
    path = f"/v2/models/default{f'/versions/{version}' if version else ''}/infer"
    hot = http.post(path, content=content, headers={HEADER: str(size)})

    request = _infer_request(content, size)
    response, _ = protocol.run(protocol.parts.plane.infer("default", request, {}, model_version=version))
    by_plane, head = response.to_rest()

    assert hot.status_code == 200
    if binary:
        ours, theirs = hot.content[: int(hot.headers[HEADER])], by_plane[:head]
        assert hot.content[len(ours) :] == by_plane[head:]
        by_plane = json.loads(theirs)
        by_hot_path = json.loads(ours)
    else:
        by_hot_path = hot.json()
    assert by_hot_path["id"] == by_plane["id"] == "7"
    assert by_hot_path["model_version"] == by_plane["model_version"] == (version or NEW)
    assert [_known(output) for output in by_hot_path["outputs"]] == [_known(output) for output in by_plane["outputs"]]


def _known(output: dict[str, Any]) -> dict[str, Any]:
    """An output without what KServe adds to those that are no bytes."""
    return {name: value for name, value in output.items() if value is not None}


@pytest.mark.parametrize("raw", [False, True])
def test_the_plane_infers_what_grpc_brought(protocol: Serving, raw: bool) -> None:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
    from kserve.protocol.infer_type import InferRequest

    rows = normal_rows(3)
    head = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[3, 3])
    message = pb.ModelInferRequest(model_name="default", id="7", model_version=OLD, inputs=[head])
    if raw:
        message.raw_input_contents.append(rows.tobytes())
    else:
        message.inputs[0].contents.fp64_contents.extend(rows.ravel().tolist())
    response, _ = protocol.run(protocol.parts.plane.infer("default", InferRequest.from_grpc(message), {}))
    answer = response.to_grpc()
    loaded = protocol.parts.loaded.resident("default", OLD)
    assert loaded is not None
    expected = loaded.scorer.score(rows)
    assert answer.model_version == OLD
    assert protocol.parts.notes.taken[-1] == ("v2-grpc", OLD, 3)
    if raw:
        assert list(answer.raw_output_contents) == [expected.tobytes(), (expected < 0).tobytes()]
    else:
        assert list(answer.outputs[0].contents.fp64_contents) == expected.tolist()


def test_arrays_are_taken_from_code_that_calls_the_model_itself(protocol: Serving) -> None:
    from kserve.protocol.infer_type import InferInput, InferRequest

    request = InferRequest("default", [InferInput("x", [2, 3], "FP64", data=np.zeros((2, 3)))])
    response, _ = protocol.run(protocol.parts.plane.infer("default", request))
    assert response.outputs[0].as_numpy().tolist() == [0.35, 0.35]


@pytest.mark.parametrize("data", [["1", "2", "3"], [True, 0, 1], [[1, 2]], "123", None])
def test_data_that_is_no_rows_is_refused_there_too(protocol: Serving, data: Any) -> None:
    from kserve.protocol.infer_type import InferInput, InferRequest

    request = InferRequest("default", [InferInput("x", [1, 3], "FP64", data=data)])
    with pytest.raises(BadInferRequest):
        protocol.run(protocol.parts.plane.infer("default", request))


def test_unknown_models_and_versions_are_told_apart(protocol: Serving) -> None:
    with pytest.raises(UnknownModel):
        protocol.run(protocol.parts.plane.infer("nothing", {"instances": []}))
    with pytest.raises(UnknownVersion):
        protocol.run(protocol.parts.plane.infer("default", {"instances": []}, model_version="20200101000000"))


def test_the_repository_is_kserves_own_kind(protocol: Serving) -> None:
    from kserve.model import Model
    from kserve.model_repository import ModelRepository
    from kserve.protocol.dataplane import DataPlane

    plane = protocol.parts.plane
    assert isinstance(plane, DataPlane)
    assert isinstance(plane.model_registry, ModelRepository)

    async def look() -> tuple[Any, Any, bool]:
        models = plane.model_registry.get_models()
        types = await models["default"].get_input_types(), await models["default"].get_output_types()
        return models, types, await plane.model_registry.is_model_ready("default")

    models, types, is_ready = protocol.run(look())
    assert list(models) == ["default"]
    assert isinstance(models["default"], Model)
    assert types == (
        [{"name": "features", "datatype": "FP64", "shape": [-1, 3]}],
        [
            {"name": "anomaly_score", "datatype": "FP64", "shape": [-1]},
            {"name": "is_anomaly", "datatype": "BOOL", "shape": [-1]},
        ],
    )
    assert is_ready
    assert plane.model_registry.get_model("undecided") is None
    for change in (plane.model_registry.load, plane.model_registry.unload):
        with pytest.raises(RepositoryIsReadOnly):
            change("default")


def test_a_version_whose_artefact_is_damaged_is_not_ready(protocol: Serving, http: httpx.Client) -> None:
    from tests.predictor.forests import publish, stump_forest

    damaged = publish(protocol.parts.models, "broken", OLD, stump_forest(("speed",)))
    path = protocol.parts.folder / damaged.forest.key
    path.chmod(0o644)
    path.write_bytes(b"not a forest")
    answer = http.get(f"/v2/models/broken/versions/{OLD}/ready")
    assert answer.status_code == 503
    assert "'broken' is not ready" in answer.json()["error"]
    infer = http.post(f"/v2/models/broken/versions/{OLD}/infer", content=body(tensor([1], [1, 1])))
    assert infer.status_code == 503
    assert infer.headers["retry-after"]
    assert "digest" in infer.json()["error"]

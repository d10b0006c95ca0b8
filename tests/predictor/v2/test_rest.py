"""The protocol over HTTP, as its specification and Triton's extensions describe it."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
from typing import Any

import httpx
import numpy as np
import pytest

from contract.forest_file import encode_forest
from predictor.models.version_reader import LoadedVersion
from tests.predictor.forests import publish, stump_forest
from tests.predictor.v2.asking import HEADER, NUMPY, binary_body, body, normal_rows, tensor
from tests.predictor.v2.conftest import MOST_BYTES, MOST_ROWS
from tests.predictor.v2.serving import FEATURES, NEW, OLD, Serving

INFER = "/v2/models/default/infer"
ROW = [2.0, 3.0, 4.0]
SCORE = -0.24089641525371452


def _error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert list(document) == ["error"]
    return str(document["error"])


def _outputs(answer: httpx.Response) -> dict[str, list[Any]]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_health(protocol: Serving, http: httpx.Client) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    protocol.parts.is_ready[0] = False
    try:
        waiting = http.get("/v2/health/ready")
        assert "not ready" in _error(waiting, 503)
        assert waiting.headers["retry-after"] == "1"
        assert http.get("/v2/health/live").status_code == 200
    finally:
        protocol.parts.is_ready[0] = True


def test_server_metadata(http: httpx.Client) -> None:
    assert http.get("/v2").json() == {
        "name": "telltale",
        "version": "1.2.3",
        "extensions": ["binary_tensor_data", "model_repository"],
    }


@pytest.mark.parametrize("path", ["/v2/models/default", f"/v2/models/default/versions/{OLD}"])
def test_model_metadata(http: httpx.Client, path: str) -> None:
    assert http.get(path).json() == {
        "name": "default",
        "versions": [NEW, OLD],
        "platform": "telltale_isolation_forest",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 3]}],
        "outputs": [
            {"name": "anomaly_score", "datatype": "FP64", "shape": [-1]},
            {"name": "is_anomaly", "datatype": "BOOL", "shape": [-1]},
        ],
        "parameters": {"feature_names": list(FEATURES)},
    }


def test_a_model_that_has_no_default_version_still_has_metadata(http: httpx.Client) -> None:
    assert http.get("/v2/models/undecided").json()["inputs"][0]["shape"] == [-1, 1]


@pytest.mark.parametrize("path", ["", "/ready", "/infer"])
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("nothing", "there is no model 'nothing'"),
        ("default/versions/20200101000000", f"no version '20200101000000'; it has: {NEW}, {OLD}"),
        ("default/versions/one", "a version is 14 digits"),
        ("../secret", "nothing is at this path"),
    ],
)
def test_unknown_models_and_versions_are_404(http: httpx.Client, model: str, sentence: str, path: str) -> None:
    method = "POST" if path == "/infer" else "GET"
    answer = http.request(method, f"/v2/models/{model.replace('../', '%2e%2e%2f')}{path}", content=b"{}")
    assert sentence in _error(answer, 404)


def test_readiness_of_models_and_versions(http: httpx.Client) -> None:
    assert http.get("/v2/models/default/ready").json() == {"name": "default", "ready": True}
    assert http.get(f"/v2/models/default/versions/{OLD}/ready").json() == {"name": "default", "ready": True}
    assert "'undecided' is not ready" in _error(http.get("/v2/models/undecided/ready"), 503)
    assert http.get(f"/v2/models/undecided/versions/{OLD}/ready").status_code == 200


def test_the_index_lists_every_version_of_every_model(http: httpx.Client) -> None:
    everything = [
        {"name": "default", "version": NEW, "state": "READY", "reason": ""},
        {"name": "default", "version": OLD, "state": "READY", "reason": ""},
        {"name": "undecided", "version": OLD, "state": "READY", "reason": ""},
    ]
    assert http.post("/v2/repository/index").json() == everything
    assert http.post("/v2/repository/index", content=b"{}").json() == everything
    assert http.post("/v2/repository/index", json={"ready": True}).json() == everything
    assert "ready: expected true or false" in _error(http.post("/v2/repository/index", json={"ready": "yes"}), 400)


def test_the_index_tells_what_cannot_serve_and_leaves_it_out_where_only_the_ready_are_wanted(
    protocol: Serving, http: httpx.Client
) -> None:
    models, folder = protocol.parts.models, protocol.parts.folder
    models.put_forest("unfinished", OLD, encode_forest(stump_forest(("speed",))))  # no manifest: it is no version yet
    publish(models, "broken", OLD, stump_forest(("speed",)))
    manifest = next((folder / "models" / "broken" / OLD).glob("manifest*"))
    whole = manifest.read_bytes()
    manifest.chmod(0o644)
    manifest.write_bytes(b"{}")
    try:
        listed = http.post("/v2/repository/index").json()
        assert [(entry["name"], entry["version"]) for entry in listed] == [
            ("broken", OLD),
            ("default", NEW),
            ("default", OLD),
            ("undecided", OLD),
        ]
        assert [entry["state"] for entry in listed] == ["UNAVAILABLE", "READY", "READY", "READY"]
        assert listed[0]["reason"]
        ready = http.post("/v2/repository/index", content=b'{"ready": true}').json()
        assert ready == listed[1:]
        assert http.post("/v2/repository/index", json={"ready": False}).json() == listed
        assert _error(http.get("/v2/models/broken"), 503)
    finally:
        manifest.write_bytes(whole)
        for name in ("broken", "unfinished"):
            shutil.rmtree(folder / "models" / name)


@pytest.mark.parametrize("done", ["load", "unload"])
def test_models_are_neither_loaded_nor_unloaded_by_clients(http: httpx.Client, done: str) -> None:
    answer = http.post(f"/v2/repository/models/default/{done}")
    assert f"models are not {done}ed by clients" in _error(answer, 400)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", INFER, "POST"),
        ("DELETE", INFER, "POST"),
        ("POST", "/v2/models/default", "GET"),
        ("GET", "/v2/repository/index", "POST"),
        ("PUT", "/v1/models/default:predict", "POST"),
        ("POST", "/v2", "GET"),
        ("POST", "/v2/health/ready", "GET"),
        ("PUT", "/v2/models/default/ready", "GET"),
        ("GET", f"/v2/models/default/versions/{OLD}/infer", "POST"),
        ("GET", "/v2/repository/models/default/load", "POST"),
        ("POST", "/v1/models/default", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_told_the_right_one(http: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = http.request(method, path)
    assert allowed in _error(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/v2/", "/v2/models/", "/v2x", "/v2/models/default/infer/", "/v1/models/default:explain"]
)
def test_nothing_is_at_other_paths(http: httpx.Client, path: str) -> None:
    assert "nothing is at this path" in _error(http.post(path), 404)


@pytest.mark.parametrize("data", [ROW, [ROW]])
@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "application/octet-stream"])
def test_one_row_whatever_the_content_type(http: httpx.Client, data: list[Any], content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = http.post(INFER, content=body(tensor(data, [1, 3])), headers=headers)
    assert answer.json() == {
        "model_name": "default",
        "model_version": NEW,
        "outputs": [
            {"name": "anomaly_score", "datatype": "FP64", "shape": [1], "data": [SCORE]},
            {"name": "is_anomaly", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
    }


@pytest.mark.parametrize("datatype", list(NUMPY))
def test_every_datatype_of_numbers_is_scored_alike(http: httpx.Client, datatype: str) -> None:
    content, size = binary_body(np.array([ROW]), datatype)
    assert _outputs(http.post(INFER, content=content, headers={HEADER: str(size)}))["anomaly_score"] == [SCORE]
    if datatype != "FP16":
        listed = http.post(INFER, content=body(tensor([2, 3, 4], [1, 3], datatype)))
        assert _outputs(listed)["anomaly_score"] == [SCORE]


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL"])
def test_what_is_no_number_is_refused_as_a_list_and_as_bytes(http: httpx.Client, datatype: str) -> None:
    sentence = f"inputs[0].datatype is '{datatype}'; a model takes numbers: FP64, FP32, FP16"
    data = ["a", "b", "c"] if datatype == "BYTES" else [True, False, True]
    assert sentence in _error(http.post(INFER, content=body(tensor(data, [1, 3], datatype))), 400)
    head = {"name": "x", "shape": [1, 3], "datatype": datatype, "parameters": {"binary_data_size": 3}}
    text = json.dumps({"inputs": [head]}).encode()
    answer = http.post(INFER, content=text + bytes(3), headers={HEADER: str(len(text))})
    assert sentence in _error(answer, 400)


@pytest.mark.parametrize("values", [[], [1], [1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("nested", [False, True])
def test_a_row_of_another_length_is_told_which_features_there_are(
    http: httpx.Client, values: list[float], nested: bool
) -> None:
    asked = body(tensor([values] if nested else values, [1, len(values)]))
    assert "speed, rpm, temperature" in _error(http.post(INFER, content=asked), 400)


def test_one_tensor_for_each_feature_is_refused(http: httpx.Client) -> None:
    tensors = [tensor([1], [1]) | {"name": name} for name in FEATURES]
    assert "inputs has 3 tensors; a model takes one, with all features" in _error(
        http.post(INFER, content=body(*tensors)), 400
    )


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("data", ["[1, {}, 3]", "[[1, {}, 3]]"])
def test_what_is_not_finite_is_refused_in_json(http: httpx.Client, word: str, data: str) -> None:
    content = body(tensor(0, [1, 3])).replace(b'"data": 0', b'"data": ' + data.format(word).encode())
    assert "inputs[0].data" in _error(http.post(INFER, content=content), 400)


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_in_bytes(http: httpx.Client, datatype: str, value: float) -> None:
    content, size = binary_body(np.array([[1, value, 3]]), datatype)
    answer = http.post(INFER, content=content, headers={HEADER: str(size)})
    assert f"row 0, feature 1 (rpm) is {value}" in _error(answer, 400)


def test_a_version_that_is_named_answers(http: httpx.Client) -> None:
    answer = http.post(f"/v2/models/default/versions/{OLD}/infer", content=body(tensor([0.7, 0, 0], [1, 3])))
    assert answer.json()["model_version"] == OLD
    assert _outputs(answer)["is_anomaly"] == [True]  # NEW's threshold is higher
    assert _outputs(http.post(INFER, content=body(tensor([0.7, 0, 0], [1, 3]))))["is_anomaly"] == [False]


@pytest.mark.parametrize("given", ["7", "", 'é"\\\n', "x" * 1000])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_id_comes_back(http: httpx.Client, given: str, rows: int) -> None:
    answer = http.post(INFER, content=body(tensor(ROW * rows, [rows, 3]), id=given))
    assert answer.json()["id"] == given


def test_parameters_are_taken_at_every_level(http: httpx.Client) -> None:
    more = {"parameters": {"priority": 1, "note": "x", "deep": {"list": [1]}}}
    asked = body(tensor(ROW, [1, 3], **more), outputs=[{"name": "is_anomaly", **more}], **more)
    assert _outputs(http.post(INFER, content=asked)) == {"is_anomaly": [True]}


def test_outputs_come_in_the_order_in_which_they_are_asked_for(http: httpx.Client) -> None:
    asked = [{"name": "is_anomaly"}, {"name": "anomaly_score"}]
    answer = http.post(INFER, content=body(tensor(ROW, [1, 3]), outputs=asked))
    assert list(_outputs(answer)) == ["is_anomaly", "anomaly_score"]
    assert list(_outputs(http.post(INFER, content=body(tensor(ROW, [1, 3]), outputs=[])))) == [
        "anomaly_score",
        "is_anomaly",
    ]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([{"name": "label"}], "outputs[0] asks for 'label'; a model has anomaly_score and is_anomaly"),
        ([{"name": "is_anomaly"}, {"name": "is_anomaly"}], "outputs[1] asks for is_anomaly a second time"),
        ([{"name": "is_anomaly", "parameters": {"binary_data": 1}}], "outputs[0].parameters.binary_data is 1"),
        ([{}], "outputs[0]: object missing required field `name`"),
        ({}, "outputs: expected"),
    ],
)
def test_outputs_that_cannot_be_given(http: httpx.Client, asked: Any, sentence: str) -> None:
    assert sentence in _error(http.post(INFER, content=body(tensor(ROW, [1, 3]), outputs=asked)), 400)


def test_binary_in_and_binary_out(http: httpx.Client) -> None:
    rows = normal_rows(5)
    content, size = binary_body(rows, parameters={"binary_data_output": True})
    answer = http.post(INFER, content=content, headers={HEADER: str(size)})
    assert answer.headers["content-type"] == "application/octet-stream"
    head = int(answer.headers[HEADER])
    document = httpx.Response(200, content=answer.content[:head]).json()
    assert [output["parameters"] for output in document["outputs"]] == [
        {"binary_data_size": 40},
        {"binary_data_size": 5},
    ]
    decision = np.frombuffer(answer.content[head : head + 40], "<f8")
    plain = _outputs(http.post(INFER, content=body(tensor(rows.tolist(), [5, 3]))))
    assert decision.tolist() == plain["anomaly_score"]
    assert np.frombuffer(answer.content[head + 40 :], "?").tolist() == plain["is_anomaly"]


def test_each_output_may_have_a_form_of_its_own(http: httpx.Client) -> None:
    asked = [{"name": "is_anomaly", "parameters": {"binary_data": True}}, {"name": "anomaly_score"}]
    answer = http.post(INFER, content=body(tensor(ROW, [1, 3]), outputs=asked))
    head = int(answer.headers[HEADER])
    document = httpx.Response(200, content=answer.content[:head]).json()
    assert document["outputs"][0] == {
        "name": "is_anomaly",
        "datatype": "BOOL",
        "shape": [1],
        "parameters": {"binary_data_size": 1},
    }
    assert document["outputs"][1]["data"] == [SCORE]
    assert answer.content[head:] == b"\x01"


def test_a_large_request_is_answered_like_a_small_one(protocol: Serving, http: httpx.Client) -> None:
    rows = normal_rows(MOST_ROWS)
    answer = _outputs(http.post(INFER, content=body(tensor(rows.ravel().tolist(), [MOST_ROWS, 3]))))
    assert answer["anomaly_score"] == _loaded(protocol).scorer.score(rows).tolist()


@pytest.mark.parametrize("rows", [MOST_ROWS + 1, 10 * MOST_ROWS])
def test_too_many_rows_are_refused_with_the_limit(http: httpx.Client, rows: int) -> None:
    in_json = body(tensor([0] * (rows * 3), [rows, 3]))
    assert str(MOST_ROWS) in _error(http.post(INFER, content=in_json), 400)
    content, size = binary_body(np.zeros((rows, 3)))
    assert f"has {rows} rows; the limit is {MOST_ROWS}" in _error(
        http.post(INFER, content=content, headers={HEADER: str(size)}), 400
    )


def test_more_values_than_any_batch_may_have_are_refused_before_they_are_read(http: httpx.Client) -> None:
    content = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,3],"data":[' + b"0," * 1_000_000 + b"0]}]}"
    assert "the body holds more than the 6000 values" in _error(http.post(INFER, content=content), 400)
    content = b'{"instances":[' + b"0," * 1_000_000 + b"0]}"
    by_v1 = http.post("/v1/models/default:predict", content=content)
    assert "the body holds more than the 6000 values" in _error(by_v1, 400)


def test_no_rows_give_no_scores(http: httpx.Client) -> None:
    assert _outputs(http.post(INFER, content=body(tensor([], [0, 3])))) == {"anomaly_score": [], "is_anomaly": []}


@pytest.mark.parametrize("path", [INFER, "/v1/models/default:predict", "/v2/repository/index"])
def test_a_compressed_body_is_refused(http: httpx.Client, path: str) -> None:
    answer = http.post(path, content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    assert "send it uncompressed" in _error(answer, 415)
    assert http.post(path, content=b"{}", headers={"Content-Encoding": "identity"}).status_code in (200, 400)


@pytest.mark.parametrize("path", [INFER, "/v1/models/default:predict", "/v2/repository/index"])
def test_a_body_beyond_the_limit_is_told_it(http: httpx.Client, path: str) -> None:
    content = b'{"x": "' + b"x" * MOST_BYTES + b'"}'
    assert f"the limit is {MOST_BYTES}" in _error(http.post(path, content=content), 413)


def test_refusals_of_admission_have_the_protocols_form(protocol: Serving, http: httpx.Client) -> None:
    content = body(tensor(ROW, [1, 3]))
    protocol.parts.gate.closed = True
    try:
        nobody = http.post(INFER, content=content)
        assert "token" in _error(nobody, 401)
        assert nobody.headers["www-authenticate"].startswith("Bearer")
        assert _error(http.post(INFER, content=content, headers={"Authorization": "Bearer models:read"}), 403)
        often = http.post(INFER, content=content, headers={"Authorization": "Bearer often"})
        assert "wait 3 s" in _error(often, 429)
        assert often.headers["retry-after"] == "3"
        assert http.post(INFER, content=content, headers={"Authorization": "Bearer telemetry:score"}).status_code == 200
        assert http.get("/v2/health/live").status_code == 200
    finally:
        protocol.parts.gate.closed = False


def test_a_fault_of_the_server_is_logged_and_not_told(
    protocol: Serving, http: httpx.Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret cause")

    monkeypatch.setattr(protocol.parts.inference, "resident", fail)
    with caplog.at_level(logging.ERROR):
        answer = http.post(INFER, content=body(tensor(ROW, [1, 3])), headers={"X-Request-Id": "mine-1"})
    assert "mine-1" in _error(answer, 500)
    assert "secret" not in answer.text
    assert "the secret cause" in caplog.text


@pytest.mark.parametrize("size", ["-1", "x", "1e3", "", "9" * 13, "٣"])
def test_a_length_of_the_json_that_is_no_number(http: httpx.Client, size: str) -> None:
    answer = http.post(INFER, content=body(tensor(ROW, [1, 3])), headers={HEADER: size.encode()})  # type: ignore[dict-item]
    assert "it is a number of bytes" in _error(answer, 400)


def test_what_was_scored_is_recorded_with_its_protocol_and_request(protocol: Serving, http: httpx.Client) -> None:
    notes = protocol.parts.notes
    notes.taken.clear()
    notes.request_ids.clear()
    http.headers["x-request-id"] = "the-request"
    http.post(INFER, content=body(tensor(ROW, [1, 3])))
    http.post(f"/v2/models/default/versions/{OLD}/infer", content=body(tensor(ROW * 2, [2, 3])))
    http.post("/v1/models/default:predict", json={"instances": [ROW]})
    http.post(INFER, content=body(tensor(["x"], [1, 3])))
    assert notes.taken == [("v2-rest", NEW, 1), ("v2-rest", OLD, 2), ("v1", NEW, 1)]
    assert notes.request_ids == ["the-request"] * 3


def test_v1_tells_the_models_and_whether_they_can_serve(http: httpx.Client) -> None:
    assert http.get("/v1/models").json() == {"models": ["default", "undecided"]}
    assert http.get("/v1/models/default").json() == {"name": "default", "ready": True}
    assert _error(http.get("/v1/models/undecided"), 503)
    assert _error(http.get("/v1/models/nothing"), 404)


def test_v1_predicts_rows_and_objects(http: httpx.Client) -> None:
    by_name = {"temperature": 4, "speed": 2, "rpm": 3}
    answer = http.post("/v1/models/default:predict", json={"instances": [ROW, by_name, [0, 0, 0]]})
    anomalous = {"anomaly_score": SCORE, "is_anomaly": True}
    assert answer.json() == {"predictions": [anomalous, anomalous, {"anomaly_score": 0.35, "is_anomaly": False}]}
    many = http.post("/v1/models/default:predict", json={"instances": [ROW] * MOST_ROWS})
    assert many.json() == {"predictions": [anomalous] * MOST_ROWS}
    assert http.post("/v1/models/default:predict", json={"instances": []}).json() == {"predictions": []}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "instances is None"),
        ([], "expected an object"),
        ({"instances": 3}, "instances is 3"),
        ({"instances": [3]}, "instances[0] is 3"),
        ({"instances": ROW}, "instances[0] is 2.0"),
        ({"instances": [ROW, [1, 2]]}, "instances[1] has 2 values; a row of model 'default' has 3: speed, rpm"),
        ({"instances": [[1, 2, "3"]]}, "instances[0][2]: expected a number, got a string"),
        ({"instances": [[1, 2, True]]}, "instances[0][2]: expected a number, got true or false"),
        ({"instances": [[1, 2, None]]}, "instances[0][2]: expected a number, got null"),
        ({"instances": [[1, 2, 1e39]]}, "row 0, feature 2 (temperature) is 1e+39"),
        ({"instances": [{"speed": 1, "rpm": 2, "temp": 3}]}, "instances[0] misses temperature and has temp"),
        ({"instances": [ROW] * (MOST_ROWS + 1)}, f"the limit is {MOST_ROWS}"),
    ],
)
def test_v1_refuses_bad_instances(http: httpx.Client, document: Any, sentence: str) -> None:
    assert sentence in _error(http.post("/v1/models/default:predict", json=document), 400)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_v1_refuses_what_is_not_finite(http: httpx.Client, word: str) -> None:
    content = f'{{"instances": [[1, 2, {word}]]}}'.encode()
    assert _error(http.post("/v1/models/default:predict", content=content), 400)


def _loaded(protocol: Serving) -> LoadedVersion:
    loaded = protocol.parts.loaded.default("default")
    assert loaded is not None
    return loaded

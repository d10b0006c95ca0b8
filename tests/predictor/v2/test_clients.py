"""Real clients of the protocol, as their users write them."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http

from tests.predictor.v2.serving import NEW, OLD, Serving

ROWS = np.array([[2.0, 3.0, 4.0], [0.0, 3.0, 4.0]])
SCORES = [-0.24089641525371452, 0.35]


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_rest_client_by_v2(protocol: Serving, binary: bool) -> None:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    async def ask() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        try:
            assert await client.is_server_live(protocol.url)
            assert await client.is_server_ready(protocol.url)
            assert await client.is_model_ready(protocol.url, "default")
            assert not await client.is_model_ready(protocol.url, "undecided")
            tensor = InferInput("features", [2, 3], "FP64")
            tensor.set_data_from_numpy(ROWS, binary_data=binary)
            request = InferRequest("default", [tensor], request_id="7", parameters={"binary_data_output": binary})
            answer = await client.infer(protocol.url, request, model_name="default")
            assert (answer.id, answer.model_name) == ("7", "default")
            assert answer.get_output_by_name("anomaly_score").as_numpy().tolist() == SCORES
            assert answer.get_output_by_name("is_anomaly").as_numpy().tolist() == [True, False]
            without_id = await client.infer(protocol.url, InferRequest("default", [tensor]), model_name="default")
            assert without_id.get_output_by_name("anomaly_score").as_numpy().tolist() == SCORES
        finally:
            await client.close()

    asyncio.run(ask())


def test_kserves_rest_client_by_v1(protocol: Serving) -> None:
    from kserve import InferenceRESTClient, RESTConfig

    async def ask() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
        try:
            assert await client.is_model_ready(protocol.url, "default")
            assert not await client.is_model_ready(protocol.url, "undecided")
            answer = await client.infer(protocol.url, {"instances": ROWS.tolist()}, model_name="default")
            assert answer == {
                "predictions": [
                    {"anomaly_score": SCORES[0], "is_anomaly": True},
                    {"anomaly_score": SCORES[1], "is_anomaly": False},
                ]
            }
        finally:
            await client.close()

    asyncio.run(ask())


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_grpc_client(protocol: Serving, binary: bool) -> None:
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    async def ask() -> None:
        client = InferenceGRPCClient(f"127.0.0.1:{protocol.grpc_port}", retries=0)
        try:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("default")
            assert not await client.is_model_ready("nothing")
            tensor = InferInput("features", [2, 3], "FP64")
            tensor.set_data_from_numpy(ROWS, binary_data=binary)
            answer = await client.infer(InferRequest("default", [tensor], request_id="7", model_version=OLD))
            assert (answer.id, answer.model_version) == ("7", OLD)
            assert answer.get_output_by_name("anomaly_score").as_numpy().tolist() == SCORES
        finally:
            await client.close()

    asyncio.run(ask())


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_http_client(protocol: Serving, binary: bool) -> None:
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{protocol.port}")
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("default")
        assert client.is_model_ready("default", OLD)
        assert not client.is_model_ready("default", "20200101000000")
        assert client.get_server_metadata()["name"] == "telltale"
        assert client.get_model_metadata("default")["versions"] == [NEW, OLD]
        assert [entry["version"] for entry in client.get_model_repository_index()] == [NEW, OLD, OLD]
        tensor = tritonclient.http.InferInput("features", [2, 3], "FP64")
        tensor.set_data_from_numpy(ROWS, binary_data=binary)
        wanted = [tritonclient.http.InferRequestedOutput("is_anomaly", binary_data=binary)]
        answer = client.infer("default", [tensor], outputs=wanted, request_id="7")
        assert answer.get_response()["id"] == "7"
        assert answer.as_numpy("is_anomaly").tolist() == [True, False]
        assert answer.as_numpy("anomaly_score") is None
        everything = client.infer("default", [tensor], model_version=OLD)
        assert everything.get_response()["model_version"] == OLD
        assert everything.as_numpy("anomaly_score").tolist() == SCORES
        with pytest.raises(tritonclient.http.InferenceServerException, match="no version '20200101000000'"):
            client.infer("default", [tensor], model_version="20200101000000")
        with pytest.raises(tritonclient.http.InferenceServerException, match="not loaded by clients"):
            client.load_model("default")
    finally:
        client.close()


def test_tritons_grpc_client_in_a_process_of_its_own(protocol: Serving) -> None:
    """Its messages and KServe's have the same names, and one process can hold one of the two."""
    script = Path(__file__).with_name("triton_grpc_client.py")
    done = subprocess.run(
        [sys.executable, str(script), f"127.0.0.1:{protocol.grpc_port}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["versions"] == [NEW, OLD]
    assert told["scores"] == SCORES
    assert told["flags"] == [True, False]
    assert told["version"] == OLD
    assert told["unknown"] == "StatusCode.NOT_FOUND"
    assert told["load"] == "StatusCode.FAILED_PRECONDITION"


def test_curl(protocol: Serving) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: install it from your distribution's packages")
    body = json.dumps({"inputs": [{"name": "features", "shape": [2, 3], "datatype": "FP64", "data": ROWS.tolist()}]})
    command = ["curl", "-sS", "--fail", "-d", body, f"{protocol.url}/v2/models/default/infer"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["outputs"][0]["data"] == SCORES

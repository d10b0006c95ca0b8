"""The predictor's image as an InferenceService of KServe, by the very files that examples/kserve offers."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import grpc
import httpx
import numpy as np
import pytest

from predictor.v2.kserve_sdk import prepare
from tests.cluster.cluster import Cluster, wait_until
from tests.cluster.conftest import BUCKET, PREFIX
from tests.images.trained_models import MODEL, VERSION, TrainedModel

EXAMPLES = Path(__file__).parents[2] / "examples" / "kserve"
SERVICE = "fleet"
GATEWAY = os.environ.get("TELLTALE_GATEWAY", "127.0.0.1:30080")


class Deployed:
    """An InferenceService that is ready, and its way through the Gateway."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.http_host = f"{cluster.namespace}.example.com"
        self.grpc_host = f"{cluster.namespace}-grpc.example.com"

    @contextmanager
    def http(self) -> Iterator[httpx.Client]:
        """Yield a client of the HTTPRoute."""
        with httpx.Client(base_url=f"http://{GATEWAY}", headers={"Host": self.http_host}, timeout=10) as client:
            yield client

    @contextmanager
    def grpc(self) -> Iterator[Any]:
        """Yield a client of the GRPCRoute."""
        prepare()
        from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

        with grpc.insecure_channel(GATEWAY, options=[("grpc.default_authority", self.grpc_host)]) as channel:
            yield GRPCInferenceServiceStub(channel)

    def scored_by(self, pod: str) -> int:
        """Return how many times a pod answered ``/score`` with 200, by its own log."""
        return self.cluster.kubectl("logs", pod).count('"POST /score 200"')

    def pods(self) -> list[str]:
        """Return the names of the pods that are ready."""
        return [pod["metadata"]["name"] for pod in self.cluster.pods_of(SERVICE) if _is_ready(pod)]


def values(cluster: Cluster, image: str, trained: TrainedModel) -> dict[str, str]:
    return {
        "NAMESPACE": cluster.namespace,
        "NAME": SERVICE,
        "IMAGE": image,
        "MODEL": MODEL,
        "MODEL_VERSION": VERSION,
        "ARTIFACT_DIGEST": trained.digest,
        "MODEL_STORE": f"s3://{BUCKET}/{PREFIX}",
        "S3_ENDPOINT": "http://seaweedfs:8333",
        "S3_REGION": "us-east-1",
    }


@pytest.fixture(scope="module")
def deployed(cluster: Cluster, image: str, trained: TrainedModel) -> Iterator[Deployed]:
    """The InferenceService and its routes."""
    deployed = Deployed(cluster)
    namespace, _, name = os.environ.get("TELLTALE_GATEWAY_NAME", "gateway/telltale").partition("/")
    cluster.apply(EXAMPLES / "predictor.yaml", **values(cluster, image, trained))
    cluster.apply(
        EXAMPLES / "routes.yaml",
        NAMESPACE=cluster.namespace,
        NAME=SERVICE,
        HTTP_HOST=deployed.http_host,
        GRPC_HOST=deployed.grpc_host,
        GATEWAY=name,
        GATEWAY_NAMESPACE=namespace,
    )
    cluster.wait_for("Ready", f"inferenceservice/{SERVICE}", within=120)
    with deployed.http() as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200, "routed by the Gateway")
    yield deployed
    cluster.kubectl("delete", "inferenceservice", SERVICE)


def test_the_inference_service_serves_the_version_from_s3(deployed: Deployed, trained: TrainedModel) -> None:
    """By two ports of one Service, in a namespace that takes restricted pods only."""
    (pod,) = deployed.cluster.pods_of(SERVICE)
    assert _is_ready(pod)
    assert pod["spec"]["automountServiceAccountToken"] is False
    service = deployed.cluster.get("service", f"{SERVICE}-predictor")
    ports = {port["port"]: (port["targetPort"], port.get("appProtocol")) for port in service["spec"]["ports"]}
    assert ports == {80: (8080, None), 8081: (8081, "kubernetes.io/h2c")}
    with deployed.http() as client:
        served = client.get("/health/ready").json()["models"]
    assert served == [{"model": MODEL, "model_version": VERSION, "digest": trained.digest}]


def test_score_and_v2_answer_by_the_http_route(deployed: Deployed, trained: TrainedModel) -> None:
    with deployed.http() as client:
        scored = client.post("/score", json=trained.records()).json()
        inferred = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [trained.tensor()]}).json()
    np.testing.assert_allclose([answer["anomaly_score"] for answer in scored], trained.expected, rtol=0, atol=1e-12)
    assert {answer["model_version"] for answer in scored} == {VERSION}
    outputs = {output["name"]: output["data"] for output in inferred["outputs"]}
    np.testing.assert_allclose(outputs["anomaly_score"], trained.expected, rtol=0, atol=1e-12)
    assert outputs["is_anomaly"] == (trained.expected < 0).tolist()


def test_v2_answers_by_the_grpc_route(deployed: Deployed, trained: TrainedModel) -> None:
    with deployed.grpc() as stub:
        answer = stub.ModelInfer(infer_request(trained), timeout=10, wait_for_ready=True)
        assert stub.ModelReady(protocol().ModelReadyRequest(name=MODEL, version=VERSION), timeout=10).ready
    assert answer.model_version == VERSION
    np.testing.assert_allclose(answer.outputs[0].contents.fp64_contents, trained.expected, rtol=0, atol=1e-12)


def infer_request(trained: TrainedModel) -> Any:
    request = protocol().ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="rows", shape=trained.X.shape, datatype="FP64")
    tensor.contents.fp64_contents.extend(trained.X.ravel())
    return request


def protocol() -> ModuleType:
    """Return the messages of V2."""
    prepare()
    from kserve.protocol.grpc import grpc_predict_v2_pb2

    return cast("ModuleType", grpc_predict_v2_pb2)


def test_scaled_to_two_by_hand_both_pods_answer_and_no_request_fails(deployed: Deployed, trained: TrainedModel) -> None:
    """While requests come the whole time; nor does one fail when it goes back to one pod."""
    with calling(deployed, trained) as calls:
        scale(deployed, 2)
        wait_until(lambda: len(deployed.pods()) == 2, "two ready pods", within=90)
        wait_until(lambda: all(deployed.scored_by(pod) > 0 for pod in deployed.pods()), "both pods answering")
        scale(deployed, 1)
        wait_until(lambda: _all_pods(deployed) == 1, "one pod", within=90)
    assert calls.failures == []
    assert min(calls.rest, calls.grpc) > 100


def scale(deployed: Deployed, replicas: int) -> None:
    """Change what the InferenceService asks for, as a person would."""
    patch = json.dumps({"spec": {"predictor": {"minReplicas": replicas}}})
    deployed.cluster.kubectl("patch", "inferenceservice", SERVICE, "--type=merge", f"--patch={patch}")


@dataclass
class Calls:
    """How many calls were answered with a score, and what became of the others."""

    rest: int = 0
    grpc: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def calling(deployed: Deployed, trained: TrainedModel) -> Iterator[Calls]:
    """Score by REST and by gRPC, again and again on connections that are kept, while the block runs."""
    calls = Calls()
    over = threading.Event()
    threads = [
        threading.Thread(target=call, args=(deployed, trained, over, calls)) for call in (_call_rest, _call_grpc)
    ]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _call_rest(deployed: Deployed, trained: TrainedModel, over: threading.Event, calls: Calls) -> None:
    record = trained.records()[0]
    with deployed.http() as client:
        while not over.wait(0.002):
            try:
                client.post("/score", json=record).raise_for_status()
                calls.rest += 1
            except httpx.HTTPError as error:
                calls.failures.append(repr(error))


def _call_grpc(deployed: Deployed, trained: TrainedModel, over: threading.Event, calls: Calls) -> None:
    request = infer_request(trained)
    with deployed.grpc() as stub:
        while not over.wait(0.002):
            try:
                stub.ModelInfer(request, timeout=10)
                calls.grpc += 1
            except grpc.RpcError as error:
                calls.failures.append(repr(error))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"MODEL": "flet"}, "there is no model 'flet' yet"),
        ({"MODEL_VERSION": "20240101000000"}, f"model 'fleet' has no version '20240101000000'; it has: {VERSION}"),
        (
            {"ARTIFACT_DIGEST": f"sha256:{'0' * 64}"},
            f"the artefact's digest is {{digest}}, and sha256:{'0' * 64} is to be served",
        ),
        ({"S3_ENDPOINT": "http://seaweedfs:8334"}, "the object store"),
    ],
    ids=["model", "version", "digest", "object store"],
)
def test_what_is_not_there_is_never_ready_and_the_pod_says_why(
    cluster: Cluster, image: str, trained: TrainedModel, changed: dict[str, str], reason: str
) -> None:
    """In its log and in the answer by which it is not ready; the pod lives."""
    name = "absent"
    expected = reason.format(digest=trained.digest)
    cluster.apply(EXAMPLES / "predictor.yaml", **values(cluster, image, trained) | changed | {"NAME": name})
    try:
        wait_until(lambda: len(cluster.pods_of(name)) == 1, "a pod", within=60)
        pod = cluster.pods_of(name)[0]["metadata"]["name"]
        wait_until(lambda: expected in why_not_ready(cluster, pod), f"said: {expected}", within=90)
        assert expected in cluster.kubectl("logs", pod)
        wait_until(_probed(cluster, pod, times=3), "probed three times and found not ready", within=60)
        assert not _is_true(cluster.get("inferenceservice", name), "Ready")
        (status,) = cluster.get("pod", pod)["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"], "running" in status["state"]) == (False, 0, True)
    finally:
        cluster.kubectl("delete", "inferenceservice", name)


def why_not_ready(cluster: Cluster, pod: str) -> str:
    """Return the pod's answer of /health/ready, unless it is ready."""
    done = cluster.run("exec", pod, "--container=kserve-container", "--", "python", "-m", "predictor.probe")
    return json.dumps(json.loads(_document(done.stderr))["waiting_for"], ensure_ascii=False) if done.returncode else ""


def _document(said: str) -> str:
    """Return the line that is a document; empty lists if there is none yet."""
    return next((line for line in said.splitlines() if line.startswith("{")), '{"waiting_for": []}')


def _probed(cluster: Cluster, pod: str, *, times: int) -> Callable[[], bool]:
    """Return what tells whether the kubelet has found the pod not ready so many times."""

    def look() -> bool:
        selector = f"--field-selector=involvedObject.name={pod},reason=Unhealthy"
        events = json.loads(cluster.kubectl("get", "events", selector, "--output=json"))["items"]
        said = [event for event in events if "Readiness" in event["message"] and "503" in event["message"]]
        return sum(event.get("count", 1) for event in said) >= times

    return look


def _all_pods(deployed: Deployed) -> int:
    """Return the number of pods, those on their way out included."""
    selector = f"--selector=serving.kserve.io/inferenceservice={SERVICE}"
    return len(deployed.cluster.kubectl("get", "pods", selector, "--output=name").split())


def _is_ready(pod: dict[str, Any]) -> bool:
    return _is_true(pod, "Ready")


def _is_true(thing: dict[str, Any], condition: str) -> bool:
    conditions = thing.get("status", {}).get("conditions", [])
    return any(found["type"] == condition and found["status"] == "True" for found in conditions)

"""The predictor's image as a container, on a model that the trainer's own code made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from predictor.v2.kserve_sdk import prepare
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.images.containers import HARDENED, Container, Docker
from tests.images.trained_models import MODEL, VERSION, TrainedModel, train_into

HTTP, GRPC = 8080, 8081
LARGEST_BYTES = 600_000_000
ANYONE = {"TELLTALE_ALLOW_ANONYMOUS": "true"}
PINNED = {"TELLTALE_MODEL_STORE": "file:///models", "TELLTALE_MODEL": MODEL, "TELLTALE_MODEL_VERSION": VERSION}
# What is said of components is read from the image itself, by the tool that put them there.
LIST_PACKAGES = (
    "import json; from importlib.metadata import distributions as d;"
    "print(json.dumps({x.metadata['Name']: x.version for x in d()}))"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store that anyone may read."""
    folder = tmp_path_factory.mktemp("image") / "models"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> TrainedModel:
    """The model in it."""
    return train_into(ModelStore(LocalObjectStore(folder)))


@contextmanager
def predictor(docker: Docker, image: str, folder: Path, **settings: str) -> Iterator[Container]:
    """Run a predictor that nothing is allowed to, on the model store."""
    mount = f"--volume={folder}:/models:ro"
    environment = ANYONE | PINNED | settings
    with docker.container(image, *HARDENED, mount, environment=environment, ports=(HTTP, GRPC)) as container:
        yield container


@pytest.fixture(scope="module")
def running(docker: Docker, predictor_image: str, folder: Path, trained: TrainedModel) -> Iterator[Container]:
    """One that is ready, for the tests that only look."""
    assert trained.digest
    with predictor(docker, predictor_image, folder) as container:
        with container.http(HTTP) as client:
            container.wait_until_ready(client)
        yield container


@pytest.fixture
def client(running: Container) -> Iterator[httpx.Client]:
    with running.http(HTTP) as client:
        yield client


def test_it_runs_as_nobody_with_no_capability_on_a_read_only_root(running: Container) -> None:
    """As numbers, so that a platform that demands a user other than root can tell."""
    assert running.inspect("{{.Config.User}}") == "65532:65532"
    lines = running.execute("cat", "/proc/1/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == status["Gid"].split() == ["65532"] * 4
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    with pytest.raises(AssertionError, match="Read-only file system"):
        running.execute("touch", "/opt/telltale/new")
    assert not [line for line in running.logs().splitlines() if json.loads(line)["level"] != "info"]


@pytest.mark.parametrize(
    "path", ["/health", "/health/ready", "/healthz", "/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}/ready"]
)
def test_each_health_route_answers(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_readiness_and_health_name_what_is_served(client: httpx.Client, trained: TrainedModel) -> None:
    served = [{"model": MODEL, "model_version": VERSION, "digest": trained.digest}]
    assert client.get("/health/ready").json() == {"ready": True, "models": served, "waiting_for": []}
    assert client.get("/health").json()["status"] == "ok"


def test_a_record_is_scored_as_scikit_learn_scores_it(client: httpx.Client, trained: TrainedModel) -> None:
    """From the model store that it mounts, by ``/score`` and by both transports of V2."""
    scored = client.post("/score", json=trained.records()).json()
    assert {answer["model_version"] for answer in scored} == {VERSION}
    agrees([answer["anomaly_score"] for answer in scored], trained)
    assert [answer["is_anomaly"] for answer in scored] == (trained.expected < 0).tolist()

    answer = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [trained.tensor()]}).json()
    agrees(answer["outputs"][0]["data"], trained)


def test_a_record_is_scored_by_grpc(running: Container, trained: TrainedModel) -> None:
    prepare()
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    request = pb.ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="rows", shape=trained.X.shape, datatype="FP64")
    tensor.contents.fp64_contents.extend(trained.X.ravel())
    with grpc.insecure_channel(running.address(GRPC)) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    assert answer.model_version == VERSION
    agrees(np.frombuffer(answer.raw_output_contents[0]) if answer.raw_output_contents else fp64(answer), trained)


def fp64(answer: Any) -> list[float]:
    return list(answer.outputs[0].contents.fp64_contents)


def agrees(scores: Any, trained: TrainedModel) -> None:
    np.testing.assert_allclose(scores, trained.expected, rtol=0, atol=1e-12)


def test_python_on_the_path_is_the_environments_and_has_nothing_of_training(running: Container) -> None:
    foreign = "mlflow", "sklearn", "pandas", "joblib", "trainer", "registry", "standalone"
    program = f"from importlib.util import find_spec; print([name for name in {foreign} if find_spec(name)])"
    assert running.execute("python", "-c", program) == "[]"
    assert running.execute("python", "-c", "import sys; print(sys.prefix)") == "/opt/telltale"
    assert running.execute("python", "-c", "import predictor; print(predictor.__file__)").startswith("/opt/telltale/")


def test_it_scores_by_the_compiled_kernel(running: Container) -> None:
    program = "from scoring.kernel import kernel_name; print(kernel_name())"
    assert running.execute("python", "-c", program) != "numpy"


def test_nothing_is_compiled_again_when_it_starts(running: Container) -> None:
    """On a read-only root that would be at every start, and take longer than all the rest."""
    program = (
        "import os, sys, predictor.run, predictor.late_composition;"
        "print([m.__name__ for m in sys.modules.values() if getattr(m, '__cached__', None)"
        " and not os.path.exists(m.__cached__)])"
    )
    assert running.execute("python", "-c", program) == "[]"


def test_the_bill_of_materials_names_what_is_installed_and_no_more(running: Container) -> None:
    """Python packages as pip would list them, Debian's as dpkg does, and Python."""
    document = json.loads(running.execute("cat", "/opt/telltale/sbom.cdx.json"))
    assert (document["bomFormat"], document["metadata"]["component"]["type"]) == ("CycloneDX", "container")
    by_kind: dict[str, dict[str, str]] = {"pypi": {}, "deb": {}, "generic": {}}
    for component in document["components"]:
        purl = component.get("purl", "pkg:pypi/telltale")
        by_kind[purl.removeprefix("pkg:").partition("/")[0]][component["name"]] = component["version"]
    assert by_kind["pypi"] == json.loads(running.execute("python", "-c", LIST_PACKAGES))
    listed = running.execute("dpkg-query", "--show", "--showformat=${Package}\t${Version}\n")
    assert by_kind["deb"] == dict(line.split("\t") for line in listed.splitlines())
    assert by_kind["generic"] == {
        "python": running.execute("python", "-c", "import platform as p; print(p.python_version())")
    }


def test_labels_say_what_it_is_and_of_what_revision(docker: Docker, predictor_image: str) -> None:
    labels = json.loads(docker.output("inspect", "--format={{json .Config.Labels}}", predictor_image))
    found = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert found["title"] == "telltale-predictor"
    assert found["version"] == "0.1.0"
    assert len(found["revision"].partition("-")[0]) == 40
    assert found["created"] > "2020-01-01T00:00:00Z"
    assert {"source", "licenses", "description", "base.name"} <= set(found)


def test_it_is_no_larger_than_its_goal(docker: Docker, predictor_image: str) -> None:
    assert int(docker.output("inspect", "--format={{.Size}}", predictor_image)) <= LARGEST_BYTES


def test_its_health_check_turns_healthy(running: Container) -> None:
    healthy = lambda: running.inspect("{{.State.Health.Status}}") == "healthy"  # noqa: E731
    running.wait_until(healthy, "healthy", within=45)


def test_sigterm_ends_it_in_time_with_status_0(
    docker: Docker, predictor_image: str, folder: Path, trained: TrainedModel
) -> None:
    """Sooner than the ten seconds after which Docker kills."""
    with predictor(docker, predictor_image, folder) as container, container.http(HTTP) as client:
        container.wait_until_ready(client)
        assert client.post("/score", json=trained.records()).status_code == 200
        container.signal("TERM")
        assert container.exit_code(within=9) == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"TELLTALE_ARTIFACT_DIGEST": f"sha256:{'0' * 64}"},
            "the artefact's digest is {digest}, and sha256:" + "0" * 64 + " is to be served",
        ),
        (
            {"TELLTALE_MODEL_VERSION": "20240101000000"},
            "model 'fleet' has no version '20240101000000'; it has: " + VERSION,
        ),
        ({"TELLTALE_MODEL": "flet"}, "there is no model 'flet' yet"),
    ],
    ids=["digest", "version", "model"],
)
def test_with_a_model_that_is_not_there_it_is_never_ready_and_says_why(
    docker: Docker, predictor_image: str, folder: Path, trained: TrainedModel, settings: dict[str, str], reason: str
) -> None:
    """In its answer and in its log; it lives, for the model may still come."""
    expected = reason.format(digest=trained.digest)
    with predictor(docker, predictor_image, folder, **settings) as container, container.http(HTTP) as client:
        container.wait_until(lambda: expected in why_not_ready(client), f"said: {expected}")
        assert expected in container.logs()
        assert client.get("/healthz").status_code == 200
        assert client.post("/score", json=trained.records()).status_code in {404, 503}
        with pytest.raises(AssertionError, match='"ready":false'):
            container.execute("python", "-m", "predictor.probe")


def why_not_ready(client: httpx.Client) -> str:
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    return " ".join(answer.json()["waiting_for"])


def test_without_authentication_it_refuses_to_be_reached_and_says_what_to_set(
    docker: Docker, predictor_image: str, folder: Path
) -> None:
    with predictor(docker, predictor_image, folder, TELLTALE_ALLOW_ANONYMOUS="false") as container:
        assert container.exit_code(within=20) == 2
        said = container.logs()
    assert said.startswith("error: listening on 0.0.0.0 would let anyone on the network train and score")
    assert "TELLTALE_AUTH_SECRET" in said
    assert "TELLTALE_ALLOW_ANONYMOUS=true" in said


def test_with_a_secret_it_is_ready_and_scores_for_nobody_without_a_token(
    docker: Docker, predictor_image: str, folder: Path, trained: TrainedModel
) -> None:
    secret = {"TELLTALE_ALLOW_ANONYMOUS": "false", "TELLTALE_AUTH_SECRET": "a-secret-of-a-test-with-32-bytes!"}
    with predictor(docker, predictor_image, folder, **secret) as container, container.http(HTTP) as client:
        container.wait_until_ready(client)
        assert client.post("/score", json=trained.records()).status_code == 401

"""What happens to versions in MLflow while they serve: deleted, renamed, tagged anew; and artefacts that changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.kubernetes.resources import MODEL_REVISIONS, PODS, SERVED_MODELS, Manifest
from registry.rollout.manifests import REVISION_LABEL
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import Start, spec_of
from tests.registry.cluster.in_process import Hand, hand
from tests.registry.cluster.mlflow_process import Versions
from tests.waiting import wait_for

OPEN: tuple[Manifest, ...] = ({"setWeight": 10}, {"pause": {}})
NO_STEPS = {"steps": [], "progressDeadlineSeconds": 60}
HUGE = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}
# As the predictor says it before it ends.
LAST_WORDS = "the artefact's digest is sha256:bad, and sha256:good is to be served"


def deleted(versions: Versions, model: str, number: str) -> None:
    versions.client.delete_model_version(model, number)


def without_alias(versions: Versions, model: str, number: str) -> None:  # noqa: ARG001 - each loses a version
    versions.client.delete_registered_model_alias(model, "champion")


def model_deleted(versions: Versions, model: str, number: str) -> None:  # noqa: ARG001
    versions.client.delete_registered_model(model)


def renamed(versions: Versions, model: str, number: str) -> None:  # noqa: ARG001
    versions.client.rename_registered_model(model, f"{model}-old")


LOSSES = {"deleted": deleted, "without-alias": without_alias, "model-deleted": model_deleted, "renamed": renamed}


def resolved(cluster: Cluster, name: str = "cars") -> tuple[str, str]:
    """Return what is said of the selector."""
    found = {one["type"]: one for one in cluster.status(name)["conditions"]}["Resolved"]
    return found["status"], found["reason"]


def serve_all(cluster: Cluster, versions: Versions, models: dict[str, str]) -> dict[str, str]:
    """Create a ServedModel for each model, and return their first revisions."""
    rollback = {"keepWarmSeconds": 600, "autoWindowSeconds": 0}
    for name, model in models.items():
        versions.alias(model, versions.register(model, "20260101000000"))
        cluster.create(SERVED_MODELS, name, spec_of(model, rollout=NO_STEPS, rollback=rollback))
    return {name: str(cluster.wait_for_phase("Healthy", name=name)["stableRevision"]) for name in models}


def test_a_candidate_that_is_lost_in_mlflow_gives_its_requests_back_and_what_serves_serves_on(
    cluster: Cluster, versions: Versions, model: str, start_controller: Start
) -> None:
    controller = start_controller(TELLTALE_LEADER_ELECTION="false")
    models = {name: f"{model}-{name}" for name in LOSSES}
    first = serve_all(cluster, versions, models)
    for name, its_model in models.items():
        cluster.patch(SERVED_MODELS, name, {"spec": {"rollout": {"steps": list(OPEN)}}})
        versions.alias(its_model, versions.register(its_model, "20260102000000"))
    second = {name: str(cluster.wait_for_phase("Paused", name=name)["candidateRevision"]) for name in models}
    for name, lose in LOSSES.items():
        assert cluster.weights(name) == {first[name]: 90, second[name]: 10}
        lose(versions, models[name], "2")
    for name in models:
        wait_for(lambda name=name: resolved(cluster, name) == ("False", "NoSuchVersion"), f"{name}: Resolved=False")
        wait_for(lambda name=name: cluster.weights(name) == {first[name]: 100}, f"{name}: the way back", 10)
        assert cluster.wait_for_phase("Healthy", name=name)["stableRevision"] == first[name]
        wait_for(lambda name=name: outcome(cluster, second[name]) == "Superseded", f"{name}: what became of it")
        # Nothing is known against it: it is tried again when the selector means it again.
        assert cluster.status(name)["rejectedRevisions"] == []
    assert [line for line in controller.lines() if line["level"] == "error"] == []


def test_what_serves_serves_on_when_it_is_lost_in_mlflow_and_can_still_be_undone(
    cluster: Cluster, versions: Versions, model: str, start_controller: Start
) -> None:
    start_controller(TELLTALE_LEADER_ELECTION="false")
    models = {name: f"{model}-{name}" for name in LOSSES}
    first = serve_all(cluster, versions, models)
    for its_model in models.values():
        versions.alias(its_model, versions.register(its_model, "20260102000000"))
    for name, lose in LOSSES.items():
        wait_for(lambda name=name: cluster.status(name)["stableRevision"] != first[name], f"{name}: the second", 60)
        lose(versions, models[name], "2")
    for name in models:
        wait_for(lambda name=name: resolved(cluster, name) == ("False", "NoSuchVersion"), f"{name}: Resolved=False")
        assert cluster.weights(name) == {cluster.status(name)["stableRevision"]: 100}
        cluster.act("Undo", name)
        wait_for(lambda name=name: cluster.weights(name) == {first[name]: 100}, f"{name}: the way back", 10)


def outcome(cluster: Cluster, revision: str) -> str:
    """Return what became of a revision."""
    found = cluster.get(MODEL_REVISIONS, revision)
    return "" if found is None else str(found["status"]["outcome"])


@pytest.fixture
def driven(cluster: Cluster) -> Iterator[Hand]:
    """A controller."""
    with hand(cluster) as found:
        yield found


def test_a_version_that_is_registered_with_another_digest_is_another_revision_and_takes_the_steps(
    cluster: Cluster, driven: Hand
) -> None:
    first = driven.serve(*OPEN)
    version = driven.mlflow.version
    assert version is not None
    driven.mlflow.digests[version] = f"sha256:{'b' * 64}"
    # The controller reads the tags of a version once a minute; one that begins reads them at once.
    with hand(cluster, driven.mlflow) as later:
        status = later.rest("Paused")
    second = status["candidateRevision"]
    assert second != first
    assert cluster.weights() == {first: 90, second: 10}
    found = {one["metadata"]["name"]: one["spec"] for one in cluster.list(MODEL_REVISIONS)}
    assert found[first]["version"] == found[second]["version"]
    assert found[first]["digest"] != found[second]["digest"]


def test_a_tag_that_is_no_digest_is_never_served(cluster: Cluster, driven: Hand) -> None:
    first = driven.serve(*OPEN)
    driven.mlflow.digests["20260102000000"] = "md5:0123"
    driven.move_alias()
    driven.rest("Healthy")
    assert resolved(cluster) == ("False", "NotTelltale")
    message = driven.conditions()["Resolved"][2]
    assert "its tag telltale.artifact_digest is md5:0123" in message
    assert cluster.weights() == {first: 100}


def test_features_that_no_revision_can_hold_are_told_and_what_serves_serves_on(cluster: Cluster, driven: Hand) -> None:
    first = driven.serve(*OPEN)
    driven.mlflow.features = tuple(f"f{number}" for number in range(1025))
    driven.move_alias()
    driven.rest("Healthy")
    assert resolved(cluster) == ("False", "Unservable")
    assert "at most 1024 items" in driven.conditions()["Resolved"][2]
    assert cluster.weights() == {first: 100}


def test_an_artefact_that_changed_under_its_digest_is_rejected_with_the_predictors_last_words(
    cluster: Cluster, driven: Hand
) -> None:
    first = driven.serve(*OPEN)
    # No node takes its pod, so that nothing but this test says how it is.
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"predictor": {"resources": HUGE}}})
    second = driven.rest("Validating")["candidateRevision"]
    pod = wait_for(lambda: pod_of(cluster, second), "its pod")
    ended = {"exitCode": 1, "reason": "Error", "message": LAST_WORDS}
    container = {
        "name": "kserve-container",
        "image": "telltale/predictor:dev",
        "imageID": "",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    status = {"status": {"containerStatuses": [container]}}
    cluster.patch(PODS, pod["metadata"]["name"], status, subresource="status")
    rejected = driven.rest("Rejected")["rejectedRevisions"][0]
    assert (rejected["revision"], rejected["reason"]) == (second, "NotReady")
    assert LAST_WORDS in rejected["message"]
    assert cluster.weights() == {first: 100}


def pod_of(cluster: Cluster, revision: str) -> Manifest | None:
    """Return a pod of a revision."""
    found = cluster.api.list(PODS, cluster.namespace, f"{REVISION_LABEL}={revision}")
    return next(iter(found), None)

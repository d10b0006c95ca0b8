from __future__ import annotations

from typing import Any

import pytest

from registry.readiness import readiness

ISVC: dict[str, Any] = {"metadata": {"name": "cars-1"}}


def deployment(*, generation: int = 2, **status: int) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "status": {"observedGeneration": 2} | status}


def waiting(reason: str, message: str = "", restarts: int = 0, last: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"state": {"waiting": {"reason": reason, "message": message}}, "restartCount": restarts}
    if last:
        container["lastState"] = {"terminated": {"message": last}}
    return {"status": {"containerStatuses": [container]}}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, True),
        ({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 1}, True),
        ({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 0}, False),
        # A pod of a former template is available, the new one is not: KServe says Ready all the same.
        ({"replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}, False),
        ({"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}, True),
        ({"replicas": 1, "updatedReplicas": 0, "availableReplicas": 1}, False),
        ({}, False),
    ],
)
def test_a_pod_of_the_newest_template_must_be_available(status: dict[str, int], ready: bool) -> None:
    assert readiness(ISVC, deployment(**status), ()).ready is ready


def test_a_deployment_whose_status_is_of_a_former_generation_is_not_ready() -> None:
    found = deployment(generation=3, replicas=1, updatedReplicas=1, availableReplicas=1)
    assert not readiness(ISVC, found, ()).ready


def test_without_a_deployment_it_waits_and_says_what_kserve_says() -> None:
    fault = {"type": "PredictorReady", "status": "False", "message": "cpu request exceeds limit"}
    found = readiness(ISVC | {"status": {"conditions": [fault]}}, None, ())
    assert found.waits_for == "its Deployment is not there yet; KServe: cpu request exceeds limit"
    assert found.fault is None
    assert not readiness(None, None, ()).ready


def test_pods_that_a_quota_forbids_are_waited_for_and_it_is_said_what_forbids_them() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}
    fine = {"type": "Progressing", "status": "True", "message": "it progresses"}
    found = deployment()
    found["status"]["conditions"] = [fine, refused]
    told = readiness(ISVC, found, ())
    assert (told.waits_for, told.fault, told.lost) == ("no pod can be made: exceeded quota: small", None, True)
    found["status"]["conditions"] = [fine, refused | {"status": "False"}]
    assert not readiness(ISVC, found, ()).waits_for


def test_a_predictor_that_ends_again_and_again_is_a_fault_with_its_last_words() -> None:
    pod = waiting("CrashLoopBackOff", restarts=3, last="digest sha256:1 is\nnot sha256:2")
    found = readiness(ISVC, deployment(), [pod])
    assert found.fault == "the predictor has ended 3 times: digest sha256:1 is not sha256:2"


def test_a_predictor_that_ended_once_may_start_yet() -> None:
    found = readiness(ISVC, deployment(), [waiting("CrashLoopBackOff", restarts=1)])
    assert found.fault is None
    assert found.waits_for == "the predictor has ended 1 times"


def test_an_image_that_cannot_be_pulled_may_come_and_one_with_an_impossible_name_will_not() -> None:
    found = readiness(ISVC, deployment(), [waiting("ImagePullBackOff", "no such image")])
    assert (found.fault, found.waits_for) == (None, "ImagePullBackOff: no such image")
    assert readiness(ISVC, deployment(), [waiting("InvalidImageName")]).fault == "InvalidImageName"


def test_a_pod_that_finds_no_node_waits_for_one() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}
    found = readiness(ISVC, deployment(), [{"status": {"conditions": [condition]}}])
    assert (found.fault, found.waits_for) == (None, "a pod finds no node: 0/2 nodes are available")


def test_pods_that_are_left_of_a_former_inference_service_of_the_name_are_not_ready() -> None:
    metadata = {"generation": 1, "ownerReferences": [{"uid": "former"}]}
    status = {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}
    deployment = {"metadata": metadata, "status": status}
    assert not readiness({"metadata": {"uid": "new"}}, deployment, ()).ready
    assert readiness({"metadata": {"uid": "former"}}, deployment, ()).ready
    assert not readiness({"metadata": {"uid": "former", "deletionTimestamp": "now"}}, deployment, ()).ready


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        (deployment(replicas=1, updatedReplicas=1, availableReplicas=1), False),
        # Somebody, or an autoscaler, changed it a moment ago.
        (deployment(generation=3, replicas=1, updatedReplicas=1, availableReplicas=1), False),
        (deployment(replicas=1, updatedReplicas=1), True),
        (None, True),
    ],
)
def test_a_revision_is_lost_only_where_not_one_pod_takes_requests(found: dict[str, Any] | None, lost: bool) -> None:
    assert readiness(ISVC, found, ()).lost is lost


def test_a_secret_that_is_not_there_yet_is_waited_for() -> None:
    found = readiness(ISVC, deployment(), [waiting("CreateContainerConfigError", 'secret "store" not found')])
    assert found.fault is None
    assert found.waits_for == 'CreateContainerConfigError: secret "store" not found'


def test_a_predictor_that_ended_often_and_runs_now_may_get_ready() -> None:
    pod = {"status": {"containerStatuses": [{"state": {"running": {}}, "restartCount": 3}]}}
    assert readiness(ISVC, deployment(), [pod]).fault is None

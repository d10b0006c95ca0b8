"""People change by hand what the controller made: it is put back, left alone, or waited for, and requests go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.kubernetes.resources import (
    DEPLOYMENTS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    SERVED_MODELS,
    SERVICES,
    Manifest,
    Resource,
)
from registry.kubernetes.writes import writing
from registry.rollout.manifests import SERVED_MODEL_LABEL
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.in_process import Hand, hand
from tests.waiting import wait_for

OPEN: tuple[Manifest, ...] = ({"setWeight": 10}, {"pause": {}})


@pytest.fixture
def driven(cluster: Cluster) -> Iterator[Hand]:
    """A controller."""
    with hand(cluster) as found:
        yield found


def live(cluster: Cluster, resource: Resource, name: str = "cars") -> Manifest:
    """Return an object that is there."""
    found = cluster.get(resource, name)
    assert found is not None
    return found


def uid(cluster: Cluster, resource: Resource, name: str) -> str | None:
    """Return which object has a name."""
    found = cluster.get(resource, name)
    return None if found is None else str(found["metadata"]["uid"])


def test_fields_that_somebody_changes_or_adds_go_and_what_others_hang_on_an_object_stays(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve()
    for resource, name, spec in (
        (INFERENCE_SERVICES, first, {"predictor": {"maxReplicas": 9, "nodeSelector": {"disk": "fast"}}}),
        (SERVICES, "cars", {"selector": {"app": "theirs"}, "sessionAffinity": "ClientIP"}),
        (HTTP_ROUTES, "cars", {"hostnames": ["theirs.example.com"]}),
    ):
        before = live(cluster, resource, name)
        marks = {"annotations": {"example.com/owner": "alice"}, "labels": {SERVED_MODEL_LABEL: None, "team": "cars"}}
        cluster.patch(resource, name, {"metadata": marks, "spec": spec})
        driven.rest("Healthy")
        after = live(cluster, resource, name)
        assert after["spec"] == before["spec"], resource.kind
        assert after["metadata"]["annotations"]["example.com/owner"] == "alice"
        assert after["metadata"]["labels"] == before["metadata"]["labels"] | {"team": "cars"}
    assert driven.conditions()["TrafficInSync"][0] == "True"


def test_a_filter_that_somebody_adds_to_the_route_goes(driven: Hand) -> None:
    cluster = driven.cluster
    driven.serve()
    before = live(cluster, HTTP_ROUTES)["spec"]
    theirs = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-telltale-model"]}}
    rules = [before["rules"][0] | {"filters": [theirs]}]
    cluster.patch(HTTP_ROUTES, "cars", {"spec": {"rules": rules}})
    driven.rest("Healthy")
    assert live(cluster, HTTP_ROUTES)["spec"] == before


def test_what_somebody_deletes_is_made_again_in_the_middle_of_a_rollout_with_the_weights_of_the_status(
    driven: Hand,
) -> None:
    cluster, first = driven.cluster, driven.serve(*OPEN)
    driven.move_alias()
    second = driven.rest("Paused")["candidateRevision"]
    for resource in (HTTP_ROUTES, SERVICES):
        cluster.delete(resource, "cars")
        driven.rest("Paused")
        assert live(cluster, resource)
    before = live(cluster, INFERENCE_SERVICES, second)["metadata"]["uid"]
    cluster.delete(INFERENCE_SERVICES, second)
    driven.look_until(lambda: uid(cluster, INFERENCE_SERVICES, second) not in (None, before), "another one")
    driven.rest("Paused")
    assert cluster.weights() == {first: 90, second: 10}
    assert cluster.status()["attempts"] == 2


def test_a_number_of_pods_that_an_autoscaler_sets_is_nobody_elses_affair(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve()
    name = f"{first}-predictor"
    cluster.patch(DEPLOYMENTS, name, {"spec": {"replicas": 3}})
    wait_for(lambda: live(cluster, DEPLOYMENTS, name).get("status", {}).get("availableReplicas") == 3, "three pods")
    before, service = len(driven.writes.done), live(cluster, INFERENCE_SERVICES, first)
    driven.look_for(2.0)
    assert len(driven.writes.done) == before
    assert live(cluster, DEPLOYMENTS, name)["spec"]["replicas"] == 3
    assert live(cluster, INFERENCE_SERVICES, first)["spec"] == service["spec"]
    # How many there may be is the owner's affair: that is written to the InferenceService, and makes no new revision.
    cluster.patch(SERVED_MODELS, "cars", {"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 6}}})
    assert driven.rest("Healthy")["stableRevision"] == first
    predictor = live(cluster, INFERENCE_SERVICES, first)["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 6)


def test_the_record_of_what_serves_is_made_again_where_somebody_deletes_it(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve()
    cluster.delete(MODEL_REVISIONS, first)
    driven.rest("Healthy")
    assert live(cluster, MODEL_REVISIONS, first)["status"]["outcome"] == "Stable"
    assert (cluster.weights(), cluster.inference_services()) == ({first: 100}, {first})


def test_what_serves_without_its_record_serves_on_and_says_so_where_the_alias_names_another(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(*OPEN)
    driven.move_alias()
    driven.rest("Paused")
    cluster.act("Abort")
    driven.rest("Rejected")
    cluster.delete(MODEL_REVISIONS, first)
    driven.rest("Rejected")
    assert driven.conditions()["Ready"][:2] == ("Unknown", "RevisionDeleted")
    assert driven.conditions()["Degraded"][0] == "True"
    assert (cluster.weights(), cluster.inference_services()) == ({first: 100}, {first})
    driven.move_alias("20260101000000")
    driven.rest("Healthy")
    assert driven.conditions()["Ready"][:2] == ("True", "Serving")


def test_the_record_of_a_candidate_is_made_again_where_somebody_deletes_it(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve(*OPEN)
    driven.move_alias()
    second = driven.rest("Paused")["candidateRevision"]
    cluster.delete(MODEL_REVISIONS, second)
    driven.rest("Paused")
    assert live(cluster, MODEL_REVISIONS, second)["status"]["outcome"] == "Candidate"
    assert cluster.weights() == {first: 90, second: 10}
    assert cluster.status()["attempts"] == 2


def test_an_undo_to_a_revision_whose_record_is_gone_is_ignored_and_says_so(driven: Hand) -> None:
    cluster, first = driven.cluster, driven.serve()
    driven.move_alias()
    second = driven.rest("Healthy")["stableRevision"]
    cluster.delete(MODEL_REVISIONS, first)
    action = cluster.act("Undo", toRevision=first)
    driven.rest("Healthy")
    found = [one for one in cluster.status()["actionOutcomes"] if one["uid"] == action["metadata"]["uid"]]
    assert [(one["state"], one["message"]) for one in found] == [("Ignored", f"there is no {first} to go back to")]
    assert cluster.weights() == {second: 100}


@pytest.mark.parametrize("resource", [SERVICES, HTTP_ROUTES], ids=lambda resource: resource.kind)
def test_an_object_of_somebody_else_with_our_name_is_not_touched(resource: Resource, driven: Hand) -> None:
    cluster = driven.cluster
    spec: Manifest = (
        {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}
        if resource == SERVICES
        else {"parentRefs": [{"name": "theirs"}], "hostnames": ["theirs.example.com"]}
    )
    # By the same field manager, and with our label: neither makes it ours.
    metadata = {"name": "cars", "namespace": cluster.namespace, "labels": {SERVED_MODEL_LABEL: "cars"}}
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
    theirs = cluster.api.write(writing("create", resource, body))
    driven.create()
    driven.look_until(lambda: "NameTaken" in driven.conditions().get("TrafficInSync", ()), "the condition")
    driven.look_for(2.0)
    assert live(cluster, resource) == theirs
    status, reason, message = driven.conditions()["TrafficInSync"]
    assert (status, reason) == ("False", "NameTaken")
    assert message.startswith(f"the {resource.kind} cars is there and does not belong to this ServedModel: delete it")
    assert driven.conditions()["Degraded"][:2] == ("True", "NameTaken")
    assert cluster.status()["attempt"]["weight"] == 0
    cluster.delete(resource, "cars")
    first = driven.rest("Healthy")["stableRevision"]
    assert cluster.weights() == {first: 100}

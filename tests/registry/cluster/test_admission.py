"""Who may do what, by the chart's roles and policies, as the API server judges it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest
from tests.registry.cluster.access import (
    POLICIES,
    bind,
    grant,
    install_policies,
    install_roles,
    make_namespace,
    may,
    rule,
    wait_for_policies,
)
from tests.registry.cluster.people import Answer, Person, documents
from tests.registry.cluster.test_schemas import REVISION, SERVED_MODEL
from tests.waiting import wait_for

ACTIONS = ("Promote", "Abort", "Undo", "Approve", "Pause", "Resume", "Retry")
ORDINARY = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
CREATE_ACTIONS = rule(["create"], ["rolloutactions"])

Ask = Callable[[str], Person]


@pytest.fixture(scope="module")
def run(kubeconfig: str) -> Iterator[str]:  # noqa: ARG001
    """The policies, for the namespaces of this module."""
    name = f"p{time.monotonic_ns() % 10**10}"
    administrator = Person(name)
    administrator.make_namespace()
    administrator.install_kinds()
    install_roles(administrator)
    bindings = install_policies(administrator, name)
    make_namespace(administrator, name)
    wait_for_policies(administrator)
    yield name
    for path in bindings:
        administrator.ask("DELETE", path)
    administrator.remove_namespace()
    administrator.close()


@pytest.fixture
def administrator(run: str) -> Iterator[Person]:
    """The administrator, in a namespace of the test's own."""
    person = Person(f"t{time.monotonic_ns() % 10**10}")
    make_namespace(person, run)
    yield person
    person.remove_namespace()
    person.close()


@pytest.fixture
def person(administrator: Person) -> Iterator[Ask]:
    """Somebody who may do nothing yet, by name."""
    known: list[Person] = []

    def ask(name: str) -> Person:
        known.append(Person(administrator.namespace, name))
        return known[-1]

    yield ask
    for one in known:
        one.close()


def act(person: Person, action: str, on: str = "cars", *, by: str | None = None, dry_run: bool = False) -> Answer:
    """Create an action."""
    spec = {"servedModel": on, "action": action, "requestedBy": by or person.name or ""}
    return person.create(ROLLOUT_ACTIONS, f"{on}-{time.monotonic_ns()}", spec, dry_run=dry_run)


def actions(administrator: Person) -> list[Manifest]:
    """Return the actions that there are."""
    found: list[Manifest] = administrator.ask("GET", ROLLOUT_ACTIONS.path(administrator.namespace)).document["items"]
    return found


@pytest.mark.parametrize("granted", ACTIONS)
def test_each_verb_allows_its_own_action_and_no_other(administrator: Person, person: Ask, granted: str) -> None:
    alice = person("alice")
    grant(administrator, "alice", CREATE_ACTIONS, rule([granted.lower()], ["servedmodels"]))
    answers = {action: act(alice, action) for action in ACTIONS}
    assert {action for action, answer in answers.items() if answer.status == 201} == {granted}
    for action in set(ACTIONS) - {granted}:
        assert answers[action].status == 403
        what = f"spec.action {action}: alice lacks the verb {action.lower()} on servedmodels.registry.telltale.dev"
        assert f"{what} {administrator.namespace}/cars" in answers[action].message
    assert [action["spec"]["requestedBy"] for action in actions(administrator)] == ["alice"]


def test_a_verb_on_one_served_model_is_none_on_another(administrator: Person, person: Ask) -> None:
    alice = person("alice")
    grant(administrator, "alice", CREATE_ACTIONS, rule(["promote"], ["servedmodels"], ["cars"]))
    assert act(alice, "Promote", "cars").status == 201
    refused = act(alice, "Promote", "lorries")
    assert refused.status == 403
    assert "lacks the verb promote" in refused.message


def test_a_verb_in_one_namespace_is_none_in_another(administrator: Person, person: Ask, run: str) -> None:
    alice, elsewhere = person("alice"), Person(f"{administrator.namespace}b")
    make_namespace(elsewhere, run)
    grant(administrator, "alice", rule(["promote"], ["servedmodels"]))
    grant(elsewhere, "alice", CREATE_ACTIONS)
    alice.namespace = elsewhere.namespace
    refused = act(alice, "Promote")
    assert refused.status == 403
    assert "lacks the verb promote" in refused.message
    elsewhere.remove_namespace()
    elsewhere.close()


def test_a_verb_is_of_no_use_to_whoever_may_not_create_actions(administrator: Person, person: Ask) -> None:
    grant(administrator, "bob", rule(["promote"], ["servedmodels"]))
    refused = act(person("bob"), "Promote")
    assert refused.status == 403
    assert 'cannot create resource "rolloutactions"' in refused.message


@pytest.mark.parametrize("name", ["alice", None], ids=["alice", "the administrator"])
def test_nobody_acts_in_the_name_of_another(administrator: Person, person: Ask, name: str | None) -> None:
    grant(administrator, "alice", CREATE_ACTIONS, rule(["promote"], ["servedmodels"]))
    somebody = person("alice") if name else administrator
    refused = act(somebody, "Promote", by="bob")
    assert refused.status == 403
    assert "spec.requestedBy must be the user who makes the request, " in refused.message
    assert refused.message.endswith("and not bob")
    assert actions(administrator) == []


def test_a_dry_run_is_judged_like_the_real_thing_and_leaves_nothing(administrator: Person, person: Ask) -> None:
    alice = person("alice")
    grant(administrator, "alice", CREATE_ACTIONS, rule(["pause"], ["servedmodels"]))
    assert act(alice, "Pause", dry_run=True).status == 201
    assert "lacks the verb resume" in act(alice, "Resume", dry_run=True).message
    assert "and not bob" in act(alice, "Pause", by="bob", dry_run=True).message
    assert actions(administrator) == []


def test_a_service_account_acts_under_its_own_name(administrator: Person, person: Ask) -> None:
    name = f"system:serviceaccount:{administrator.namespace}:ci"
    grant(administrator, name, CREATE_ACTIONS, rule(["promote"], ["servedmodels"]))
    assert act(person(name), "Promote").status == 201
    assert "and not ci" in act(person(name), "Promote", by="ci").message


def test_an_action_keeps_its_author(administrator: Person, person: Ask) -> None:
    alice, bob = person("alice"), person("bob")
    grant(administrator, "alice", CREATE_ACTIONS, rule(["abort"], ["servedmodels"]))
    grant(administrator, "bob", rule(["patch", "update"], ["rolloutactions"]))
    made = act(alice, "Abort")
    name = made.document["metadata"]["name"]
    refused = bob.patch(ROLLOUT_ACTIONS, name, {"spec": {"requestedBy": "bob"}})
    assert refused.status == 422
    assert "a RolloutAction is immutable" in refused.message


def aggregated(administrator: Person, role: str, user: str, **asked: str) -> None:
    """Bind a user to one of Kubernetes' own roles, and wait until that has taken ours up."""
    bind(administrator, user, "ClusterRole", role)
    wait_for(lambda: may(administrator, user, group="registry.telltale.dev", **asked), f"{role}'s aggregation")


def test_a_viewer_reads_everything_and_writes_nothing(administrator: Person, person: Ask) -> None:
    aggregated(administrator, "view", "carol", verb="get", resource="servedmodels")
    carol = person("carol")
    for resource in (SERVED_MODELS, MODEL_REVISIONS, ROLLOUT_ACTIONS):
        assert carol.ask("GET", resource.path(carol.namespace)).status == 200
        assert carol.create(resource, "cars", {}).status == 403
    assert act(carol, "Abort").status == 403


def test_an_editor_writes_specs_and_no_record(administrator: Person, person: Ask) -> None:
    aggregated(administrator, "edit", "bob", verb="create", resource="servedmodels")
    bob = person("bob")
    assert bob.create(SERVED_MODELS, "cars", SERVED_MODEL).status == 201
    assert bob.patch(SERVED_MODELS, "cars", {"spec": {"suspend": True}}).status == 200
    assert bob.patch(SERVED_MODELS, "cars", {"status": {"phase": "Healthy"}}, "status").status == 403
    assert bob.create(MODEL_REVISIONS, "cars-1", REVISION).status == 403
    assert act(bob, "Promote").status == 403
    assert bob.delete(SERVED_MODELS, "cars").status == 200


def test_an_admin_of_a_namespace_runs_rollouts_and_writes_no_record(administrator: Person, person: Ask) -> None:
    aggregated(administrator, "admin", "alice", verb="promote", resource="servedmodels")
    alice = person("alice")
    answers = [act(alice, action) for action in ACTIONS]
    assert [answer.status for answer in answers] == [201] * len(ACTIONS)
    name = answers[0].document["metadata"]["name"]
    assert alice.delete(ROLLOUT_ACTIONS, name).status == 403, "what was done is not undone by forgetting it"
    assert alice.create(MODEL_REVISIONS, "cars-1", REVISION).status == 403


def test_every_ordinary_verb_on_every_resource_is_not_enough_to_forge_a_record(
    administrator: Person, person: Ask
) -> None:
    carol = person("carol")
    grant(administrator, "carol", rule(ORDINARY, ["*"]))
    administrator.create(SERVED_MODELS, "cars", SERVED_MODEL)
    administrator.create(MODEL_REVISIONS, "cars-1", REVISION)
    forged = [
        carol.create(MODEL_REVISIONS, "cars-2", REVISION),
        carol.patch(SERVED_MODELS, "cars", {"status": {"stableRevision": "cars-2"}}, "status"),
        carol.patch(MODEL_REVISIONS, "cars-1", {"status": {"outcome": "Stable"}}, "status"),
    ]
    for answer in forged:
        assert answer.status == 403
        assert "are the controller's to write: carol lacks the verb record" in answer.message
    assert carol.patch(SERVED_MODELS, "cars", {"spec": {"suspend": True}}).status == 200


def test_the_garbage_collector_takes_a_served_models_revisions(administrator: Person) -> None:
    made = administrator.create(SERVED_MODELS, "cars", SERVED_MODEL).document
    owner = {
        "apiVersion": made["apiVersion"],
        "kind": made["kind"],
        "name": "cars",
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"name": "cars-1", "namespace": administrator.namespace, "ownerReferences": [owner]}
    assert administrator.create(MODEL_REVISIONS, "cars-1", REVISION, metadata=metadata).status == 201
    assert administrator.delete(SERVED_MODELS, "cars").status == 200
    wait_for(lambda: administrator.get(MODEL_REVISIONS, "cars-1").status == 404, "the revision's end", 60)


@pytest.mark.usefixtures("run")
def test_the_api_server_finds_no_fault_in_the_policies(kubeconfig: str) -> None:  # noqa: ARG001
    administrator = Person("default")
    names = [one["metadata"]["name"] for one in documents("policies.yaml") if not one["kind"].endswith("Binding")]
    for name in names:
        path = f"{POLICIES}/validatingadmissionpolicies/{name}"

        def checked(path: str = path) -> Manifest | None:
            status: Manifest = administrator.ask("GET", path).document.get("status", {})
            return status if "typeChecking" in status else None

        assert wait_for(checked, "the type check")["typeChecking"] == {}
    administrator.close()

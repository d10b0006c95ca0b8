"""What the API server takes and what it refuses, by the schemas as they are installed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml

from registry.api.base import GROUP, VERSION, ApiModel
from registry.api.model_revision import ModelRevisionSpec
from registry.api.rollout_action import RolloutActionSpec
from registry.api.served_model import ServedModelSpec
from registry.api.status import ServedModelStatus
from registry.crds import KINDS, Kind, schema
from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest, Resource
from registry.structural import Schema
from tests.registry.cluster.people import ROOT, Person
from tests.registry.limits import Violation, violations
from tests.registry.rollout.test_kstatus import kstatus

PREDICTOR: Manifest = {"image": "telltale/predictor:dev", "modelStore": "s3://models/store"}
SERVED_MODEL: Manifest = {
    "model": {"name": "cars", "alias": "champion"},
    "predictor": PREDICTOR,
    "route": {"gatewayRef": {"name": "telltale"}, "hostnames": ["cars.example.com"]},
}
REVISION: Manifest = {
    "servedModel": "cars",
    "model": "cars",
    "version": "20260101000000",
    "mlflowVersion": "1",
    "mlflowRunId": "0" * 32,
    "digest": "sha256:" + "0" * 64,
    "featureNames": ["speed"],
    "predictor": PREDICTOR,
}
ACTION: Manifest = {"servedModel": "cars", "action": "Abort", "requestedBy": "alice"}
SPECS = {SERVED_MODELS.kind: SERVED_MODEL, MODEL_REVISIONS.kind: REVISION, ROLLOUT_ACTIONS.kind: ACTION}
MODELS: dict[str, type[ApiModel]] = {
    SERVED_MODELS.kind: ServedModelSpec,
    MODEL_REVISIONS.kind: ModelRevisionSpec,
    ROLLOUT_ACTIONS.kind: RolloutActionSpec,
}
ONLINE = {"name": "errors", "prometheus": {"query": "sum(up)", "max": 1}}
OFFLINE = {"name": "flags", "mlflow": {"metric": "holdout_flag_rate", "max": 0.2}}


@pytest.fixture(scope="module")
def administrator(kubeconfig: str) -> Iterator[Person]:  # noqa: ARG001
    """The administrator, in a namespace of this module."""
    person = Person(f"t{time.monotonic_ns() % 10**10}")
    person.make_namespace()
    person.install_kinds()
    yield person
    person.remove_namespace()
    person.close()


def changed(spec: Manifest, **changes: Any) -> Manifest:
    """Return a spec with other values, at paths whose parts are put together by two underscores."""
    whole = deepcopy(spec)
    for path, value in changes.items():
        place, (*parents, last) = whole, path.split("__")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return whole


def served(**changes: Any) -> Manifest:
    """Return a ServedModel's spec."""
    return changed(SERVED_MODEL, **changes)


DOCUMENTED: Manifest = yaml.safe_load((ROOT / "docs" / "registry-api.md").read_text().split("```")[1][len("yaml") :])
GOOD: list[tuple[str, Resource, Manifest]] = [
    ("the example of the docs", SERVED_MODELS, DOCUMENTED["spec"]),
    ("the least of a ServedModel", SERVED_MODELS, SERVED_MODEL),
    ("the least of a revision", MODEL_REVISIONS, REVISION),
    ("the least of an action", ROLLOUT_ACTIONS, ACTION),
    ("a version", SERVED_MODELS, served(model={"name": "cars", "version": "20260101000000"})),
    ("a tag", SERVED_MODELS, served(model={"name": "cars", "tag": "stage=ready"})),
    ("a run", SERVED_MODELS, served(model={"name": "cars", "runId": "0123456789abcdef" * 2})),
    ("as many replicas at the least as at the most", SERVED_MODELS, served(predictor__minReplicas=4)),
    ("amounts as numbers", SERVED_MODELS, served(predictor__resources__requests={"cpu": 1, "memory": 1_000_000})),
    (
        "a request as large as its limit",
        SERVED_MODELS,
        served(predictor__resources={"requests": {"cpu": "1000m"}, "limits": {"cpu": 1}}),
    ),
    ("no requests at all", SERVED_MODELS, served(predictor__resources={"requests": {}, "limits": {}})),
    ("variables", SERVED_MODELS, served(predictor__env={"TELLTALE_LOG_LEVEL": "debug", "_x1": ""})),
    ("any host below a domain", SERVED_MODELS, served(route__hostnames=["*.example.com", "a.b"])),
    ("a host for gRPC", SERVED_MODELS, served(route__grpcHostnames=["cars-grpc.example.com"])),
    ("one listener of the gateway", SERVED_MODELS, served(route__gatewayRef__sectionName="https")),
    ("a folder as model store", SERVED_MODELS, served(predictor__modelStore="file:///models")),
    (
        "every step",
        SERVED_MODELS,
        served(
            gates=[OFFLINE, ONLINE],
            rollout__steps=[
                {"setWeight": 0},
                {"shadow": {}},
                {"match": {"header": "X-Canary", "value": "yes"}},
                {"setWeight": 10},
                {"pause": {}},
                {"pause": {"durationSeconds": 60}},
                {"gate": {}},
                {"gate": {"names": ["errors"]}},
                {"approval": {}},
                {"setWeight": 100},
            ],
        ),
    ),
    (
        "every limit of a gate",
        SERVED_MODELS,
        served(
            gates=[
                {"name": "a", "mlflow": {"metric": "auc", "min": 0.5, "max": 0.5}},
                {"name": "b", "mlflow": {"metric": "auc", "maxDecrease": 0.01}},
                {"name": "c", "mlflow": {"metric": "auc", "maxIncrease": 0}},
                {
                    "name": "d",
                    "prometheus": {"query": "up", "min": 0, "max": 1, "samplesQuery": "up", "minimumSamples": 1},
                },
                {"name": "e", "prometheus": {"query": "up", "min": 0, "samplesQuery": "up"}},
            ]
        ),
    ),
    (
        "freeze windows",
        SERVED_MODELS,
        served(
            freezeWindows=[
                {"schedule": "0 18 * * FRI", "durationSeconds": 3600, "timeZone": "Europe/Berlin"},
                {"schedule": "*/5 0-6,22  1 JAN-MAR *", "durationSeconds": 60, "timeZone": "America/Argentina/Ushuaia"},
                {"schedule": "0 0 * * *", "durationSeconds": 60},
            ]
        ),
    ),
    ("an undo of a certain revision", ROLLOUT_ACTIONS, {**ACTION, "action": "Undo", "toRevision": "cars-0123456789"}),
    ("an action with a reason", ROLLOUT_ACTIONS, {**ACTION, "reason": "too many\nalarms"}),
]

# What breaks each rule, and what the API server says to it.
BAD: list[tuple[str, Resource, Manifest, str]] = [
    (
        "no selector",
        SERVED_MODELS,
        served(model={"name": "cars"}),
        "spec.model: .*exactly one of version, alias, tag, runId is to be set",
    ),
    (
        "two selectors",
        SERVED_MODELS,
        served(model__version="20260101000000"),
        "spec.model: .*exactly one of version, alias, tag, runId is to be set",
    ),
    (
        "more replicas at the least than at the most",
        SERVED_MODELS,
        served(predictor__minReplicas=5),
        "spec.predictor: .*minReplicas must not be more than maxReplicas",
    ),
    (
        "one host for both kinds of route",
        SERVED_MODELS,
        served(route__grpcHostnames=["cars.example.com"]),
        "spec.route: .*grpcHostnames and hostnames must have no host in common",
    ),
    (
        "a host of the one below a wildcard of the other",
        SERVED_MODELS,
        served(route__hostnames=["*.example.com"], route__grpcHostnames=["cars.example.com"]),
        "spec.route: .*grpcHostnames and hostnames must have no host in common",
    ),
    (
        "a wildcard of the one above a wildcard of the other",
        SERVED_MODELS,
        served(route__hostnames=["*.cars.example.com"], route__grpcHostnames=["*.example.com"]),
        "spec.route: .*grpcHostnames and hostnames must have no host in common",
    ),
    (
        "a revision with such replicas",
        MODEL_REVISIONS,
        changed(REVISION, predictor__minReplicas=5),
        "spec.predictor: .*minReplicas must not be more than maxReplicas",
    ),
    (
        "a request beyond its limit",
        SERVED_MODELS,
        served(predictor__resources={"requests": {"cpu": "1500m"}, "limits": {"cpu": 1}}),
        "spec.predictor.resources: .*requests.cpu must not be more than limits.cpu",
    ),
    (
        "a request beyond the limit that is there by default",
        SERVED_MODELS,
        served(predictor__resources={"requests": {"memory": "2Gi"}}),
        "spec.predictor.resources: .*requests.memory must not be more than limits.memory",
    ),
    (
        "an amount in words",
        SERVED_MODELS,
        served(predictor__resources={"requests": {"cpu": "two"}}),
        "spec.predictor.resources.requests.cpu in body should match",
    ),
    (
        "less than nothing",
        SERVED_MODELS,
        served(predictor__resources={"requests": {"cpu": -1}}),
        "spec.predictor.resources.requests.cpu: .*an amount must be more than 0",
    ),
    (
        "a variable with a dash",
        SERVED_MODELS,
        served(predictor__env={"LOG-LEVEL": "debug"}),
        "spec.predictor.env: .*env has a name that no variable can have",
    ),
    (
        "a variable of the controller",
        SERVED_MODELS,
        served(predictor__env={"TELLTALE_MODEL": "other"}),
        "spec.predictor.env: .*env must not set what the controller sets: TELLTALE_MODEL_STORE",
    ),
    (
        "an empty step",
        SERVED_MODELS,
        served(rollout__steps=[{"setWeight": 10}, {}]),
        r"spec.rollout.steps\[1\]: .*exactly one of setWeight, pause, gate, approval, shadow, match is to be set",
    ),
    (
        "a step that is two",
        SERVED_MODELS,
        served(rollout__steps=[{"setWeight": 10, "pause": {}}]),
        r"spec.rollout.steps\[0\]: .*exactly one of setWeight, pause, gate, approval, shadow, match is to be set",
    ),
    (
        "a step with a gate that there is not",
        SERVED_MODELS,
        served(gates=[ONLINE], rollout__steps=[{"gate": {"names": ["errors", "latency"]}}]),
        "spec: .*a gate step names a gate that spec.gates does not have as a prometheus gate",
    ),
    (
        "a step with an offline gate",
        SERVED_MODELS,
        served(gates=[OFFLINE, ONLINE], rollout__steps=[{"gate": {"names": ["flags"]}}]),
        "spec: .*a gate step names a gate that spec.gates does not have as a prometheus gate",
    ),
    (
        "a gate step without online gates",
        SERVED_MODELS,
        served(gates=[OFFLINE], rollout__steps=[{"gate": {}}]),
        "spec: .*a gate step needs a prometheus gate in spec.gates",
    ),
    (
        "a gate of no kind",
        SERVED_MODELS,
        served(gates=[{"name": "a"}]),
        r"spec.gates\[0\]: .*exactly one of mlflow, prometheus is to be set",
    ),
    (
        "a gate of both kinds",
        SERVED_MODELS,
        served(gates=[OFFLINE | ONLINE]),
        r"spec.gates\[0\]: .*exactly one of mlflow, prometheus is to be set",
    ),
    (
        "two gates of a name",
        SERVED_MODELS,
        served(gates=[ONLINE, {"name": "errors", "prometheus": {"query": "up", "min": 1}}]),
        r'spec.gates\[1\]: Duplicate value: .*"name":"errors"',
    ),
    (
        "an offline gate without a limit",
        SERVED_MODELS,
        served(gates=[{"name": "a", "mlflow": {"metric": "auc"}}]),
        r"spec.gates\[0\].mlflow: .*a limit is missing: set min, max, maxIncrease or maxDecrease",
    ),
    (
        "an online gate without a limit",
        SERVED_MODELS,
        served(gates=[{"name": "a", "prometheus": {"query": "up"}}]),
        r"spec.gates\[0\].prometheus: .*a limit is missing: set min or max",
    ),
    (
        "an offline gate that nothing passes",
        SERVED_MODELS,
        served(gates=[{"name": "a", "mlflow": {"metric": "auc", "min": 0.6, "max": 0.5}}]),
        r"spec.gates\[0\].mlflow: .*min must not be more than max",
    ),
    (
        "an online gate that nothing passes",
        SERVED_MODELS,
        served(gates=[{"name": "a", "prometheus": {"query": "up", "min": 1, "max": 0}}]),
        r"spec.gates\[0\].prometheus: .*min must not be more than max",
    ),
    (
        "samples that nothing counts",
        SERVED_MODELS,
        served(gates=[{"name": "a", "prometheus": {"query": "up", "min": 1, "minimumSamples": 5}}]),
        r"spec.gates\[0\].prometheus: .*minimumSamples needs samplesQuery, which counts them",
    ),
    (
        "a time zone that there is not",
        SERVED_MODELS,
        served(freezeWindows=[{"schedule": "0 0 * * *", "durationSeconds": 60, "timeZone": "Mars/Olympus"}]),
        r"spec.freezeWindows\[0\].timeZone: .*unknown time zone Mars/Olympus",
    ),
    (
        "a time zone that is another on each machine",
        SERVED_MODELS,
        served(freezeWindows=[{"schedule": "0 0 * * *", "durationSeconds": 60, "timeZone": "Local"}]),
        r"spec.freezeWindows\[0\].timeZone: .*no such time zone",
    ),
    (
        "a schedule with four fields",
        SERVED_MODELS,
        served(freezeWindows=[{"schedule": "0 18 * FRI", "durationSeconds": 60}]),
        r"spec.freezeWindows\[0\].schedule in body should match",
    ),
    (
        "a revision to go to that is no undo",
        ROLLOUT_ACTIONS,
        {**ACTION, "toRevision": "cars-0123456789"},
        "spec: .*toRevision belongs to Undo alone",
    ),
]
NAMES = [
    ("a" * 41, "metadata.name must have at most 40 characters"),
    ("1cars", "metadata.name must begin with a letter and have no dot"),
    ("my.cars", "metadata.name must begin with a letter and have no dot"),
]
UPDATES: list[tuple[Kind, Manifest, str]] = [
    (KINDS[1], {"digest": "sha256:other"}, "spec: .*a ModelRevision is immutable"),
    (KINDS[1], {"predictor": {"image": "other"}}, "spec: .*a ModelRevision is immutable"),
    (KINDS[2], {"requestedBy": "bob"}, "spec: .*a RolloutAction is immutable: create another"),
    (KINDS[2], {"action": "Promote"}, "spec: .*a RolloutAction is immutable: create another"),
]
SAYS = {
    "duplicate": "Duplicate value",
    "enum": "Unsupported value",
    "maxItems": "Too many",
    "maxLength": "Too long",
    "maxProperties": "Too many",
    "maximum": "should be less than or equal to",
    "minItems": "should have at least",
    "minLength": "should be at least",
    "minimum": "should be greater than or equal to",
    "pattern": "should match",
    "required": "Required value",
    "type": "must be of type",
}


def all_violations() -> Iterator[Any]:
    """Yield a violation of each limit of each spec."""
    for kind in KINDS:
        for violation in violations(schema(kind)["properties"]["spec"], ("spec",)):
            yield pytest.param(kind.resource, violation, id=f"{kind.short_name} {violation}")


@pytest.mark.parametrize(("resource", "violation"), list(all_violations()))
def test_what_breaks_a_limit_is_refused_by_the_name_of_its_field(
    administrator: Person, resource: Resource, violation: Violation
) -> None:
    manifest = violation.put_into({"spec": SPECS[resource.kind]})
    answer = administrator.create(resource, "cars", manifest.get("spec"), dry_run=True)
    assert answer.status == 422, answer.message
    field = f"{violation.field}[1]" if violation.keyword == "duplicate" else violation.field
    assert re.search(rf"{re.escape(field)}(:|\s).*{SAYS[violation.keyword]}", answer.message), answer.message


@pytest.mark.parametrize(("resource", "spec"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_a_good_spec_is_taken_and_means_the_same_with_what_the_api_server_filled_in(
    administrator: Person, resource: Resource, spec: Manifest
) -> None:
    answer = administrator.create(resource, "cars", spec, dry_run=True)
    assert answer.status == 201, answer.message
    model = MODELS[resource.kind]
    assert model.model_validate(answer.document["spec"]) == model.model_validate(spec)


@pytest.mark.parametrize(("resource", "spec", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_breaks_a_rule_is_refused_by_the_name_of_its_field(
    administrator: Person, resource: Resource, spec: Manifest, message: str
) -> None:
    answer = administrator.create(resource, "cars", spec, dry_run=True)
    assert answer.status == 422, answer.message
    assert re.search(message, answer.message), answer.message


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_a_name_that_services_cannot_be_made_from_is_refused(administrator: Person, name: str, message: str) -> None:
    answer = administrator.create(SERVED_MODELS, name, SERVED_MODEL, dry_run=True)
    assert answer.status == 422, answer.message
    assert message in answer.message


def test_the_longest_name_is_taken(administrator: Person) -> None:
    assert administrator.create(SERVED_MODELS, "a" * 40, SERVED_MODEL, dry_run=True).status == 201


@pytest.mark.parametrize(("kind", "change", "message"), UPDATES)
def test_a_record_is_never_changed(administrator: Person, kind: Kind, change: Manifest, message: str) -> None:
    name = f"r{time.monotonic_ns()}"
    assert administrator.create(kind.resource, name, SPECS[kind.resource.kind]).status == 201
    answer = administrator.patch(kind.resource, name, {"spec": change})
    assert answer.status == 422
    assert re.search(message, answer.message), answer.message
    labelled = administrator.patch(kind.resource, name, {"metadata": {"labels": {"a": "b"}}})
    assert labelled.status == 200, "labels are no part of the record"


def test_every_rule_has_a_case_that_breaks_it() -> None:
    expected = [case[-1] for case in BAD] + [case[-1] for case in NAMES] + [case[-1] for case in UPDATES]
    for kind in KINDS:
        for message in rule_messages(schema(kind)):
            assert any(message[:40] in what for what in expected), message


def rule_messages(found: Any) -> Iterator[str]:
    """Yield the messages of all rules in a schema."""
    if isinstance(found, dict):
        yield from (rule["message"] for rule in found.get("x-kubernetes-validations", ()))
        for below in found.values():
            yield from rule_messages(below)


def test_a_field_that_nobody_knows_is_warned_of_and_dropped_or_refused_where_that_is_asked_for(
    administrator: Person,
) -> None:
    body = {
        "apiVersion": SERVED_MODELS.api_version,
        "kind": SERVED_MODELS.kind,
        "metadata": {"name": "cars"},
        "spec": served(rollout__step=[]),
    }
    path = SERVED_MODELS.path(administrator.namespace)
    strict = administrator.ask("POST", path, body, {"dryRun": "All", "fieldValidation": "Strict"})
    assert strict.status == 400
    assert 'unknown field "spec.rollout.step"' in strict.message
    warned = administrator.ask("POST", path, body, {"dryRun": "All", "fieldValidation": "Warn"})
    assert warned.status == 201
    assert 'unknown field \\"spec.rollout.step\\"' in warned.warnings[0]
    assert "step" not in warned.document["spec"]["rollout"]


def full(found: Schema) -> Any:
    """Return a value that has every field of a schema."""
    if "enum" in found:
        return found["enum"][-1]
    match found["type"]:
        case "object":
            return {name: full(below) for name, below in found["properties"].items()}
        case "array":
            return [full(found["items"])]
        case "string":
            return "2026-01-01T00:00:00.123456Z" if found.get("format") == "date-time" else "A" * 2000
        case "boolean":
            return True
    return 7


@pytest.mark.parametrize("kind", KINDS, ids=[kind.short_name for kind in KINDS])
def test_a_status_is_written_apart_from_the_spec_and_is_kept_whole(administrator: Person, kind: Kind) -> None:
    status = full(schema(kind)["properties"]["status"])
    if kind.status is ServedModelStatus:
        status["attempt"]["match"] = {"header": "X-Canary", "value": "yes"}
        status["conditions"][0] |= {"type": "Ready", "reason": "Serving"}
    name = f"s{time.monotonic_ns()}"
    made = administrator.create(kind.resource, name, SPECS[kind.resource.kind], status=status)
    assert made.status == 201
    assert made.document.get("status") == kind.unseen, "who may create is not who may say how it is"
    written = administrator.patch(kind.resource, name, {"status": status, "spec": {"model": None}}, "status")
    assert written.status == 200, written.message
    assert written.document["status"] == status
    assert written.document["spec"] == made.document["spec"]
    kind.status.model_validate(written.document["status"])


def test_two_conditions_of_a_type_are_refused(administrator: Person) -> None:
    name = f"c{time.monotonic_ns()}"
    administrator.create(SERVED_MODELS, name, SERVED_MODEL)
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Serving",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    answer = administrator.patch(SERVED_MODELS, name, {"status": {"conditions": [condition, condition]}}, "status")
    assert answer.status == 422
    assert "status.conditions[1]: Duplicate value" in answer.message


COLUMNS: dict[Resource, Manifest] = {
    SERVED_MODELS: {
        "Phase": "Paused",
        "Stable": "cars-1",
        "Candidate": "cars-2",
        "Weight": 10,
        "Steps-Done": 1,
        "Ready": "True",
    },
    MODEL_REVISIONS: {"Model": "cars", "Version": "20260101000000", "Outcome": "Stable", "Weight": 90},
    ROLLOUT_ACTIONS: {"Action": "Abort", "Model": "cars", "By": "alice", "State": "Applied"},
}
STATUSES: dict[Resource, Manifest] = {
    SERVED_MODELS: {
        "phase": "Paused",
        "stableRevision": "cars-1",
        "candidateRevision": "cars-2",
        "attempt": {"id": "cars-2/1", "step": 1, "stepStartedAt": "2026-01-01T00:00:00Z", "weight": 10},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "cars-1 serves",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    },
    MODEL_REVISIONS: {"outcome": "Stable", "weight": 90},
    ROLLOUT_ACTIONS: {"state": "Applied"},
}


@pytest.mark.parametrize("resource", list(COLUMNS), ids=[resource.plural for resource in COLUMNS])
def test_kubectl_get_shows_how_it_stands(administrator: Person, resource: Resource) -> None:
    name = f"p{time.monotonic_ns()}"
    administrator.create(resource, name, SPECS[resource.kind])
    written = administrator.patch(resource, name, {"status": STATUSES[resource]}, "status")
    assert written.status == 200, written.message
    table = administrator.ask(
        "GET",
        resource.path(administrator.namespace, name),
        headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"},
    ).document
    shown = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    cells = dict(zip([c["name"] for c in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
    assert shown == ["Name", *COLUMNS[resource], "Age"]
    assert {column: cells[column] for column in COLUMNS[resource]} == COLUMNS[resource]


def test_the_kinds_have_short_names_and_a_category(administrator: Person) -> None:
    found = administrator.ask("GET", f"/apis/{GROUP}/{VERSION}").document["resources"]
    names = {one["name"]: (one["shortNames"], one["categories"]) for one in found if "/" not in one["name"]}
    assert names == {
        "servedmodels": (["smodel"], ["telltale"]),
        "modelrevisions": (["mrev"], ["telltale"]),
        "rolloutactions": (["ract"], ["telltale"]),
    }


@pytest.mark.parametrize("resource", [MODEL_REVISIONS, ROLLOUT_ACTIONS], ids=["mrev", "ract"])
def test_records_are_selected_by_their_served_model(administrator: Person, resource: Resource) -> None:
    for served_model in ("lorries", "vans"):
        spec = SPECS[resource.kind] | {"servedModel": served_model}
        administrator.create(resource, f"{served_model}{time.monotonic_ns()}", spec)
    selector = {"fieldSelector": "spec.servedModel=vans"}
    found = administrator.ask("GET", resource.path(administrator.namespace), parameters=selector).document["items"]
    assert {one["spec"]["servedModel"] for one in found} == {"vans"}


def test_what_the_controller_has_not_seen_yet_is_in_progress_for_kstatus(administrator: Person) -> None:
    name = f"k{time.monotonic_ns()}"
    administrator.create(SERVED_MODELS, name, SERVED_MODEL)
    assert kstatus(administrator.get(SERVED_MODELS, name).document) == "InProgress"

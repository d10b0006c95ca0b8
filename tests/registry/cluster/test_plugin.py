"""`kubectl telltale` against a real API server. The test is the controller: it writes what the controller would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from registry.errors import Refused
from registry.kubernetes.api import connect
from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest, Resource
from registry.kubernetes.writes import writing
from registry.plugin.cli import cli
from registry.plugin.completion import suggestions
from registry.plugin.credentials import prove
from registry.plugin.kubeconfig import find
from registry.rollout.manifests import SERVED_MODEL_LABEL
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import Start
from tests.registry.cluster.mlflow_process import Versions
from tests.registry.plugin.scenes import NEW, OLD, revision, served_model, under_way
from tests.waiting import wait_for

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
POLICY_BINDINGS = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
)
Run = Callable[..., Result]
Served = Callable[[dict[str, Any]], None]


@pytest.fixture
def run(cluster: Cluster) -> Run:
    """Runs a command in the test's namespace."""

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(cli, [*words, "-n", cluster.namespace], env={"COLUMNS": "160"})

    return invoke


@pytest.fixture
def served(cluster: Cluster) -> Served:
    """`cars`, which rests; call it to write another status."""
    scene = served_model()
    cluster.create(SERVED_MODELS, "cars", scene["spec"])
    for name, version, number in ((OLD, "20260305000000", "7"), (NEW, "20260306000000", "8")):
        spec = _revision_spec(revision(name, version, number)["spec"])
        cluster.create(MODEL_REVISIONS, name, spec, labels={SERVED_MODEL_LABEL: "cars"})

    def write(status: dict[str, Any]) -> None:
        live = cluster.get(SERVED_MODELS, "cars")
        assert live is not None
        whole = scene["status"] | {"observedGeneration": live["metadata"]["generation"]} | status
        cluster.api.write(writing("replaceStatus", SERVED_MODELS, live | {"status": whole}))

    write({})
    return write


def _revision_spec(spec: Manifest) -> Manifest:
    predictor = {"image": "telltale/predictor:1", "modelStore": "s3://models/store"}
    return spec | {"predictor": predictor, "mlflowRunId": "0" * 32, "featureNames": ["speed"]}


@contextmanager
def controller(cluster: Cluster, state: str, message: str) -> Iterator[list[Manifest]]:
    """Settle the next action as a controller would; yields the list in which it will be."""
    settled: list[Manifest] = []

    def settle() -> None:
        found = wait_for(lambda: cluster.list(ROLLOUT_ACTIONS), "an action")[0]
        found |= {"apiVersion": ROLLOUT_ACTIONS.api_version, "kind": ROLLOUT_ACTIONS.kind}
        status = {"state": state, "message": message}
        settled.append(cluster.api.write(writing("replaceStatus", ROLLOUT_ACTIONS, found | {"status": status})))

    thread = Thread(target=settle)
    thread.start()
    yield settled
    thread.join()


def test_an_abort_is_in_the_name_of_who_typed_it_and_says_what_came_of_it(
    cluster: Cluster, run: Run, served: Served
) -> None:
    served(under_way(2, "Paused", weight=10))
    with controller(cluster, "Applied", f"aborted {NEW}") as settled:
        result = run("abort", "cars", "--reason", "too many alarms", "--as", "alice", "--as-group", "system:masters")
    assert (result.exit_code, result.output) == (0, f"Applied: aborted {NEW}\n")
    spec = settled[0]["spec"]
    assert (spec["servedModel"], spec["action"], spec["requestedBy"]) == ("cars", "Abort", "alice")
    assert spec["reason"] == "too many alarms"


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "approve", "abort", "undo", "retry"])
def test_each_verb_creates_its_action(cluster: Cluster, run: Run, served: Served, verb: str) -> None:
    served({})
    result = run(verb, "cars", "--no-wait", "-o", "json")
    assert result.exit_code == 0
    created = json.loads(result.output)
    found = cluster.get(ROLLOUT_ACTIONS, created["metadata"]["name"])
    assert found is not None
    assert found["spec"]["action"].lower() == verb
    assert "toRevision" not in found["spec"]


def test_an_action_that_finds_nothing_to_do_ends_with_3(cluster: Cluster, run: Run, served: Served) -> None:
    served({})
    with controller(cluster, "Ignored", "nothing is paused"):
        result = run("resume", "cars")
    assert (result.exit_code, result.output) == (3, "Ignored: nothing is paused\n")


@pytest.mark.usefixtures("served")
def test_without_a_controller_it_gives_up_with_4_and_says_that_the_action_stays(run: Run) -> None:
    result = run("abort", "cars", "--timeout", "0.3")
    assert result.exit_code == 4
    assert "is the registry controller running?" in result.output
    assert "The rollout is Healthy" in result.output


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("called", [OLD, OLD.removeprefix("cars-"), "20260305000000"])
def test_an_undo_goes_to_a_revision_by_its_name_its_last_part_or_its_version(run: Run, called: str) -> None:
    result = run("undo", "cars", "--to-revision", called, "--no-wait", "-o", "yaml")
    assert yaml.safe_load(result.output)["spec"]["toRevision"] == OLD


@pytest.mark.usefixtures("served")
def test_an_undo_to_what_is_not_there_names_what_is(run: Run) -> None:
    result = run("undo", "cars", "--to-revision", "cars-none")
    assert result.exit_code == 1
    assert OLD in result.output


def test_a_name_that_is_not_there_leads_to_near_ones_and_other_namespaces(
    cluster: Cluster, run: Run, served: Served
) -> None:
    served({})
    near = run("abort", "carz")
    assert (near.exit_code, "Did you mean cars?" in near.output) == (1, True)
    elsewhere = CliRunner().invoke(cli, ["status", "cars", "-n", "default"])
    assert elsewhere.exit_code == 1
    assert cluster.namespace in elsewhere.output


@pytest.mark.usefixtures("_verbs_demanded")
def test_a_user_without_rights_is_told_which_one_is_missing(cluster: Cluster, run: Run, served: Served) -> None:
    served({})
    grant(cluster, "alice", "rolloutactions", "create")

    def refusal() -> str | None:
        result = run("abort", "cars", "--no-wait", "--as", "alice")
        return result.output if result.exit_code == 1 else None

    # A policy takes a moment to hold.
    said = wait_for(refusal, "the policy's refusal", 20)
    assert f'alice may not abort "cars" in namespace "{cluster.namespace}"' in said
    assert 'the verb "abort" on servedmodels.registry.telltale.dev' in said
    grant(cluster, "alice", "servedmodels", "abort")
    wait_for(lambda: run("abort", "cars", "--no-wait", "--as", "alice").exit_code == 0, "the right")
    assert run("promote", "cars", "--no-wait", "--as", "alice").exit_code == 1


def test_a_user_who_may_not_create_actions_at_all_is_told_so(run: Run, served: Served) -> None:
    served({})
    result = run("abort", "cars", "--as", "bob")
    assert result.exit_code == 1
    assert "bob may not create rolloutactions" in result.output
    reading = run("status", "cars", "--as", "bob")
    assert reading.exit_code == 1
    assert reading.output.startswith("Error: Not allowed: ")


def grant(cluster: Cluster, user: str, plural: str, verb: str) -> None:
    """Let a user do one thing."""
    name = f"{user}-{plural}-{verb}"
    rules = [{"apiGroups": [SERVED_MODELS.group], "resources": [plural], "verbs": [verb]}]
    cluster.post(ROLES.path(cluster.namespace), {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "User", "name": user, "apiGroup": ROLES.group}
    role = {"kind": "Role", "name": name, "apiGroup": ROLES.group}
    cluster.post(BINDINGS.path(cluster.namespace), {"metadata": {"name": name}, "subjects": [subject], "roleRef": role})


@pytest.fixture
def _verbs_demanded(cluster: Cluster) -> Iterator[None]:
    """The API server demands an action's verb of who creates it, in this namespace alone."""
    name = f"plugin-{cluster.namespace}"
    check = (
        "authorizer.group('registry.telltale.dev').resource('servedmodels').namespace(object.metadata.namespace)"
        ".name(object.spec.servedModel).check(object.spec.action.lowerAscii()).allowed()"
    )
    match = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
        "resourceRules": [
            {
                "apiGroups": [ROLLOUT_ACTIONS.group],
                "apiVersions": ["*"],
                "operations": ["CREATE"],
                "resources": [ROLLOUT_ACTIONS.plural],
            }
        ],
    }
    spec = {"matchConstraints": match, "validations": [{"expression": check, "message": "the verb is missing"}]}
    cluster.post(POLICIES.path(), {"metadata": {"name": name}, "spec": spec})
    bound = {"policyName": name, "validationActions": ["Deny"]}
    cluster.post(POLICY_BINDINGS.path(), {"metadata": {"name": name}, "spec": bound})
    yield
    with connect(10.0) as client:
        for resource in (POLICY_BINDINGS, POLICIES):
            client.delete(resource.path(None, name))


def test_status_shows_what_is_and_prints_it_for_programs(run: Run, served: Served) -> None:
    served(under_way(2, "Paused", weight=10))
    shown = run("status", "cars").output
    assert "Paused" in shown
    assert "candidate  20260306000000" in shown
    document = json.loads(run("status", "cars", "-o", "json").output)
    assert [(one["role"], one["weight"]) for one in document["revisions"]] == [("stable", 90), ("candidate", 10)]
    listed = run("status").output.splitlines()
    assert listed[1].split()[1:5] == ["cars", "Paused", "20260305000000", "20260306000000"]


def test_plan_and_history_show_what_would_be_and_what_was(run: Run, served: Served) -> None:
    served({})
    assert f"{OLD} serves already" in run("plan", "cars").output
    assert json.loads(run("plan", "cars", "-o", "json").output)["minimumSeconds"] == 900
    assert {one["revision"] for one in json.loads(run("history", "cars", "-o", "json").output)} == {OLD, NEW}
    assert "telltale/predictor:1" in run("history", "cars", "-o", "wide").output


@pytest.mark.parametrize(("phase", "code"), [("Healthy", 0), ("Rejected", 1)])
def test_watching_tells_each_change_once_and_ends_by_the_outcome(
    cluster: Cluster, served: Served, phase: str, code: int
) -> None:
    served(under_way(2, "Paused", "until somebody resumes", weight=10))
    command = ["status", "cars", "--until", "healthy", "--timeout", "60", "-n", cluster.namespace]
    with plugin(*command) as process:
        assert process.stdout is not None
        assert "until somebody resumes" in process.stdout.readline()
        served(under_way(4, "Progressing", "half of it", weight=50))
        line = process.stdout.readline()
        assert "candidate 20260306000000 50 %" in line
        assert "half of it" in line
        served({"phase": phase, "message": "over"})
        assert "over" in process.stdout.readline()
        assert process.wait(20) == code


def test_a_wait_that_takes_too_long_ends_with_4(run: Run, served: Served) -> None:
    served(under_way(2, "Paused", weight=10))
    result = run("status", "cars", "--until", "done", "--timeout", "0")
    assert result.exit_code == 4
    assert "it is Paused" in result.output


@contextmanager
def plugin(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command as a process."""
    program = [sys.executable, "-c", "from registry.plugin.cli import main; main()", *words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("served")
def test_a_kubeconfig_with_a_credential_plugin_works(cluster: Cluster, tmp_path: Path) -> None:
    own = find(os.environ, None, None)
    proof = prove(own.user, own.cluster)
    status: dict[str, Any] = {}
    if proof.authorization:
        status["token"] = proof.authorization.removeprefix("Bearer ")
    if proof.certificate and proof.key:
        status |= {"clientCertificateData": proof.certificate.decode(), "clientKeyData": proof.key.decode()}
    version = "client.authentication.k8s.io/v1"
    (tmp_path / "answer").write_text(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))
    program = {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "answer")], "interactiveMode": "Never"}
    config = {
        "clusters": [{"name": "a", "cluster": dict(own.cluster)}],
        "users": [{"name": "a", "user": {"exec": program}}],
        "contexts": [{"name": "eks", "context": {"cluster": "a", "user": "a", "namespace": cluster.namespace}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(cli, ["status", "--kubeconfig", str(tmp_path / "config"), "--context", "eks"])
    assert (result.exit_code, "cars" in result.output) == (0, True)


@pytest.mark.usefixtures("served")
def test_tab_knows_models_and_revisions(cluster: Cluster) -> None:
    assert list(suggestions(["abort", "-n", cluster.namespace, ""])) == ["cars"]
    assert list(suggestions(["undo", "cars", "-n", cluster.namespace, "--to-revision", ""])) == [OLD, NEW]


@pytest.mark.usefixtures("served")
def test_an_abort_reaches_the_api_server_quickly(cluster: Cluster) -> None:
    began = time.monotonic()
    with plugin("abort", "cars", "--no-wait", "-n", cluster.namespace) as process:
        assert process.wait(20) == 0
    assert time.monotonic() - began < 5, "a bound for a busy machine; it takes a third of a second on an idle one"
    assert len(cluster.list(ROLLOUT_ACTIONS)) == 1


def test_what_the_schema_refuses_is_told_in_the_api_servers_words(run: Run, served: Served, cluster: Cluster) -> None:
    served({})
    try:
        cluster.create(ROLLOUT_ACTIONS, "wrong", {"servedModel": "cars"})
    except Refused:
        pass
    else:
        pytest.skip("the cluster's RolloutActions have a schema that takes anything: apply the chart's CRDs")
    result = run("abort", "cars", "--reason", "x" * 2000)
    assert result.exit_code == 1
    assert "spec.reason" in result.output


def test_a_rollout_is_steered_by_the_command_alone(
    cluster: Cluster,
    run: Run,
    versions: Versions,
    model: str,
    serve: Callable[..., Manifest],
    start_controller: Start,
) -> None:
    versions.alias(model, versions.register(model, "20260101000000"))
    start_controller()
    serve(rollout={"steps": [{"setWeight": 10}, {"pause": {}}], "progressDeadlineSeconds": 60})
    cluster.wait_for_phase("Paused")
    assert run("resume", "cars").output == "Applied: ended the pause\n"
    assert run("status", "cars", "--until", "healthy", "--timeout", "30").exit_code == 0
    first = cluster.status()["stableRevision"]
    versions.alias(model, versions.register(model, "20260102000000"))
    candidate = cluster.wait_for_phase("Paused")["candidateRevision"]
    assert cluster.weights() == {first: 90, candidate: 10}
    assert "pause until somebody resumes" in run("status", "cars").output
    aborted = run("abort", "cars", "--reason", "too many alarms")
    assert aborted.exit_code == 0
    assert candidate in aborted.output
    assert run("status", "cars", "--until", "healthy", "--timeout", "30").exit_code == 1
    assert cluster.weights() == {first: 100}
    outcomes = {one["revision"]: one["outcome"] for one in json.loads(run("history", "cars", "-o", "json").output)}
    assert outcomes == {first: "Stable", candidate: "Rejected"}
    assert "kubectl telltale retry cars" in run("plan", "cars").output

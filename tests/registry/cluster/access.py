"""Who may do what in a test's namespace: the chart's roles and policies, and roles of a test's own."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, Manifest, Resource
from tests.registry.cluster.people import Person, documents
from tests.waiting import wait_for

RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICIES = "/apis/admissionregistration.k8s.io/v1"
_PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
LABEL = "tests.telltale.dev/run"


def install_roles(administrator: Person) -> None:
    """Install the chart's roles."""
    for role in documents("roles.yaml"):
        administrator.apply(f"{RBAC}/clusterroles", role)


def install_policies(administrator: Person, run: str) -> list[str]:
    """Have the chart's policies hold in the namespaces of a run alone; return the paths of the bindings."""
    paths = []
    for manifest in documents("policies.yaml"):
        path = f"{POLICIES}/{_PLURALS[manifest['kind']]}"
        if manifest["kind"] == "ValidatingAdmissionPolicyBinding":
            manifest["metadata"]["name"] += f"-{run}"
            manifest["spec"]["matchResources"] = {"namespaceSelector": {"matchLabels": {LABEL: run}}}
            paths.append(f"{path}/{manifest['metadata']['name']}")
        administrator.apply(path, manifest)
    return paths


def make_namespace(administrator: Person, run: str) -> None:
    """Make a namespace in which the policies hold."""
    metadata = {"name": administrator.namespace, "labels": {LABEL: run}}
    administrator.apply("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def wait_for_policies(administrator: Person) -> None:
    """Wait until the API server goes by the policies, in a namespace of theirs."""
    grant(administrator, "prober", rule(["create"], ["modelrevisions", "rolloutactions"]))
    prober = Person(administrator.namespace, "prober")
    revision = {
        "servedModel": "cars",
        "model": "cars",
        "version": "1",
        "mlflowVersion": "1",
        "mlflowRunId": "",
        "digest": "sha256:0",
        "predictor": {"image": "a", "modelStore": "s3://models"},
    }
    action = {"servedModel": "cars", "action": "Abort", "requestedBy": "prober"}
    for resource, spec, said in (
        (MODEL_REVISIONS, revision, "lacks the verb record"),
        (ROLLOUT_ACTIONS, action, "lacks the verb abort"),
    ):

        def is_judged(resource: Resource = resource, spec: Manifest = spec, said: str = said) -> bool:
            return said in prober.create(resource, "probe", spec, dry_run=True).message

        wait_for(is_judged, f"the policy on {resource.plural}")
    prober.close()


def rule(verbs: Iterable[str], resources: Iterable[str], names: Iterable[str] = ()) -> Manifest:
    """Return a rule of a role on our group; on some objects alone where there are names."""
    found = {"apiGroups": ["registry.telltale.dev"], "resources": list(resources), "verbs": list(verbs)}
    return found | ({"resourceNames": list(names)} if names else {})


def grant(administrator: Person, user: str, *rules: Manifest) -> None:
    """Give a user a role of his own, and wait until the API server knows."""
    name = f"tests-{time.monotonic_ns()}"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": administrator.namespace},
        "rules": list(rules),
    }
    administrator.apply(f"{RBAC}/namespaces/{administrator.namespace}/roles", role)
    bind(administrator, user, "Role", name)
    last = rules[-1]
    asked = {
        "group": last["apiGroups"][0],
        "resource": last["resources"][0],
        "verb": last["verbs"][0],
        "name": (last.get("resourceNames") or [""])[0],
    }
    wait_for(lambda: may(administrator, user, **asked), f"{user}'s role")


def bind(administrator: Person, user: str, kind: str, role: str) -> None:
    """Bind a user to a role in the namespace."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"tests-{time.monotonic_ns()}", "namespace": administrator.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    administrator.apply(f"{RBAC}/namespaces/{administrator.namespace}/rolebindings", binding)


def may(administrator: Person, user: str, **attributes: str) -> bool:
    """Tell whether a user may do something; in the namespace, unless another is given."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {"namespace": administrator.namespace, **attributes}},
    }
    answer = administrator.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer.document["status"]["allowed"])


def install_controller_account(administrator: Person) -> list[str]:
    """Make the controller's account in the namespace, with its roles; return the paths of the cluster-wide bindings."""
    namespace, paths = administrator.namespace, []
    for manifest in documents("controller.yaml"):
        for subject in manifest.get("subjects", ()):
            subject["namespace"] = namespace
        if manifest["kind"] == "ClusterRoleBinding":
            manifest["metadata"]["name"] += f"-{namespace}"
            paths.append(f"{RBAC}/clusterrolebindings/{manifest['metadata']['name']}")
            administrator.apply(f"{RBAC}/clusterrolebindings", manifest)
            continue
        manifest["metadata"]["namespace"] = namespace
        core = manifest["kind"] == "ServiceAccount"
        group, plural = ("/api/v1", "serviceaccounts") if core else (RBAC, _PLURALS[manifest["kind"]])
        administrator.apply(f"{group}/namespaces/{namespace}/{plural}", manifest)
    return paths


def kubeconfig_of_controller(administrator: Person, of_administrator: Path, folder: Path) -> Path:
    """Write a kubeconfig with a token of the controller's account."""
    account = f"/api/v1/namespaces/{administrator.namespace}/serviceaccounts/telltale-registry"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = administrator.ask("POST", f"{account}/token", request).document["status"]["token"]
    config = yaml.safe_load(of_administrator.read_text())
    current = next(context for context in config["contexts"] if context["name"] == config["current-context"])
    config["users"] = [{"name": current["context"]["user"], "user": {"token": token}}]
    path = folder / "kubeconfig-controller"
    path.write_text(yaml.safe_dump(config))
    return path

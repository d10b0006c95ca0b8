"""A person's action: created in their name, and waited for."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from registry.api.group import API_VERSION, SERVED_MODEL_LABEL
from registry.errors import KubernetesError, KubernetesForbidden, KubernetesUnavailable, NotThere, Refused
from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest
from registry.plugin import problems
from registry.plugin.cluster import Change, Cluster, Expired, KindMissing
from registry.plugin.errors import PluginError, Unwatched

_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Wish:
    """What somebody wants to be done.

    Args:
        namespace: of the ServedModel.
        model: its name.
        action: Promote, Abort, Undo, Approve, Pause, Resume or Retry.
        reason: why, for others; may be empty.
        to_revision: for Undo, where to; None for the former stable revision.

    """

    namespace: str
    model: str
    action: str
    reason: str = ""
    to_revision: str | None = None


def ask_for(cluster: Cluster, wish: Wish) -> Manifest:
    """Create the RolloutAction; PluginError says why it cannot be."""
    owner = served_model(cluster, wish.namespace, wish.model, must_see=False)
    user = cluster.user()
    manifest = rollout_action(wish, user, secrets.token_hex(4), owner)
    try:
        return cluster.act(manifest)
    except (KubernetesForbidden, Refused) as error:
        raise PluginError(_why_not(cluster, wish, user, error)) from error


def rollout_action(wish: Wish, user: str, mark: str, owner: Manifest | None = None) -> Manifest:
    """Return the RolloutAction of a wish; ``mark`` makes its name its own.

    It goes with its ServedModel, the ``owner``, where that may be read.
    """
    spec: dict[str, Any] = {"servedModel": wish.model, "action": wish.action, "requestedBy": user}
    if wish.reason:
        spec["reason"] = wish.reason
    if wish.to_revision is not None:
        spec["toRevision"] = wish.to_revision
    metadata: dict[str, Any] = {
        "name": f"{wish.model}-{wish.action.lower()}-{mark}",
        "namespace": wish.namespace,
        "labels": {SERVED_MODEL_LABEL: wish.model},
    }
    if owner:
        kind, uid = SERVED_MODELS.kind, owner["metadata"]["uid"]
        metadata["ownerReferences"] = [{"apiVersion": API_VERSION, "kind": kind, "name": wish.model, "uid": uid}]
    return {"apiVersion": API_VERSION, "kind": ROLLOUT_ACTIONS.kind, "metadata": metadata, "spec": spec}


def _why_not(cluster: Cluster, wish: Wish, user: str, error: KubernetesForbidden | Refused) -> str:
    verb = wish.action.lower()
    if not cluster.may("create", ROLLOUT_ACTIONS, wish.namespace, ""):
        return problems.not_allowed(f'{user} may not create rolloutactions in namespace "{wish.namespace}"')
    if not cluster.may(verb, SERVED_MODELS, wish.namespace, wish.model):
        return problems.verb_missing(user, verb, wish.model, wish.namespace)
    said = problems.not_allowed if isinstance(error, KubernetesForbidden) else problems.refused
    return said(str(error))


def result_of(
    cluster: Cluster,
    action: Manifest,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Return what became of an action once a controller has settled it: its state; "Pending" after ``seconds``.

    The manifest given is brought up to date. An API server that goes away meanwhile is waited for; Unwatched is raised
    where the user may not see what becomes of it.
    """
    metadata, deadline = action["metadata"], clock() + seconds
    name, version = {"fieldSelector": f"metadata.name={metadata['name']}"}, str(metadata["resourceVersion"])
    while state(action) == "Pending" and clock() < deadline:
        try:
            if not version:
                action.update(cluster.get(ROLLOUT_ACTIONS, metadata["namespace"], metadata["name"]))
                version = str(action["metadata"]["resourceVersion"])
                continue
            seconds = max(0.1, deadline - clock())
            with closing(cluster.watch(ROLLOUT_ACTIONS, metadata["namespace"], version, name, seconds)) as changes:
                for change in changes:
                    version = _taken(action, change)
                    if state(action) != "Pending":
                        break
        except Expired:
            version = ""
        except KubernetesUnavailable:
            pause(_RETRY_SECONDS)
        except KubernetesForbidden as error:
            said = f"{metadata['name']} is asked for, but you may not watch what comes of it: {error}"
            raise Unwatched(said) from error
    return state(action)


def _taken(action: Manifest, change: Change) -> str:
    """Bring an action up to date by a change; return where a watch takes up after it."""
    if change.type == "DELETED":
        raise PluginError(f"{change.object['metadata']['name']} was deleted before anything came of it")
    if change.type != "BOOKMARK":
        action.update(change.object)
    return str(change.object["metadata"]["resourceVersion"])


def state(action: Manifest) -> str:
    """Return Pending, Applied or Ignored."""
    return str((action.get("status") or {}).get("state") or "Pending")


def phase_of(cluster: Cluster, namespace: str, name: str) -> str:
    """Return a ServedModel's phase; empty where it cannot be had."""
    try:
        found = cluster.get(SERVED_MODELS, namespace, name)
    except KubernetesError:
        return ""
    return str((found.get("status") or {}).get("phase") or "")


def served_model(cluster: Cluster, namespace: str, name: str, *, must_see: bool = True) -> Manifest:
    """Return a ServedModel, or say which there are. Without ``must_see`` it is enough to be allowed to act on it."""
    try:
        return cluster.get(SERVED_MODELS, namespace, name)
    except KindMissing as error:
        raise PluginError(problems.kinds_missing()) from error
    except NotThere as error:
        raise PluginError(_which_there_are(cluster, namespace, name)) from error
    except KubernetesForbidden:
        if must_see:
            raise
        return {}


def _which_there_are(cluster: Cluster, namespace: str, name: str) -> str:
    there: list[str] = []
    elsewhere: list[str] = []
    try:
        there = [found["metadata"]["name"] for found in cluster.list(SERVED_MODELS, namespace)[0]]
        by_name, _ = cluster.list(SERVED_MODELS, None, {"fieldSelector": f"metadata.name={name}"})
        elsewhere = [found["metadata"]["namespace"] for found in by_name]
    except KubernetesForbidden:
        pass  # then there is less to suggest
    return problems.no_such_model(name, namespace, there, elsewhere)


def revision_called(cluster: Cluster, namespace: str, model: str, called: str) -> str:
    """Return the name of the one revision that is called so: by its name, its version, or the last part of its name."""
    try:
        found, _ = cluster.list(MODEL_REVISIONS, namespace, {"labelSelector": f"{SERVED_MODEL_LABEL}={model}"})
    except KubernetesForbidden:
        return called  # the controller knows
    names = [one["metadata"]["name"] for one in found]
    if called in names:
        return called
    meant = [
        one["metadata"]["name"]
        for one in found
        if called == one["spec"].get("version") or one["metadata"]["name"].removeprefix(f"{model}-").startswith(called)
    ]
    if len(meant) == 1:
        return str(meant[0])
    if meant:
        raise PluginError(f"{called} may mean {', '.join(meant)}: take one of these names")
    known = ", ".join(names) or "none"
    raise PluginError(f"{model} has no revision {called} (it has: {known}); see `kubectl telltale history {model}`")

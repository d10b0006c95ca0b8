"""Whether a revision's pods take requests, from its Deployment and pods. PURE.

KServe's `Ready` stays True while a Deployment is being replaced, so it is the Deployment that counts. That the pods
have the wanted version and digest is their own readiness probe's affair: the predictor answers it only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from registry.kubernetes.resources import Manifest

# A container that failed so often will fail again; one image that cannot be pulled may be there in a minute.
_CRASHES_FOR_GOOD = 3
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
_LONGEST = 500


@dataclass(frozen=True)
class Readiness:
    """What is known of a revision's pods; see `registry.rollout.snapshot.Revision`."""

    ready: bool
    fault: str | None = None
    waits_for: str = ""
    lost: bool = True


def readiness(inference_service: Manifest | None, deployment: Manifest | None, pods: Iterable[Manifest]) -> Readiness:
    """Return what the pods of a revision are good for."""
    if inference_service is None:
        return Readiness(False, waits_for="its InferenceService is not there yet")
    if "deletionTimestamp" in inference_service["metadata"]:
        return Readiness(False, waits_for="its former InferenceService is on its way out")
    if deployment is None or not _belongs(deployment, inference_service):
        return Readiness(False, waits_for=f"its Deployment is not there yet{_said(inference_service)}"[:_LONGEST])
    if _has_available(deployment):
        return Readiness(True, lost=False)
    found = [trouble for pod in pods for trouble in _troubles(pod)]
    faults = [message for message, final in found if final]
    reasons = sorted({*_refusals(deployment), *(message for message, _ in found)})
    lost = not deployment.get("status", {}).get("availableReplicas")
    return Readiness(False, faults[0] if faults else None, "; ".join(reasons)[:_LONGEST], lost)


def _belongs(deployment: Manifest, inference_service: Manifest) -> bool:
    """Tell whether a Deployment is this InferenceService's, and not what is left of a former one of its name."""
    owners = deployment["metadata"].get("ownerReferences") or ()
    uid = inference_service["metadata"].get("uid")
    return "deletionTimestamp" not in deployment["metadata"] and (
        not owners or any(owner["uid"] == uid for owner in owners)
    )


def _said(inference_service: Manifest) -> str:
    """Return what KServe says of an InferenceService that it cannot make pods for."""
    conditions = inference_service.get("status", {}).get("conditions") or ()
    messages = {c["message"] for c in conditions if c.get("status") == "False" and c.get("message")}
    return "".join(f"; KServe: {message}" for message in sorted(messages))


def _has_available(deployment: Manifest) -> bool:
    """Tell whether at least one pod of the newest template takes requests."""
    status = deployment.get("status", {})
    if status.get("observedGeneration") != deployment["metadata"].get("generation"):
        return False
    updated = status.get("updatedReplicas", 0)
    of_former_templates = status.get("replicas", 0) - updated
    return bool(updated >= 1 and status.get("availableReplicas", 0) - of_former_templates >= 1)


def _refusals(deployment: Manifest) -> Iterator[str]:
    """Yield why the API server takes no pod: a quota, or an admission policy."""
    for condition in deployment.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield f"no pod can be made: {condition.get('message') or condition.get('reason')}"


def _troubles(pod: Manifest) -> Iterator[tuple[str, bool]]:
    """Yield what is wrong with a pod, and whether it will remain so."""
    status = pod.get("status", {})
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"a pod finds no node: {condition.get('message') or condition.get('reason')}", False
    for container in status.get("containerStatuses") or ():
        waiting = container.get("state", {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        restarts = container.get("restartCount", 0)
        if reason == "CrashLoopBackOff" or restarts >= _CRASHES_FOR_GOOD:
            yield (
                _crash(container, restarts),
                restarts >= _CRASHES_FOR_GOOD and "running" not in container.get("state", {}),
            )
        elif reason and reason not in ("ContainerCreating", "PodInitializing"):
            yield f"{reason}: {waiting.get('message', '')}".rstrip(": "), reason in _HOPELESS


def _crash(container: Manifest, restarts: int) -> str:
    last = (container.get("lastState") or {}).get("terminated") or {}
    said = " ".join(str(last.get("message") or last.get("reason") or "").split())
    message = f"the predictor has ended {restarts} times"
    return f"{message}: {said[-_LONGEST:]}" if said else message

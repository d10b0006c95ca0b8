"""What is recorded of a rollout elsewhere, as it follows from its status: ModelRevisions, actions, MLflow. PURE.

Nothing here comes from the decision that was just made, so a controller that crashed after it writes the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from registry.api.model_revision import ModelRevisionStatus
from registry.api.rollout_action import RolloutActionStatus
from registry.api.status import ServedModelStatus
from registry.kubernetes.resources import Manifest
from registry.rollout.manifests import weights
from registry.work_queue import Key

TAG_PREFIX = "telltale.serving"
MOST_ACTIONS = 50


def revision_status(
    name: str, known: ModelRevisionStatus, status: ServedModelStatus, now: datetime
) -> ModelRevisionStatus:
    """Return what is to be said of a revision; its times are of the first look that found it so."""
    weight = weights(status).get(name, 0)
    rejection = next((r for r in status.rejected_revisions if r.revision == name), None)
    if name == status.stable_revision:
        since = now if known.served_from is None or known.served_until is not None else known.served_from
        return ModelRevisionStatus(
            outcome="Stable", reason="Promoted", message=f"{name} serves", weight=weight, served_from=since
        )
    until = now if known.served_from is not None and known.served_until is None else known.served_until
    served = {"served_from": known.served_from, "served_until": until, "weight": weight}
    if rejection is not None:
        outcome = "RolledBack" if rejection.served else "Rejected"
        said = {"reason": rejection.reason, "message": rejection.message, "by": rejection.by}
        return ModelRevisionStatus.model_validate({"outcome": outcome} | said | served)
    if name == status.candidate_revision:
        said = {"reason": "Candidate", "message": f"{name} is being rolled out"}
        return ModelRevisionStatus.model_validate({"outcome": "Candidate"} | said | served)
    if known.outcome in ("Candidate", "Stable"):
        said = {"reason": "Superseded", "message": "another took its place"}
        return ModelRevisionStatus.model_validate({"outcome": "Superseded"} | said | served)
    return known.model_copy(update=served)


def action_statuses(
    actions: tuple[Manifest, ...], since: str, status: ServedModelStatus
) -> Iterator[tuple[Manifest, RolloutActionStatus]]:
    """Yield the actions whose outcome is not written yet, with it."""
    outcomes = {outcome.uid: outcome for outcome in status.action_outcomes}
    for action in actions:
        uid = action["metadata"]["uid"]
        if (action.get("status") or {}).get("state", "Pending") != "Pending":
            continue
        if uid in outcomes:
            yield action, RolloutActionStatus(state=outcomes[uid].state, message=outcomes[uid].message)
        elif uid in status.processed_actions:
            yield action, RolloutActionStatus(state="Applied", message="it took effect before newer ones")
        elif datetime.fromisoformat(action["metadata"]["creationTimestamp"]) < datetime.fromisoformat(since):
            message = "it was meant for a former ServedModel of this name"
            yield action, RolloutActionStatus(state="Ignored", message=message)


def surplus_actions(actions: tuple[Manifest, ...]) -> list[Manifest]:
    """Return the oldest actions that have taken effect, beyond as many as are kept for people to read."""
    done = [action for action in actions if (action.get("status") or {}).get("state", "Pending") != "Pending"]
    newest_first = sorted(done, key=_age, reverse=True)
    return newest_first[MOST_ACTIONS:]


def surplus_revisions(revisions: Mapping[str, Manifest], status: ServedModelStatus, limit: int) -> list[Manifest]:
    """Return the revisions beyond the history limit: those that serve or may serve soon do not count."""
    resolved = status.resolved.revision if status.resolved is not None else None
    kept = {status.stable_revision, status.candidate_revision, status.previous_revision, resolved}
    former = [revision for name, revision in revisions.items() if name not in kept]
    return sorted(former, key=last_use, reverse=True)[limit:]


def _age(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["creationTimestamp"], manifest["metadata"]["name"]


def last_use(revision: Manifest) -> tuple[str, str]:
    """Return what orders revisions by when they last mattered."""
    created, name = _age(revision)
    return max((revision.get("status") or {}).get("servedUntil") or "", created), name


def mlflow_tags(key: Key, revision: str, status: ModelRevisionStatus) -> dict[str, str]:
    """Return the tags of an MLflow version that say what became of it here; empty ones overwrite older news."""
    said = f"{status.reason}: {status.message}" if status.message else status.reason
    values = {
        "revision": revision,
        "outcome": status.outcome,
        "weight": str(status.weight),
        "why": said + (f" (by {status.by})" if status.by else ""),
        "served_from": _time(status.served_from),
        "served_until": _time(status.served_until),
    }
    return {_tag(key, name): value for name, value in values.items()}


def mlflow_alias(key: Key) -> str:
    """Return the alias that names what a ServedModel serves; it is the controller's own."""
    return f"serving-{key.namespace}-{key.name}"


def is_note_of(key: Key, name: str) -> bool:
    """Tell whether a tag or an alias says something about a ServedModel."""
    return name == mlflow_alias(key) or name.startswith(_tag(key, ""))


def _tag(key: Key, name: str) -> str:
    return f"{TAG_PREFIX}.{key.namespace}.{key.name}.{name}"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"

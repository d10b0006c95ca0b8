"""Carries out what a status means: what serves first, then what is recorded.

Everything here follows from the status that is written and from what is there, and writes only where they differ; so it
can be cut off anywhere, and the next look does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from registry.api.base import API_VERSION, ApiModel
from registry.api.model_revision import ModelRevisionSpec, ModelRevisionStatus
from registry.api.served_model import ServedModelSpec
from registry.api.status import ServedModelStatus
from registry.errors import AlreadyThere, Conflict, NotThere
from registry.gather import Gathered
from registry.kubernetes.api import FIELD_MANAGER
from registry.kubernetes.comparison import has_foreign_fields, is_as_wanted
from registry.kubernetes.resources import (
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    Manifest,
    Resource,
    resource_of,
)
from registry.kubernetes.writes import Writes, deleting, writing
from registry.names import place
from registry.records import (
    action_statuses,
    is_note_of,
    last_use,
    mlflow_alias,
    mlflow_tags,
    revision_status,
    surplus_actions,
    surplus_revisions,
)
from registry.rollout.manifests import Owner, manifests
from registry.rollout.snapshot import Target
from registry.traffic import named_revisions, revision_of
from registry.work_queue import Key
from registry.write_back import WriteBack

_ROUTES = ("HTTPRoute", "GRPCRoute")
_Version = tuple[str, str]


@dataclass(frozen=True)
class Served:
    """What came of `Effects.serve`: whether a route was written, and whether something is left for a later look."""

    routes_changed: bool
    postponed: bool


class Effects:
    """Writes what follows from a status.

    Args:
        write: to the API server.
        write_back: to MLflow.
        clock: the time of day.

    """

    def __init__(self, write: Writes, write_back: WriteBack, clock: Callable[[], datetime]) -> None:
        self._write, self._write_back, self._clock = write, write_back, clock
        # What the API server changed in what it was given (by defaults, by a webhook) is not given to it again: the
        # generation that an object had after it was written so, by its uid.
        self._given: dict[Key, dict[str, tuple[Manifest, int]]] = {}

    def create_revision(self, owner: Owner, target: Target) -> None:
        """Create a ModelRevision; it may be there, since its name is the digest of what it is."""
        manifest = {
            "apiVersion": API_VERSION,
            "kind": MODEL_REVISIONS.kind,
            "metadata": owner.metadata(target.revision),
            "spec": target.spec.dump(),
        }
        try:
            self._write(writing("create", MODEL_REVISIONS, manifest))
        except AlreadyThere:
            return

    def write_status(self, resource: Resource, manifest: Manifest, status: ApiModel) -> Manifest:
        """Write an object's status.

        Raises:
            Conflict: somebody wrote the object since it was read.
            NotThere: somebody deleted it.

        """
        return self._write(writing("replaceStatus", resource, manifest | {"status": status.dump()}))

    def serve(
        self,
        gathered: Gathered,
        spec: ServedModelSpec,
        status: ServedModelStatus,
        revisions: Mapping[str, ModelRevisionSpec],
    ) -> Served:
        """Make what serves as the status wants it, and take away what it does not; what is not ours is left alone."""
        there = {place(live): live for live in gathered.live}
        given = self._known(gathered)
        routes_changed = postponed = False
        for wanted in manifests(gathered.owner, spec, status, revisions):
            live = there.pop(place(wanted), None)
            if place(wanted) in gathered.taken:
                continue
            try:
                routes_changed |= self._give(wanted, live, given) and wanted["kind"] in _ROUTES
            except (AlreadyThere, NotThere):
                postponed = True  # the next look finds out whose it is, or makes what somebody deleted just now
        may_go = gathered.snapshot.traffic.in_sync and not routes_changed
        for live in there.values():
            if live["kind"] != INFERENCE_SERVICES.kind:
                postponed |= not self._delete(live)
                routes_changed |= live["kind"] in _ROUTES
            elif not _is_needed(live, status):
                is_named = revision_of(live) in named_revisions(gathered.live)
                postponed |= not (may_go and not is_named and self._delete(live))
        return Served(routes_changed, postponed)

    def record(self, gathered: Gathered, spec: ServedModelSpec, status: ServedModelStatus) -> bool:
        """Write what became of revisions and actions, here and in MLflow, and let the oldest go.

        Tell whether all is done; one of the oldest may have to stay until MLflow has taken what became of it.
        """
        since = gathered.served_model["metadata"]["creationTimestamp"]
        done = [
            self._update(ROLLOUT_ACTIONS, action, result)
            for action, result in action_statuses(gathered.actions, since, status)
        ]
        revisions, recorded = self._record_outcomes(gathered, status)
        noted = self._note(Key(gathered.owner.namespace, gathered.owner.name), revisions, status)
        surplus = surplus_revisions(revisions, status, spec.revision_history_limit)
        may_go = [old for old in surplus if self._write_back.has_taken(*_version(old), noted[_version(old)])]
        done += [self._let_go(old, noted[_version(old)]) for old in may_go]
        done += [self._delete(old) for old in surplus_actions(gathered.actions)]
        return recorded and all(done) and len(may_go) == len(surplus)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a ServedModel that is gone."""
        self._given.pop(key, None)
        self._write_back.let_go_of_all(partial(is_note_of, key))

    def forget_all(self) -> None:
        """Remember nothing."""
        self._given.clear()

    def _known(self, gathered: Gathered) -> dict[str, tuple[Manifest, int]]:
        """Return what is remembered of a ServedModel's objects that are there, and let go of the rest."""
        key = Key(gathered.owner.namespace, gathered.owner.name)
        uids = {live["metadata"]["uid"] for live in gathered.live}
        self._given[key] = {uid: given for uid, given in self._given.get(key, {}).items() if uid in uids}
        return self._given[key]

    def _record_outcomes(self, gathered: Gathered, status: ServedModelStatus) -> tuple[dict[str, Manifest], bool]:
        """Write what became of revisions; return them with that, and whether all of it could be written."""
        revisions, done = {}, True
        for name, revision in gathered.revisions.items():
            known = ModelRevisionStatus.model_validate(revision.get("status") or {})
            wanted = revision_status(name, known, status, self._clock())
            if wanted != known or "status" not in revision:
                done &= self._update(MODEL_REVISIONS, revision, wanted)
            revisions[name] = revision | {"status": wanted.dump()}
        return revisions, done

    def _note(
        self, key: Key, revisions: Mapping[str, Manifest], status: ServedModelStatus
    ) -> dict[_Version, dict[str, str]]:
        """Ask for what MLflow is to be told, and return the tags by version.

        They are asked for at every look, although they seldom change: a controller that ended before MLflow took them
        is not the one that looks now. Of two revisions of one version the one that serves has the last word.
        """
        tags: dict[_Version, dict[str, str]] = {}
        for name, revision in sorted(revisions.items(), key=lambda item: (_rank(item[0], status), last_use(item[1]))):
            outcome = ModelRevisionStatus.model_validate(revision["status"])
            tags[_version(revision)] = mlflow_tags(key, name, outcome)
            if name == status.stable_revision:
                model, number = _version(revision)
                self._write_back.want_alias(model, mlflow_alias(key), number)
        for (model, number), values in tags.items():
            self._write_back.want_tags(model, number, values)
        return tags

    def _give(self, wanted: Manifest, live: Manifest | None, known: dict[str, tuple[Manifest, int]]) -> bool:
        """Write an object where it is not as wanted, and note that in ``known``; tell whether it was written."""
        resource = resource_of(wanted)
        if live is None:
            # Not by server-side apply: that would make another's object of this name ours. (What a POST writes and no
            # apply ever names stays; the lists below a route's spec are whole values, so that nothing is left of them.)
            _remember(wanted, self._write(writing("create", resource, wanted)), known)
            return True
        given = known.get(live["metadata"]["uid"])
        if given is not None and given == (wanted, live["metadata"].get("generation", 0)) and _is_marked(wanted, live):
            return False
        if is_as_wanted(wanted, live, FIELD_MANAGER):
            return False
        if has_foreign_fields(live, FIELD_MANAGER):
            # Server-side apply leaves to others what they added; only a replacement takes it away.
            written = self._write(writing("replace", resource, _replaced(live, wanted)))
        else:
            written = self._write(writing("apply", resource, wanted))
        _remember(wanted, written, known)
        return True

    def _update(self, resource: Resource, manifest: Manifest, status: ApiModel) -> bool:
        """Write a status; tell whether that is done. Where somebody was faster the next look sees what they wrote."""
        try:
            self.write_status(resource, manifest, status)
        except Conflict:
            return False
        except NotThere:
            pass  # it is gone
        return True

    def _let_go(self, revision: Manifest, noted: Mapping[str, str]) -> bool:
        """Delete a revision of which MLflow has taken the last; tell whether that is done."""
        done = self._delete(revision)
        if done:
            self._write_back.let_go(*_version(revision), noted)
        return done

    def _delete(self, live: Manifest) -> bool:
        """Delete an object; tell whether that is done. Another that has its name by now is for the next look."""
        if "deletionTimestamp" in live["metadata"]:
            return True  # it is on its way out
        resource = resource_of(live)
        try:
            self._write(deleting(resource, live))
        except Conflict:
            return False
        except NotThere:
            pass  # it is gone
        return True


def _remember(wanted: Manifest, written: Manifest, known: dict[str, tuple[Manifest, int]]) -> None:
    generation = written["metadata"].get("generation")
    if generation is not None:
        known[written["metadata"]["uid"]] = (wanted, generation)


def _is_needed(inference_service: Manifest, status: ServedModelStatus) -> bool:
    """Tell whether a status names a revision; even where its ModelRevision is gone its pods then stay."""
    named = (status.stable_revision, status.candidate_revision, status.previous_revision)
    return revision_of(inference_service) in named


def _is_marked(wanted: Manifest, live: Manifest) -> bool:
    """Tell whether an object has the labels and annotations that it should: they are no part of its generation."""
    parts = ("labels", "annotations")
    return all(wanted["metadata"].get(part, {}).items() <= live["metadata"].get(part, {}).items() for part in parts)


def _version(revision: Manifest) -> _Version:
    """Return the model and MLflow's number of what a ModelRevision serves."""
    return revision["spec"]["model"], revision["spec"]["mlflowVersion"]


def _rank(revision: str, status: ServedModelStatus) -> int:
    """Return how much a revision matters: what serves most, what is gone least."""
    order = (status.previous_revision, status.candidate_revision, status.stable_revision)
    return order.index(revision) + 1 if revision in order else 0


def _replaced(live: Manifest, wanted: Manifest) -> Manifest:
    """Return ``live`` with the wanted spec, and with the metadata that others (finalizers, say) rely on."""
    metadata: dict[str, Any] = dict(live["metadata"])
    for part in ("labels", "annotations"):
        metadata[part] = (metadata.get(part) or {}) | wanted["metadata"].get(part, {})
    metadata["ownerReferences"] = wanted["metadata"]["ownerReferences"]
    return {name: value for name, value in live.items() if name != "status"} | {
        "metadata": metadata,
        "spec": wanted["spec"],
    }

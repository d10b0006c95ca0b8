"""Reads all that a decision about one ServedModel looks at, anew each time; what it returns is of one moment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime

from registry.api.model_revision import ModelRevisionSpec, ModelRevisionStatus
from registry.api.rollout_action import RolloutActionSpec
from registry.api.served_model import ServedModelSpec
from registry.api.status import ServedModelStatus
from registry.errors import KubernetesForbidden
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    GATEWAY_CLASSES,
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    PODS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVICES,
    SERVING,
    Manifest,
    Resource,
    resource_of,
)
from registry.measuring import Measuring, is_urgent
from registry.names import Place, Taken, belongs_to, holding, place, said, taken_by
from registry.readiness import readiness
from registry.resolving import Resolver
from registry.rollout.manifests import REVISION_LABEL, SERVED_MODEL_LABEL, Owner, manifests
from registry.rollout.snapshot import Action, Revision, Snapshot, Traffic
from registry.traffic import Following, can_mirror, following, revision_of
from registry.work_queue import Key

_log = logging.getLogger(__name__)

_LISTED = (ROLLOUT_ACTIONS, MODEL_REVISIONS, DEPLOYMENTS, INFERENCE_SERVICES)
# Of these there is one at most, of the ServedModel's name. An API server answers a get from etcd; before it lists kinds
# that nobody changes it waits for up to 100 ms until it knows that what it has is new enough.
_NAMED = (SERVICES, HTTP_ROUTES, GRPC_ROUTES)


@dataclass(frozen=True)
class Read:
    """What the API server has of a ServedModel.

    Args:
        served_model: itself.
        actions: on it.
        lists: what carries its name (as its own, as a label, or in its spec), by kind.

    """

    served_model: Manifest
    actions: tuple[Manifest, ...]
    lists: Mapping[Resource, Sequence[Manifest]]

    def owned(self, resource: Resource, owner: Owner) -> Iterator[Manifest]:
        """Yield what is its own, and not another's with the same label."""
        for manifest in self.lists[resource]:
            if belongs_to(manifest, owner):
                yield _typed(resource, manifest)


@dataclass(frozen=True)
class Gathered:
    """A snapshot, and the objects that it was read from.

    Args:
        served_model: the ServedModel as it was read.
        owner: the same, as the owner of what serves.
        snapshot: the decision's input.
        revisions: the ModelRevisions as they were read, by name.
        actions: the RolloutActions of it, as they were read.
        live: what serves, as it was read.
        taken: what would have to be there, and whose name another has.
        settling: whether the gateway only needs a moment more.

    """

    served_model: Manifest
    owner: Owner
    snapshot: Snapshot
    revisions: Mapping[str, Manifest]
    actions: tuple[Manifest, ...]
    live: tuple[Manifest, ...]
    taken: Mapping[Place, Taken]
    settling: bool


class Gatherer:
    """Reads snapshots.

    Args:
        api: the API server.
        executor: reads several kinds at once.
        resolver: what selectors mean.
        measuring: what gates look at.
        needs_acceptance: whether a gateway must say that it took a route.

    """

    def __init__(
        self,
        api: KubernetesApi,
        executor: Executor,
        resolver: Resolver,
        measuring: Measuring,
        *,
        needs_acceptance: bool,
    ) -> None:
        self._api, self._executor, self._resolver, self._measuring = api, executor, resolver, measuring
        self._needs_acceptance = needs_acceptance

    def read(self, key: Key) -> Read | None:
        """Read everything; None if the ServedModel is gone or on its way out: then nothing is to be done."""
        labels, fields = f"{SERVED_MODEL_LABEL}={key.name}", f"spec.servedModel={key.name}"

        def list_them(resource: Resource) -> list[Manifest]:
            if resource in _NAMED:
                named = self._api.get(resource, key.namespace, key.name)
                return [] if named is None else [named]
            if resource in (ROLLOUT_ACTIONS, MODEL_REVISIONS):
                return list(self._api.list(resource, key.namespace, fields=fields))
            return list(self._api.list(resource, key.namespace, labels))

        kinds = (*_LISTED, *_NAMED)
        futures = {one: self._executor.submit(list_them, one) for one in kinds}
        found = self._api.get(SERVED_MODELS, key.namespace, key.name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        lists = {one: futures[one].result() for one in kinds}
        return Read(found, tuple(lists[ROLLOUT_ACTIONS]), lists)

    def gather(
        self, key: Key, read: Read, spec: ServedModelSpec, clock: Callable[[], datetime], *, settled: bool
    ) -> Gathered:
        """Make a snapshot of what was read, and of what MLflow and Prometheus say.

        Args:
            key: the ServedModel.
            read: what was read of it.
            spec: its spec.
            clock: the time of day.
            settled: whether the gateway's proxies had time since the last change.

        """
        metadata, actions = read.served_model["metadata"], read.actions
        owner = Owner(key.name, key.namespace, metadata["uid"])
        status = ServedModelStatus.model_validate(read.served_model.get("status") or {})
        revisions = {revision["metadata"]["name"]: revision for revision in read.owned(MODEL_REVISIONS, owner)}
        specs = {name: ModelRevisionSpec.model_validate(found["spec"]) for name, found in revisions.items()}
        new = tuple(_new_actions(actions, metadata["creationTimestamp"], status))
        wanted = manifests(owner, spec, status, specs)
        live, taken = self._there(owner, read, [*wanted, *_to_come(owner, spec, status, revisions)])
        follows = following(wanted, live, settled=settled, needs_acceptance=self._needs_acceptance)
        snapshot = Snapshot(
            now=clock(),
            name=key.name,
            generation=metadata["generation"],
            spec=spec,
            status=status,
            resolution=self._resolver.resolve(key, spec.model, spec.predictor, hurry=is_urgent(new)),
            revisions=self._revisions(owner, specs, revisions, live, read.lists[DEPLOYMENTS], taken),
            actions=new,
            traffic=_traffic(follows, taken, status, can_mirror=self._can_mirror(spec, key.namespace)),
        )
        # What was waited for may have taken a while, and an instant is part of the question to Prometheus.
        snapshot = replace(snapshot, measurements=self._measuring.measure(snapshot, key.namespace))
        return Gathered(
            read.served_model,
            owner,
            replace(snapshot, now=clock()),
            revisions,
            actions,
            live,
            taken,
            settling=follows.soon,
        )

    def _there(
        self, owner: Owner, read: Read, wanted: Iterable[Manifest]
    ) -> tuple[tuple[Manifest, ...], dict[Place, Taken]]:
        """Return what serves, and which of the names that are wanted another has.

        What is wanted and was not read is asked for by its name: somebody may have taken its label away.
        """
        live = tuple(manifest for resource in SERVING for manifest in read.owned(resource, owner))
        listed = {place(manifest) for manifest in live}
        missing = {place(manifest): resource_of(manifest) for manifest in wanted if place(manifest) not in listed}
        asked = [
            self._executor.submit(self._named, resource, owner.namespace, name)
            for (_, name), resource in missing.items()
            if resource not in _NAMED
        ]
        unlisted = [manifest for future in asked for manifest in future.result()]
        named = (_typed(resource, manifest) for resource in _NAMED for manifest in read.lists[resource])
        unlisted += [manifest for manifest in named if place(manifest) in missing]
        own = tuple(manifest for manifest in unlisted if belongs_to(manifest, owner))
        taken = {place(manifest): taken_by(manifest, owner) for manifest in unlisted if manifest not in own}
        return live + tuple(manifest for manifest in own if resource_of(manifest) in SERVING), taken

    def _named(self, resource: Resource, namespace: str, name: str) -> list[Manifest]:
        # A list of one: the controller's role does not need the verb get then.
        found = self._api.list(resource, namespace, fields=f"metadata.name={name}")
        return [_typed(resource, one) for one in found]

    def _revisions(
        self,
        owner: Owner,
        specs: Mapping[str, ModelRevisionSpec],
        found: Mapping[str, Manifest],
        live: Iterable[Manifest],
        deployed: Iterable[Manifest],
        taken: Mapping[Place, Taken],
    ) -> dict[str, Revision]:
        services = {one["metadata"]["name"]: one for one in live if one["kind"] == INFERENCE_SERVICES.kind}
        deployments = {revision_of(deployment): deployment for deployment in deployed}
        known = {
            name: self._revision(owner, found[name], spec, services.get(name), deployments.get(name))
            for name, spec in specs.items()
        }
        for (kind, name), other in taken.items():
            if kind == INFERENCE_SERVICES.kind and name in known:
                known[name] = replace(known[name], waits_for=other.message)
        return known

    def _revision(
        self,
        owner: Owner,
        found: Manifest,
        spec: ModelRevisionSpec,
        inference_service: Manifest | None,
        deployment: Manifest | None,
    ) -> Revision:
        name = found["metadata"]["name"]
        status = ModelRevisionStatus.model_validate(found.get("status") or {})
        known = readiness(inference_service, deployment, ())
        if deployment is not None and not known.ready:
            pods = self._api.list(PODS, owner.namespace, f"{REVISION_LABEL}={name}")
            known = readiness(inference_service, deployment, pods)
        return Revision(
            name,
            spec,
            outcome=status.outcome,
            served_until=status.served_until,
            ready=known.ready,
            lost=known.lost,
            fault=known.fault,
            waits_for=known.waits_for,
        )

    def _can_mirror(self, spec: ServedModelSpec, namespace: str) -> bool | None:
        """Tell whether the gateway can do the spec's shadow steps; it is asked only where there are any.

        Where our role does not let us ask that is not known: everything else, an abort above all, needs no answer.
        """
        shadows = [step.shadow for step in spec.rollout.steps if step.shadow is not None]
        if not shadows:
            return None
        reference = spec.route.gateway_ref
        try:
            gateway = self._api.get(GATEWAYS, reference.namespace or namespace, reference.name)
            if gateway is None:
                return None
            gateway_class = self._api.get(GATEWAY_CLASSES, None, gateway["spec"]["gatewayClassName"])
        except KubernetesForbidden as error:
            _log.debug("whether the gateway can mirror is not known: %s", error)
            return None
        return can_mirror(gateway_class, percentages=any(shadow.percent < 100 for shadow in shadows))


def _typed(resource: Resource, manifest: Manifest) -> Manifest:
    """Return an object of a list with its kind, which the API server leaves out there."""
    return manifest | {"apiVersion": resource.api_version, "kind": resource.kind}


def _to_come(
    owner: Owner, spec: ServedModelSpec, status: ServedModelStatus, revisions: Collection[str]
) -> Iterator[Manifest]:
    """Yield what a candidate will need, so that a name that is taken is seen before any request goes to it."""
    candidate = status.candidate_revision
    if candidate is None or _goes_back(status):
        return
    if candidate not in revisions:
        yield {"kind": MODEL_REVISIONS.kind, "metadata": {"name": candidate}}
    if status.stable_revision is None:
        for resource in (HTTP_ROUTES, SERVICES, *([GRPC_ROUTES] if spec.route.grpc_hostnames else [])):
            yield {"kind": resource.kind, "metadata": {"name": owner.name}}


def _goes_back(status: ServedModelStatus) -> bool:
    return status.phase == "RollingBack" or (status.attempt is not None and status.attempt.undo)


def _traffic(
    follows: Following, taken: Mapping[Place, Taken], status: ServedModelStatus, *, can_mirror: bool | None
) -> Traffic:
    held = {one.place: one for one in holding(taken.values(), goes_back=_goes_back(status))}
    if not held:
        return Traffic(follows.in_sync, can_mirror, follows.message)
    return Traffic(False, can_mirror, said(held), name_taken=any(not one.passing for one in held.values()))


def _new_actions(found: Iterable[Manifest], since: str, status: ServedModelStatus) -> Iterator[Action]:
    """Yield what has not taken effect; actions on a former ServedModel of this name are not for this one."""
    for manifest in found:
        metadata, spec = manifest["metadata"], RolloutActionSpec.model_validate(manifest["spec"])
        created_at = datetime.fromisoformat(metadata["creationTimestamp"])
        is_settled = (manifest.get("status") or {}).get("state", "Pending") != "Pending"
        is_older = created_at < datetime.fromisoformat(since)
        if is_settled or is_older or metadata["uid"] in status.processed_actions:
            continue
        yield Action(metadata["uid"], spec.action, spec.requested_by, spec.reason, created_at, spec.to_revision)

"""Reads all that a decision about one ServedModel looks at, anew each time; what it returns is of one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import datetime

from registry.api.model_revision import ModelRevisionSpec, ModelRevisionStatus
from registry.api.rollout_action import RolloutActionSpec
from registry.api.served_model import ServedModelSpec
from registry.api.status import ServedModelStatus
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    GATEWAY_CLASSES,
    GATEWAYS,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    PODS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVING,
    Manifest,
    Resource,
)
from registry.measuring import Measuring, is_urgent
from registry.readiness import readiness
from registry.resolving import Resolver
from registry.rollout.manifests import REVISION_LABEL, SERVED_MODEL_LABEL, Owner, manifests
from registry.rollout.snapshot import Action, Revision, Snapshot, Traffic
from registry.traffic import can_mirror, following, revision_of
from registry.work_queue import Key


@dataclass(frozen=True)
class Read:
    """What the API server has of a ServedModel.

    Args:
        served_model: itself.
        actions: on it.
        lists: what carries its name as a label, by kind.

    """

    served_model: Manifest
    actions: tuple[Manifest, ...]
    lists: Mapping[Resource, Sequence[Manifest]]

    def owned(self, resource: Resource, owner: Owner) -> Iterator[Manifest]:
        """Yield what is its own, and not another's with the same label."""
        for manifest in self.lists[resource]:
            if any(reference["uid"] == owner.uid for reference in manifest["metadata"].get("ownerReferences") or ()):
                # The API server leaves these out of lists.
                yield manifest | {"apiVersion": resource.api_version, "kind": resource.kind}


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
        settling: whether the gateway only needs a moment more.

    """

    served_model: Manifest
    owner: Owner
    snapshot: Snapshot
    revisions: Mapping[str, Manifest]
    actions: tuple[Manifest, ...]
    live: tuple[Manifest, ...]
    settling: bool


class Gatherer:
    """Reads snapshots.

    Args:
        api: the API server.
        executor: reads several lists at once; an abort waits for them all.
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
        """Read everything at once; None if the ServedModel is gone or on its way out: then nothing is to be done."""
        selector = f"{SERVED_MODEL_LABEL}={key.name}"

        def listing(resource: Resource, labels: str | None) -> Future[list[Manifest]]:
            return self._executor.submit(lambda: list(self._api.list(resource, key.namespace, labels)))

        actions = listing(ROLLOUT_ACTIONS, None)
        labelled = {resource: listing(resource, selector) for resource in (MODEL_REVISIONS, DEPLOYMENTS, *SERVING)}
        found = self._api.get(SERVED_MODELS, key.namespace, key.name)
        lists = {resource: future.result() for resource, future in labelled.items()}
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        of_this = tuple(action for action in actions.result() if action["spec"]["servedModel"] == key.name)
        return Read(found, of_this, lists)

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
        live = tuple(manifest for resource in SERVING for manifest in read.owned(resource, owner))
        specs = {name: ModelRevisionSpec.model_validate(found["spec"]) for name, found in revisions.items()}
        new = tuple(_new_actions(actions, metadata["creationTimestamp"], status))
        wanted = manifests(owner, spec, status, specs)
        follows = following(wanted, live, settled=settled, needs_acceptance=self._needs_acceptance)
        snapshot = Snapshot(
            now=clock(),
            name=key.name,
            generation=metadata["generation"],
            spec=spec,
            status=status,
            resolution=self._resolver.resolve(key, spec.model, spec.predictor, hurry=is_urgent(new)),
            revisions=self._revisions(owner, specs, revisions, live, read.lists[DEPLOYMENTS]),
            actions=new,
            traffic=Traffic(follows.in_sync, self._can_mirror(spec, key.namespace), follows.message),
        )
        # What was waited for may have taken a while, and an instant is part of the question to Prometheus.
        snapshot = replace(snapshot, measurements=self._measuring.measure(snapshot, key.namespace))
        return Gathered(
            read.served_model, owner, replace(snapshot, now=clock()), revisions, actions, live, settling=follows.soon
        )

    def _revisions(
        self,
        owner: Owner,
        specs: Mapping[str, ModelRevisionSpec],
        found: Mapping[str, Manifest],
        live: Iterable[Manifest],
        deployed: Iterable[Manifest],
    ) -> dict[str, Revision]:
        services = {one["metadata"]["name"]: one for one in live if one["kind"] == INFERENCE_SERVICES.kind}
        deployments = {revision_of(deployment): deployment for deployment in deployed}
        return {
            name: self._revision(owner, found[name], spec, services.get(name), deployments.get(name))
            for name, spec in specs.items()
        }

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
            fault=known.fault,
            waits_for=known.waits_for,
        )

    def _can_mirror(self, spec: ServedModelSpec, namespace: str) -> bool | None:
        """Tell whether the gateway can do the spec's shadow steps; it is asked only where there are any."""
        shadows = [step.shadow for step in spec.rollout.steps if step.shadow is not None]
        if not shadows:
            return None
        reference = spec.route.gateway_ref
        gateway = self._api.get(GATEWAYS, reference.namespace or namespace, reference.name)
        if gateway is None:
            return None
        gateway_class = self._api.get(GATEWAY_CLASSES, None, gateway["spec"]["gatewayClassName"])
        return can_mirror(gateway_class, percentages=any(shadow.percent < 100 for shadow in shadows))


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

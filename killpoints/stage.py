"""A ServedModel on a real cluster, and the people around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from killpoints.clock import HandClock
from killpoints.errors import StageError
from killpoints.final_state import FinalState, final_state
from killpoints.models import Models
from killpoints.query_server import QueryServer
from killpoints.scenario import Manifest, Scenario
from killpoints.scenarios import HUGE, version_id
from registry.api.rollout_action import Kind
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVING,
)
from registry.rollout.manifests import SERVED_MODEL_LABEL
from tests.registry.cluster.cluster import Cluster

_SECONDS = 90.0


class ClusterStage:
    """One scenario's ServedModel.

    Args:
        cluster: a namespace.
        name: of the ServedModel.
        scenario: what is played.
        queries: the stand-in for Prometheus.
        clock: moved by hand; None for the real one.

    """

    def __init__(
        self, cluster: Cluster, name: str, scenario: Scenario, queries: QueryServer, clock: HandClock | None
    ) -> None:
        self.cluster, self.name, self.clock = cluster, name, clock
        self.models = Models()
        self._scenario, self._queries = scenario, queries
        self._acted = 0

    def create(self) -> None:
        """Create the ServedModel."""
        self.cluster.create(SERVED_MODELS, self.name, self._scenario.spec)

    def delete(self) -> None:
        """Delete the ServedModel, if it is there."""
        if self.cluster.get(SERVED_MODELS, self.name) is not None:
            self.cluster.delete(SERVED_MODELS, self.name)

    def patch(self, spec: Manifest) -> None:
        """Change its spec."""
        self.cluster.patch(SERVED_MODELS, self.name, {"spec": spec})

    def move_alias(self, number: int | None) -> None:
        """Let MLflow's alias name a version, or none."""
        self.models.alias = number

    def act(self, kind: Kind, to: int | None = None) -> None:
        """Create a RolloutAction, under a name that is the same in every run."""
        self._acted += 1
        spec = {"servedModel": self.name, "action": kind, "requestedBy": "alice"}
        if to is not None:
            spec["toRevision"] = self._revision(to)
        self.cluster.create(ROLLOUT_ACTIONS, f"{self.name}-{self._acted}", spec)

    def measure(self, value: float | None) -> None:
        """Let Prometheus answer this to every query about this ServedModel."""
        self._queries.answers[self.name] = value

    def set_sources(self, *, away: bool) -> None:
        """Let MLflow and Prometheus go away, or come back."""
        self.models.is_away = away
        (self._queries.away.add if away else self._queries.away.discard)(self.name)

    def freeze(self, seconds: int) -> None:
        """Put a freeze window into the spec that begins this very minute."""
        now = self.clock() if self.clock is not None else datetime.now(UTC)
        begin = now - timedelta(minutes=1)
        self.patch({"freezeWindows": [{"schedule": f"{begin:%M %H} * * *", "durationSeconds": seconds}]})

    def elapse(self, seconds: float) -> None:
        """Let time go by."""
        if self.clock is None:
            raise StageError("this scenario needs a clock that is moved by hand")
        self.clock.advance(seconds)

    def settle(self) -> None:
        """Wait until KServe and the pods have done what they were told: every pod that can be ready is."""
        self._wait(self._pods_are_there, "the pods")

    def state(self) -> FinalState:
        """Return what there is of the ServedModel now."""
        found = final_state(self.cluster.api, self.cluster.namespace, self.name, self.models)
        if self._scenario.while_down is not None:
            del found["mlflow"]  # what MLflow was told last depends on when the ServedModel went
        return found

    def is_deleted(self) -> bool:
        """Tell whether there is no ServedModel any more."""
        return self.cluster.get(SERVED_MODELS, self.name) is None

    def gone(self) -> bool:
        """Tell whether nothing is left of a ServedModel that was deleted."""
        selector = f"{SERVED_MODEL_LABEL}={self.name}"
        kinds = (*SERVING, MODEL_REVISIONS, DEPLOYMENTS)
        return not any(list(self.cluster.api.list(kind, self.cluster.namespace, selector)) for kind in kinds)

    def wait_until_gone(self) -> None:
        """Wait for the garbage collector of the cluster."""
        self._wait(self.gone, "the end of what a deleted ServedModel had")

    def clear(self) -> None:
        """Take everything away, without waiting for it."""
        self.delete()
        for action in self.cluster.list(ROLLOUT_ACTIONS):
            if action["spec"]["servedModel"] == self.name:
                self.cluster.delete(ROLLOUT_ACTIONS, action["metadata"]["name"])

    def _pods_are_there(self) -> bool:
        selector, namespace = f"{SERVED_MODEL_LABEL}={self.name}", self.cluster.namespace
        services = list(self.cluster.api.list(INFERENCE_SERVICES, namespace, selector))
        deployments = {
            one["metadata"]["name"].removesuffix("-predictor"): one
            for one in self.cluster.api.list(DEPLOYMENTS, namespace, selector)
        }
        if any("deletionTimestamp" in one["metadata"] for one in (*services, *deployments.values())):
            return False
        names = {one["metadata"]["name"] for one in services}
        if names != deployments.keys():
            return False
        able = {one["metadata"]["name"] for one in services if not _asks_for_too_much(one)}
        return all(_is_available(deployments[name]) for name in able)

    def _revision(self, number: int) -> str:
        found = self.cluster.list(MODEL_REVISIONS)
        mine = (one for one in found if one["spec"]["servedModel"] == self.name)
        return next(str(one["metadata"]["name"]) for one in mine if one["spec"]["version"] == version_id(number))

    def _wait(self, look: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while not look():
            if time.monotonic() > deadline:
                raise StageError(f"{what} did not come within {_SECONDS:.0f} s")
            time.sleep(0.05)


def _asks_for_too_much(inference_service: Manifest) -> bool:
    container = inference_service["spec"]["predictor"]["containers"][0]
    return bool(container["resources"].get("requests", {}).get("cpu") == HUGE["requests"]["cpu"]) or (
        str(container["resources"].get("requests", {}).get("cpu")) == "1k"
    )


def _is_available(deployment: Manifest) -> bool:
    status = deployment.get("status", {})
    is_seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(is_seen and status.get("availableReplicas", 0) >= 1)

"""A scenario's ServedModel in a simulation."""

from __future__ import annotations

from datetime import timedelta

from faults.simulation import KEY, Simulation
from killpoints.scenario import Manifest
from killpoints.scenarios import version_id
from registry.api.rollout_action import Kind
from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Resource
from registry.kubernetes.writes import Write

_PERSON = "kubectl-edit"


class SimulatedStage:
    """People and MLflow in a simulation.

    Args:
        simulation: where it happens.
        spec: of the ServedModel.

    """

    def __init__(self, simulation: Simulation, spec: Manifest) -> None:
        self._simulation, self._spec = simulation, spec
        self._acted = 0

    def create(self) -> None:
        """Create the ServedModel."""
        self._create(SERVED_MODELS, KEY.name, self._spec)

    def delete(self) -> None:
        """Delete the ServedModel."""
        self._simulation.api.delete((SERVED_MODELS, KEY.namespace, KEY.name))

    def patch(self, spec: Manifest) -> None:
        """Change its spec."""
        self._simulation.api.patch(SERVED_MODELS, KEY.namespace, KEY.name, spec, _PERSON)

    def move_alias(self, number: int | None) -> None:
        """Let MLflow's alias name a version, or none."""
        self._simulation.models.alias = number

    def act(self, kind: Kind, to: int | None = None) -> None:
        """Create a RolloutAction."""
        self._acted += 1
        spec = {"servedModel": KEY.name, "action": kind, "requestedBy": "alice"}
        if to is not None:
            revision = self._revision(to)
            if revision is None:
                return
            spec["toRevision"] = revision
        self._create(ROLLOUT_ACTIONS, f"{KEY.name}-{self._acted}", spec)

    def measure(self, value: float | None) -> None:
        """Let Prometheus answer this."""
        self._simulation.measured = value

    def set_sources(self, *, away: bool) -> None:
        """Let MLflow and Prometheus go away, or come back."""
        self._simulation.models.is_away = self._simulation.prometheus_is_away = away

    def freeze(self, seconds: int) -> None:
        """Put a freeze window into the spec that begins this very minute."""
        begin = self._simulation.clock() - timedelta(minutes=1)
        self.patch({"freezeWindows": [{"schedule": f"{begin:%M %H} * * *", "durationSeconds": seconds}]})

    def elapse(self, seconds: float) -> None:
        """Let time go by."""
        self._simulation.run(seconds)

    def _create(self, resource: Resource, name: str, spec: Manifest) -> None:
        metadata = {"name": name, "namespace": KEY.namespace}
        manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
        self._simulation.api.write(Write("create", resource, KEY.namespace, name, manifest), _PERSON)

    def _revision(self, number: int) -> str | None:
        found = self._simulation.api.list(MODEL_REVISIONS)
        names = (str(one["metadata"]["name"]) for one in found if one["spec"]["version"] == version_id(number))
        return next(names, None)

"""What must hold at the end, when all is well again and nothing is to be done."""

from __future__ import annotations

from collections.abc import Iterator

from faults.api_server import ApiServer
from faults.simulation import KEY, Simulation
from killpoints.witness import weights_of
from registry.api.model_revision import ModelRevisionStatus
from registry.api.status import ServedModelStatus
from registry.kubernetes.api import FIELD_MANAGER
from registry.kubernetes.comparison import has_foreign_fields
from registry.kubernetes.resources import (
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVING,
)
from registry.records import mlflow_tags
from registry.rollout.manifests import weights


def faults_at_rest(simulation: Simulation) -> list[str]:
    """Return what is wrong with what a rollout left behind."""
    api = simulation.api
    served_model = api.get(SERVED_MODELS, KEY.namespace, KEY.name)
    if served_model is None:
        return [f"{resource.kind} {name} is left" for (resource, _, name) in api.places() if _is_left(resource.kind)]
    status = ServedModelStatus.model_validate(served_model.get("status") or {})
    return [
        *simulation.invariants.broken,
        *simulation.wrong,
        *_faults_of_traffic(api, status),
        *_faults_of_actions(api, status),
        *_faults_of_records(simulation, status),
        *_new_writes(simulation),
    ]


def _is_left(kind: str) -> bool:
    return kind not in ("RolloutAction", "Event", "Gateway", "GatewayClass")


def _faults_of_traffic(api: ApiServer, status: ServedModelStatus) -> Iterator[str]:
    route = api.get(HTTP_ROUTES, KEY.namespace, KEY.name)
    found = {} if route is None else weights_of(route)
    if found != weights(status):
        yield f"the route has {found}, and the status wants {weights(status)}"
    for resource in SERVING:
        for live in api.list(resource):
            if has_foreign_fields(live, FIELD_MANAGER):
                yield f"{resource.kind} {live['metadata']['name']} still has what somebody put there by hand"
    pods = {one["metadata"]["name"] for one in api.list(INFERENCE_SERVICES)}
    wanted = {status.stable_revision, status.candidate_revision, status.previous_revision} - {None}
    if pods != wanted:
        yield f"there are pods of {sorted(pods)}, and the status names {sorted(map(str, wanted))}"


def _faults_of_actions(api: ApiServer, status: ServedModelStatus) -> Iterator[str]:
    outcomes = {outcome.uid: outcome.state for outcome in status.action_outcomes}
    for action in api.list(ROLLOUT_ACTIONS):
        uid, state = action["metadata"]["uid"], (action.get("status") or {}).get("state")
        if state is None:
            yield f"{action['metadata']['name']} has no answer"
        elif state != outcomes.get(uid, state):
            yield f"{action['metadata']['name']} is {state}, and its outcome was {outcomes[uid]}"


def _faults_of_records(simulation: Simulation, status: ServedModelStatus) -> Iterator[str]:
    """What MLflow was told is what the ModelRevisions say; of two of one version, the one that serves counts."""
    of_versions: dict[str, list[dict[str, str]]] = {}
    for revision in simulation.api.list(MODEL_REVISIONS):
        name, number = revision["metadata"]["name"], revision["spec"]["mlflowVersion"]
        outcome = ModelRevisionStatus.model_validate(revision.get("status") or {})
        of_versions.setdefault(number, []).append(mlflow_tags(KEY, name, outcome))
        if (outcome.outcome == "Stable") != (name == status.stable_revision):
            yield f"{name} is {outcome.outcome}, and {status.stable_revision} is stable"
        if outcome.weight != weights(status).get(name, 0):
            yield f"{name} is said to have {outcome.weight} % of the requests"
    for number, said in of_versions.items():
        if simulation.models.tags.get(number) not in said:
            yield f"MLflow's version {number} has {simulation.models.tags.get(number)}, and its revisions say {said}"


def _new_writes(simulation: Simulation) -> Iterator[str]:
    """A controller that begins now must find nothing to do."""
    simulation.run(1.0)
    replica = simulation.make_replica()
    replica.resolver.poll()
    replica.reconciler.reconcile(KEY)
    simulation.run(1.0)
    replica.reconciler.reconcile(KEY)
    for write in replica.api.writes:
        yield f"a new controller wrote although all was as it should be: {write}"

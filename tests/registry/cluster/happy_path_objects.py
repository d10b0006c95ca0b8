"""The happy path, stopped at its telling moments, and the objects that are there then as a page of YAML.

What is another in every run (uids, versions, who owns which field, names of a namespace, the exact time) is left out or
put in order, so that the page changes only where the objects do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import yaml

from killpoints.query_server import QueryServer
from registry.composition import Controller, build
from registry.errors import Conflict
from registry.kubernetes.resources import (
    EVENTS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    LEASES,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVICES,
    Manifest,
    Resource,
)
from registry.settings import RegistrySettings
from registry.work_queue import Key
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.in_process import Clock
from tests.registry.cluster.mlflow_process import Versions
from tests.waiting import wait_for

_QUERY = 'sum(rate(telltale_http_errors_total{namespace="{namespace}",pod=~"CANDIDATE"}[2m]))'
STEPS = [{"setWeight": 10}, {"gate": {}}, {"setWeight": 50}, {"approval": {}}]
GATES = [
    {"name": "flags", "mlflow": {"metric": "holdout_flag_rate", "max": 0.2, "maxIncrease": 0.05}},
    {"name": "errors", "prometheus": {"query": _QUERY.replace("CANDIDATE", "{candidate}-predictor-.*"), "max": 0.01}},
]
BAKE_SECONDS, WARM_SECONDS = 300, 900
START = datetime.fromisoformat("2026-01-05T10:00:00+00:00")
_NOISE = ("uid", "resourceVersion", "managedFields", "generation", "selfLink")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_RUN = re.compile(r"(?<=mlflowRunId: )[0-9a-f]{32}")
_UUID, _UID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "6f1c1d52-9a0f-4dcf-a8c9-4de07f23"
_ACTION = re.compile(r"\bcars-approve-\d+\b")
_REVISION = re.compile(r"\bcars-[0-9a-f]{10}\b")
_REVISIONS = ("cars-77b0c4e218", "cars-3f2a91d0c7")
_TIME_OF_DAY = re.compile(r"(?<=until )\d\d:\d\d:\d\d")
# What others write into what is ours.
_NOT_OURS = dict.fromkeys(("InferenceService", "HTTPRoute", "GRPCRoute", "Service"), ("status",))
_ALLOCATED = ("clusterIP", "clusterIPs")


@dataclass(frozen=True)
class Shown:
    """An object at a moment, or several."""

    title: str
    objects: tuple[Manifest, ...]


class HappyPath:
    """One rollout of a second version.

    Args:
        cluster: a namespace.
        versions: MLflow.
        model: a registered model that nobody else has.
        queries: Prometheus.
        controller: looks when it is told to.
        clock: its time of day.

    """

    def __init__(
        self,
        cluster: Cluster,
        versions: Versions,
        model: str,
        queries: QueryServer,
        controller: Controller,
        clock: Clock,
    ) -> None:
        self._cluster, self._versions, self._model = cluster, versions, model
        self._queries, self._controller, self._clock = queries, controller, clock
        self._shown: list[Shown] = []

    def play(self) -> list[Shown]:
        """Play it; return what was there at each moment."""
        cluster, queries = self._cluster, self._queries
        # How every query begins that is about this ServedModel.
        about = _QUERY.partition("CANDIDATE")[0].replace("{namespace}", cluster.namespace) + "cars"
        self._move_alias("20260105090000")
        queries.answers[about] = 0.0
        cluster.create(SERVED_MODELS, "cars", self._spec([]))
        first = self._look_for("Healthy")["stableRevision"]
        cluster.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": STEPS}}})
        queries.answers[about] = None
        self._move_alias("20260105100000")
        second = self._look_until(lambda status: status.get("message", "").endswith("has no value"))[
            "candidateRevision"
        ]
        self._show("The ServedModel at 10 %: the gate has no data yet", SERVED_MODELS)
        self._show("The HTTPRoute at 10 %", HTTP_ROUTES)
        self._show("The GRPCRoute at 10 %", GRPC_ROUTES)
        self._show("The candidate's ModelRevision at 10 %", MODEL_REVISIONS, second)
        self._show("The candidate's InferenceService", INFERENCE_SERVICES, second)
        queries.answers[about] = 0.002
        self._look_for("AwaitingApproval")
        self._show("The HTTPRoute at 50 %", HTTP_ROUTES)
        action = cluster.act("Approve", reason="the night's scores look right")["metadata"]["name"]
        self._look_for("Baking")
        self._show("The RolloutAction, applied", ROLLOUT_ACTIONS, action)
        self._show("The ServedModel while it bakes", SERVED_MODELS)
        self._clock.jump(BAKE_SECONDS + 1)
        self._look_for("Healthy")
        self._show("The ServedModel, Healthy", SERVED_MODELS)
        self._show("The HTTPRoute, Healthy", HTTP_ROUTES)
        self._show("The Service for clients in the cluster", SERVICES)
        self._show("The ModelRevision that serves", MODEL_REVISIONS, second)
        self._show("The former ModelRevision", MODEL_REVISIONS, first)
        self._show("The Lease", LEASES, "telltale-registry")
        self._shown.append(Shown("The Events", tuple(self._events())))
        self._shown.append(Shown("In MLflow: the tags of both versions, and the aliases", (self._notes(),)))
        return self._shown

    def _spec(self, steps: list[Manifest]) -> Manifest:
        return {
            "model": {"name": self._model, "alias": "champion"},
            "predictor": {"image": "telltale/predictor:1.0", "modelStore": "s3://models/telltale"},
            "route": {
                "gatewayRef": {"name": "telltale", "namespace": "gateway"},
                "hostnames": ["cars.example.com"],
                "grpcHostnames": ["cars-grpc.example.com"],
            },
            "rollout": {"steps": steps},
            "gates": GATES,
            "rollback": {"keepWarmSeconds": WARM_SECONDS, "autoWindowSeconds": BAKE_SECONDS},
        }

    def _move_alias(self, version: str) -> None:
        digest = f"sha256:{hashlib.sha256(version.encode()).hexdigest()}"
        self._versions.alias(self._model, self._versions.register(self._model, version, digest=digest))
        self._controller.resolver.poll()

    def _look_for(self, phase: str) -> Manifest:
        return self._look_until(lambda status: status.get("phase") == phase)

    def _look_until(self, is_so: Callable[[Manifest], bool]) -> Manifest:
        """Look until the status is so, and everything that follows from it is written."""
        for name in ("the status", "what follows from it"):
            wait_for(lambda: self._look() or is_so(self._cluster.status()), name, 60)
        return self._cluster.status()

    def _look(self) -> None:
        assert self._controller.leader is not None
        self._controller.leader.step()
        try:
            self._controller.reconciler.reconcile(Key(self._cluster.namespace, "cars"))
        except Conflict:
            return
        self._controller.write_back.flush()

    def _show(self, title: str, resource: Resource, name: str = "cars") -> None:
        found = self._cluster.get(resource, name)
        assert found is not None, title
        self._shown.append(Shown(title, (found,)))

    def _events(self) -> Iterator[Manifest]:
        found = sorted(self._cluster.list(EVENTS), key=lambda event: str(event.get("eventTime")))
        for event in found:
            if event.get("reportingController") == "registry.telltale.dev/controller":
                yield {part: event[part] for part in ("eventTime", "type", "reason", "note")}

    def _notes(self) -> Manifest:
        model = self._versions.client.get_registered_model(self._model)
        found = self._versions.client.search_model_versions(f"name = '{self._model}'")
        tags = {f"version {one.version}": dict(sorted(one.tags.items())) for one in found}
        return dict(sorted(tags.items())) | {"aliases": {name: str(of) for name, of in sorted(model.aliases.items())}}


@contextmanager
def happy_path(cluster: Cluster, versions: Versions, url: str, model: str) -> Iterator[HappyPath]:
    """Give a happy path that can be played once.

    Args:
        cluster: a namespace.
        versions: MLflow.
        url: MLflow's address.
        model: a registered model that nobody else has.

    """
    clock = Clock()
    with QueryServer() as queries:
        settings = RegistrySettings.model_validate(
            {
                "namespaces": [cluster.namespace],
                "POD_NAMESPACE": cluster.namespace,
                "POD_NAME": "telltale-registry-0",
                "MLFLOW_TRACKING_URI": url,
                "prometheus_url": queries.url,
                "require_route_acceptance": False,
            }
        )
        controller = build(settings, clock=clock)
        try:
            yield HappyPath(cluster, versions, model, queries, controller, clock)
        finally:
            controller.hurry()
            controller.close()


def cleaned(shown: list[Shown], namespace: str, model: str) -> list[Shown]:
    """Return objects without what is another in every run."""
    text = yaml.safe_dump([list(one.objects) for one in shown])
    runs = {run: f"{number:032x}" for number, run in enumerate(dict.fromkeys(_RUN.findall(text)), 1)}
    times = _times(sorted(set(_MOMENT.findall(text)), key=_read))
    uids = {uid: f"{_UID}{number:04}" for number, uid in enumerate(dict.fromkeys(_UUID.findall(text)), 1)}
    actions = dict.fromkeys(_ACTION.findall(text), "cars-approve-1")
    revisions = dict(zip(dict.fromkeys(_REVISION.findall(text)), _REVISIONS, strict=True))
    names = {namespace: "fleet", model: "cars"} | runs | revisions | uids | actions
    return [Shown(one.title, tuple(_clean(manifest, times, names) for manifest in one.objects)) for one in shown]


def _read(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def _times(moments: list[str]) -> dict[str, str]:
    """Return a stable time for each: those of one look are one, and between two looks there are ten seconds."""
    found: dict[str, str] = {}
    at, former = START, None
    for moment in moments:
        read = _read(moment)
        if former is not None:
            gap = (read - former).total_seconds()
            at += timedelta(seconds=0 if gap < 0.02 else 10 if gap < 60 else round(gap / 60) * 60)
        former = read
        found[moment] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return found


def _clean(value: Any, times: dict[str, str], names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        left_out = _NOT_OURS.get(str(value.get("kind")), ()) if "metadata" in value else ()
        kept = {key: below for key, below in value.items() if key not in (*_NOISE, *_ALLOCATED, *left_out)}
        return {_clean(key, times, names): _clean(below, times, names) for key, below in kept.items()}
    if isinstance(value, list):
        return [_clean(one, times, names) for one in value]
    if not isinstance(value, str):
        return value
    text = _MOMENT.sub(lambda found: times[found[0]], value)
    of_day = {moment[11:19]: stable[11:19] for moment, stable in times.items()}
    text = _TIME_OF_DAY.sub(lambda found: of_day.get(found[0], found[0]), text)
    for name, stable in names.items():
        text = text.replace(name, stable)
    return text


def page(shown: list[Shown]) -> str:
    """Return the page."""
    parts, separator = [_HEAD], "---\n"
    for one in shown:
        documents = [
            yaml.safe_dump(manifest, sort_keys=False, width=110, allow_unicode=True) for manifest in one.objects
        ]
        parts.append(f"## {one.title}\n\n```yaml\n{separator.join(documents)}```\n")
    return "\n".join(parts)


def objects_of(text: str) -> dict[str, list[Any]]:
    """Return the objects of a page, by title."""
    sections = re.findall(r"^## ([^\n]+)\n\n```yaml\n(.*?)```$", text, re.MULTILINE | re.DOTALL)
    return {title: list(yaml.safe_load_all(body)) for title, body in sections}


def shape(value: Any) -> Any:
    """Return the keys of an object and the kinds of its values; of a list, the shapes that its elements have."""
    if isinstance(value, dict):
        return {key: shape(below) for key, below in sorted(value.items())}
    if isinstance(value, list):
        return sorted({repr(shape(one)) for one in value})
    return type(value).__name__


# In the order of kubectl, which is the alphabet's.
_STYLE: dict[str, Any] = {"sort_keys": True, "width": 110, "allow_unicode": True}
_HEAD = """# The registry's objects

One rollout, stopped where it is worth a look: the alias `champion` moves to a second version, which becomes a
candidate, passes its offline gate, gets 10 % of the requests, passes the online gate, gets 50 %, is approved, gets
everything, bakes, and serves. Each object is as `kubectl get -o yaml` shows it on a real API server, without `uid`,
`resourceVersion`, `generation`, `managedFields`, allocated addresses, and what KServe and the gateway write into the
status of theirs; times are rounded.

`make objects-page` writes this page anew, and a test compares it with what a cluster has.
"""

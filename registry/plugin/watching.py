"""What belongs to a ServedModel, kept up to date by the API server's watches. Nothing is asked again and again."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from threading import Event, Thread

from registry.api.group import SERVED_MODEL_LABEL
from registry.errors import KubernetesError, KubernetesForbidden, NotThere
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    Manifest,
    Resource,
)
from registry.plugin.cluster import Change, Cluster, Expired
from registry.plugin.errors import PluginError

_KINDS = (SERVED_MODELS, MODEL_REVISIONS, ROLLOUT_ACTIONS, DEPLOYMENTS)
_LONGEST_PAUSE_SECONDS = 8.0
_SHORTEST_WATCH_SECONDS = 1.0
# Changes that come together are shown together.
_TOGETHER_SECONDS = 0.03


@dataclass(frozen=True)
class Resources:
    """What is known of a ServedModel.

    Args:
        objects: by kind, then by name; a kind that may not be read is missing.
        trouble: why this may be out of date; empty where it is not.

    """

    objects: Mapping[Resource, Mapping[str, Manifest]] = field(default_factory=dict)
    trouble: str = ""

    @property
    def served_model(self) -> Manifest | None:
        """The ServedModel; None once it is gone."""
        return next(iter(self.of(SERVED_MODELS)), None)

    def of(self, resource: Resource) -> list[Manifest]:
        """Return all of a kind."""
        return list(self.objects.get(resource, {}).values())

    def knows(self, resource: Resource) -> bool:
        """Tell whether a kind may be read."""
        return resource in self.objects

    def listed(self, resource: Resource, found: list[Manifest]) -> Resources:
        """Return this with all of a kind anew."""
        by_name = {one["metadata"]["name"]: one for one in found}
        return Resources({**self.objects, resource: by_name})

    def changed(self, resource: Resource, change: Change) -> Resources:
        """Return this after a change."""
        by_name = dict(self.objects.get(resource, {}))
        name = change.object["metadata"]["name"]
        by_name.pop(name, None)
        if change.type != "DELETED":
            by_name[name] = change.object
        return Resources({**self.objects, resource: by_name}, self.trouble)


def read(cluster: Cluster, namespace: str, name: str) -> Resources:
    """Return what there is now; only the ServedModel itself has to be readable."""
    resources = Resources()
    for resource in _KINDS:
        try:
            found, _ = cluster.list(resource, namespace, selector(resource, name))
        except (KubernetesForbidden, NotThere):
            if resource == SERVED_MODELS:
                raise
            continue
        resources = resources.listed(resource, of_model(resource, name, found))
    return resources


def selector(resource: Resource, name: str) -> dict[str, str]:
    """Return the parameters that select what belongs to a ServedModel."""
    if resource == SERVED_MODELS:
        return {"fieldSelector": f"metadata.name={name}"}
    # An action may have been created by hand, without a label.
    return {} if resource == ROLLOUT_ACTIONS else {"labelSelector": f"{SERVED_MODEL_LABEL}={name}"}


def of_model(resource: Resource, name: str, found: list[Manifest]) -> list[Manifest]:
    """Return those that are about the ServedModel: actions are selected here."""
    return [one for one in found if resource != ROLLOUT_ACTIONS or one["spec"].get("servedModel") == name]


@dataclass(frozen=True)
class _Listed:
    resource: Resource
    found: list[Manifest]


@dataclass(frozen=True)
class _Changed:
    resource: Resource
    change: Change


@dataclass(frozen=True)
class _Trouble:
    resource: Resource
    error: Exception
    is_final: bool = False


_News = _Listed | _Changed | _Trouble


def follow(cluster: Cluster, namespace: str, name: str, tick: float) -> Iterator[Resources]:
    """Yield what there is, after each change, and after ``tick`` seconds without one: times go on meanwhile."""
    news: queue.SimpleQueue[_News] = queue.SimpleQueue()
    over = Event()
    for resource in _KINDS:
        watch = _Watch(cluster.another(), resource, namespace, name, news, over)
        Thread(target=watch.run, name=f"watch {resource.plural}", daemon=True).start()
    resources, settled = Resources(), set[Resource]()
    try:
        while True:
            for told in _batch(news, tick):
                settled.add(told.resource)
                resources = _folded(resources, told)
            # Nothing is shown before everything is there, lest a view flicker.
            if settled.issuperset(_KINDS):
                yield resources
    finally:
        over.set()  # nobody looks any more


def _batch(news: queue.SimpleQueue[_News], tick: float) -> Iterator[_News]:
    try:
        yield news.get(timeout=tick)
        while True:
            yield news.get(timeout=_TOGETHER_SECONDS)
    except queue.Empty:
        return


def _folded(resources: Resources, told: _News) -> Resources:
    if isinstance(told, _Listed):
        return resources.listed(told.resource, told.found)
    if isinstance(told, _Changed):
        return resources.changed(told.resource, told.change)
    if told.is_final:
        if told.resource == SERVED_MODELS:
            raise told.error
        return resources
    return replace(resources, trouble=str(told.error))


@dataclass
class _Watch:
    """Lists a kind, then tells of its changes; begins anew when the API server was away."""

    cluster: Cluster
    resource: Resource
    namespace: str
    name: str
    news: queue.SimpleQueue[_News]
    over: Event

    def run(self) -> None:
        """Tell until it is over; the connection is this thread's, which closes it."""
        with closing(self.cluster):
            self._tell()

    def _tell(self) -> None:
        pause = 0.5
        while not self.over.is_set():
            try:
                version = self._list()
                pause = 0.5
                while not self.over.is_set():
                    version = self._watch(version)
            except Expired:
                continue
            except (KubernetesForbidden, NotThere) as error:
                self.news.put(_Trouble(self.resource, error, is_final=True))
                return
            except (KubernetesError, PluginError) as error:
                self.news.put(_Trouble(self.resource, error))
            except Exception as error:  # noqa: BLE001 - a thread that died in silence would leave the view old, as if new
                self.news.put(_Trouble(self.resource, PluginError(f"{self.resource.plural} cannot be read: {error!r}")))
            self.over.wait(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    def _list(self) -> str:
        found, version = self.cluster.list(self.resource, self.namespace, selector(self.resource, self.name))
        self.news.put(_Listed(self.resource, of_model(self.resource, self.name, found)))
        return version

    def _watch(self, version: str) -> str:
        """Tell of changes until the watch ends; return where to take it up."""
        began = time.monotonic()
        watched = self.cluster.watch(self.resource, self.namespace, version, selector(self.resource, self.name))
        with closing(watched) as changes:
            for change in changes:
                if self.over.is_set():
                    break
                version = change.object["metadata"]["resourceVersion"]
                if change.type != "BOOKMARK" and of_model(self.resource, self.name, [change.object]):
                    self.news.put(_Changed(self.resource, change))
        # Something between here and there may end every watch at once: it is not asked without a pause.
        self.over.wait(max(0.0, _SHORTEST_WATCH_SECONDS - (time.monotonic() - began)))
        return version

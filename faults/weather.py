"""The faults of the API server, drawn from a seed, between it and a controller."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Literal

from killpoints.seam import Crash, Witness
from registry.errors import Conflict, KubernetesUnavailable
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import Manifest, Resource
from registry.kubernetes.writes import Write

Kind = Literal["409", "410", "429", "500", "timeout", "lost answer", "crash before", "crash after"]
_READS: tuple[Kind, ...] = ("429", "500", "timeout")
_LISTS: tuple[Kind, ...] = (*_READS, "410")
_WRITES: tuple[Kind, ...] = ("409", "429", "500", "timeout", "lost answer", "crash before", "crash after")


class FaultyApi(KubernetesApi):
    """The API server, as a controller sees it in bad weather.

    Args:
        api: the API server.
        chooser: draws the faults.
        rate: how many of the calls fail, from 0 to 1; it is asked at each call.
        witness: sees the writes that arrive.
        meanwhile: called before a write arrives; others act then.

    """

    def __init__(
        self,
        api: KubernetesApi,
        chooser: random.Random,
        rate: Callable[[], float],
        witness: Witness,
        meanwhile: Callable[[], None],
    ) -> None:
        self._api, self._chooser, self._rate = api, chooser, rate
        self._witness, self._meanwhile = witness, meanwhile
        self.faults = 0
        self.writes: list[str] = []

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """Return an object, or fail."""
        self._fail(self._drawn(_READS), f"get {resource.kind} {name}")
        return self._api.get(resource, namespace, name)

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> Iterator[Manifest]:
        """Yield objects, or fail."""
        self._fail(self._drawn(_LISTS), f"list {resource.kind}")
        return self._api.list(resource, namespace, labels, fields=fields, metadata_only=metadata_only)

    def write(self, write: Write) -> Manifest:
        """Do a write, or fail before or after it."""
        self._meanwhile()
        kind = self._drawn(_WRITES)
        if kind not in ("lost answer", "crash after"):
            self._fail(kind, str(write))
        written = self._witness.around(self._api.write, write)
        self.writes.append(str(write))
        self._fail(kind, str(write))
        return written

    def _drawn(self, kinds: tuple[Kind, ...]) -> Kind | None:
        return self._chooser.choice(kinds) if self._chooser.random() < self._rate() else None

    def _fail(self, kind: Kind | None, what: str) -> None:
        if kind is None:
            return
        self.faults += 1
        if kind.startswith("crash"):
            raise Crash(what)
        if kind == "409":
            raise Conflict(f"{what}: 409")
        raise KubernetesUnavailable(f"{what}: {kind}", 1.0 if kind == "429" else None)

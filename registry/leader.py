"""Which of several replicas writes: the one that holds the Lease, for as long as it is sure to hold it.

Fencing is by time. The holder counts from the moment at which it *began* its last renewal, and stops writing when
``fence_seconds`` are over; another takes the lease only after it has seen it unchanged for ``lease_seconds`` by its own
clock, which began later. The difference must hold the longest request, so that none of the former holder's is still
under way. No two clocks are ever compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Event

from registry.errors import AlreadyThere, Conflict, KubernetesError
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import LEASES, Manifest
from registry.kubernetes.writes import Writes, writing

_log = logging.getLogger(__name__)


_SHORTEST_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class LeaseTerms:
    """Where the lease is, and its times in seconds."""

    namespace: str
    name: str = "telltale-registry"
    lease_seconds: float = 15.0
    fence_seconds: float = 9.0
    renew_seconds: float = 2.0


class Leader:
    """One replica's part in the election.

    Args:
        api: reads the lease.
        write: writes it, unfenced.
        identity: of this replica, different from every other's.
        terms: the lease.
        monotonic: seconds, that never go back.
        wall: the time of day, written for people only.
        beat: told that it goes on taking part.

    """

    def __init__(
        self,
        api: KubernetesApi,
        write: Writes,
        identity: str,
        terms: LeaseTerms,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._api, self._write, self._identity, self._terms = api, write, identity, terms
        self._monotonic, self._wall, self._beat = monotonic, wall, beat
        self._told: Callable[[bool], None] = lambda _: None
        self._held_since: float | None = None
        self._leading = False
        self._seen: tuple[str, float] | None = None

    def on_change(self, told: Callable[[bool], None]) -> None:
        """Tell ``told`` when this replica begins to lead (True), and when it no longer does (False)."""
        self._told = told

    def is_leading(self) -> bool:
        """Tell whether this replica is sure to hold the lease now; it may write."""
        began = self._held_since
        return began is not None and self._monotonic() < began + self._terms.fence_seconds

    def run(self, stop: Event, settle: Callable[[], None] = lambda: None) -> None:
        """Take part until ``stop``, and then let go of the lease.

        Args:
            stop: set to end.
            settle: waits, for a bounded time, until what writes has ended: whoever takes the lease may write at once.

        """
        while not stop.is_set():
            self._beat()
            self.step()
            stop.wait(self.pause())
        settle()
        self.release()

    def pause(self) -> float:
        """Return after how many seconds to take part again: another's lease may be let go of, and it may end."""
        if self._held_since is not None or self._seen is None:
            return self._terms.renew_seconds
        ends = self._seen[1] + self._terms.lease_seconds - self._monotonic()
        return min(max(ends, _SHORTEST_PAUSE_SECONDS), self._terms.renew_seconds / 2)

    def step(self) -> None:
        """Renew the lease, or take it where nobody holds it any more."""
        try:
            self._try()
        except KubernetesError as error:
            _log.warning("the lease could not be taken or renewed: %s", error)
        self._tell()

    def release(self) -> None:
        """Let another replica take the lease at once."""
        if not self.is_leading():
            return
        self._held_since = None
        self._tell()
        try:
            lease = self._api.get(LEASES, self._terms.namespace, self._terms.name)
            if lease is not None and _holder(lease) == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._write(writing("replace", LEASES, lease))
        except KubernetesError as error:
            _log.warning("the lease could not be let go of, and runs out by itself: %s", error)

    def _try(self) -> None:
        began = self._monotonic()
        lease = self._api.get(LEASES, self._terms.namespace, self._terms.name)
        if lease is not None and not self._is_ours_to_take(lease):
            self._held_since = None
            return
        wanted = self._lease(lease)
        try:
            written = self._write(writing("create" if lease is None else "replace", LEASES, wanted))
        except (Conflict, AlreadyThere):
            self._held_since = None  # another was quicker; the next look tells who
            return
        if self._leading and not self.is_leading():
            self._tell()  # the fence lapsed under the renewal, and what could not be written then is to be seen anew
        self._held_since = began
        self._seen = (written["metadata"]["resourceVersion"], began)

    def _is_ours_to_take(self, lease: Manifest) -> bool:
        holder = _holder(lease)
        if holder in ("", self._identity):
            return True
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, self._monotonic())
        return self._monotonic() >= self._seen[1] + self._terms.lease_seconds

    def _lease(self, known: Manifest | None) -> Manifest:
        now = self._wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict(known["spec"]) if known is not None else {}
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", 0) + (known is not None)
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._terms.lease_seconds),
            "renewTime": now,
        }
        metadata = {"name": self._terms.name, "namespace": self._terms.namespace}
        if known is not None:
            metadata["resourceVersion"] = known["metadata"]["resourceVersion"]
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    def _tell(self) -> None:
        leading = self.is_leading()
        if leading != self._leading:
            self._leading = leading
            _log.info("%s %s", self._identity, "leads" if leading else "does not lead any more")
            self._told(leading)


def _holder(lease: Manifest) -> str:
    return str(lease.get("spec", {}).get("holderIdentity") or "")

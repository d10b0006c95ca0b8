"""What happened, as Kubernetes Events on the ServedModel. They are for people: losing one loses nothing."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from threading import Lock

from registry.errors import KubernetesError, NotLeading
from registry.kubernetes.resources import EVENTS, Manifest
from registry.kubernetes.writes import Writes, writing
from registry.rollout.intent import Event

_log = logging.getLogger(__name__)

CONTROLLER = "registry.telltale.dev/controller"
_SAME_FOR = timedelta(minutes=10)
_MOST_REMEMBERED = 10_000
_MOST_NOTE_BYTES = 1024


class Recorder:
    """Writes Events, and the same one for the same object at most once in ten minutes.

    Args:
        write: to the API server.
        instance: this replica.
        clock: the time of day.

    """

    def __init__(self, write: Writes, instance: str, clock: Callable[[], datetime]) -> None:
        self._write, self._instance, self._clock = write, instance, clock
        self._lock = Lock()
        self._recent: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()

    def record(self, about: Manifest, events: Iterable[Event]) -> None:
        """Write what happened to an object; what cannot be written is logged and forgotten."""
        for event in events:
            if self._is_news(about["metadata"]["uid"], event):
                try:
                    self._write(writing("create", EVENTS, self._manifest(about, event)))
                except (KubernetesError, NotLeading) as error:
                    _log.warning("an event could not be written: %s", error)

    def _is_news(self, uid: str, event: Event) -> bool:
        now, what = self._clock(), (uid, event.reason, event.message)
        with self._lock:
            last = self._recent.pop(what, None)
            self._recent[what] = now if last is None or now >= last + _SAME_FOR else last
            while len(self._recent) > _MOST_REMEMBERED:
                self._recent.popitem(last=False)
            return self._recent[what] is now

    def _manifest(self, about: Manifest, event: Event) -> Manifest:
        metadata, now = about["metadata"], self._clock()
        mark = hashlib.sha256(f"{metadata['uid']}{event.reason}{event.message}{now.timestamp()}".encode()).hexdigest()
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{metadata['name']}.{mark[:16]}", "namespace": metadata["namespace"]},
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": event.reason,
            "reason": event.reason,
            "note": _cut(event.message),
            "type": "Warning" if event.warning else "Normal",
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
        }


def _cut(note: str) -> str:
    """Return as much of a note as the API server takes: it counts bytes."""
    return note.encode()[:_MOST_NOTE_BYTES].decode(errors="ignore")

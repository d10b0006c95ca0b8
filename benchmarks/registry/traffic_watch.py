"""When HTTPRoutes changed, as the API server's watch tells it: what a gateway would hear, and when."""

from __future__ import annotations

import json
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Event, Thread

import httpx2 as httpx

from benchmarks.processes import NotStarted
from registry.kubernetes.resources import HTTP_ROUTES, Manifest

Weights = dict[str, int]
_WAIT_SECONDS = 10.0


def weights_of(route: Manifest) -> Weights:
    """Return the weights of a route's rules, by the number of the rule and the Service."""
    return {
        f"{number} {backend['name']}": backend.get("weight", 1)
        for number, rule in enumerate(route["spec"]["rules"])
        for backend in rule.get("backendRefs") or ()
    }


class TrafficWatch:
    """Hears of every change of the HTTPRoutes of a namespace.

    Args:
        client: the connection.
        namespace: to watch.

    """

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self._client, self._path = client, HTTP_ROUTES.path(namespace)
        self._heard: dict[str, list[tuple[float, Weights]]] = defaultdict(list)
        self._news = Condition()
        self._socket: socket.socket | None = None
        self._over = Event()

    @contextmanager
    def listening(self) -> Iterator[TrafficWatch]:
        """Watch meanwhile.

        Raises:
            NotStarted: the watch was not open, or did not end, within 10 s.

        """
        thread = Thread(target=self._run, name="traffic-watch", daemon=True)
        thread.start()
        with self._news:
            self._news.wait_for(lambda: self._socket is not None, _WAIT_SECONDS)
            opened = self._socket
        if opened is None:
            raise NotStarted(f"the watch of {self._path} was not open within {_WAIT_SECONDS:g} s")
        try:
            yield self
        finally:
            self._over.set()
            # It waits in a read. Were the client closed below it, it would go on to read from whatever connection gets
            # the number of that file next, and break it.
            with suppress(OSError):  # the server ended the watch a moment ago
                opened.shutdown(socket.SHUT_RDWR)
            thread.join(_WAIT_SECONDS)
            if thread.is_alive():
                raise NotStarted(f"the watch of {self._path} did not end within {_WAIT_SECONDS:g} s")

    def weights(self, name: str) -> Weights:
        """Return the newest weights of a route; none where there is none."""
        with self._news:
            heard = self._heard.get(name)
            return heard[-1][1] if heard else {}

    def changed_at(self, name: str, since: float, seconds: float) -> float:
        """Return when a route's weights changed for the first time after ``since``, by `time.perf_counter`.

        Raises:
            NotStarted: they did not, within ``seconds`` of now.

        """
        with self._news:
            if not self._news.wait_for(lambda: self._first(name, since) is not None, seconds):
                raise NotStarted(f"the route of {name} did not change within {seconds:g} s")
            found = self._first(name, since)
        if found is None:
            raise AssertionError("what was heard is gone")
        return found

    def _first(self, name: str, since: float) -> float | None:
        return next((at for at, _ in self._heard.get(name, ()) if at >= since), None)

    def _run(self) -> None:
        while not self._over.is_set():
            parameters = {"watch": "true", "timeoutSeconds": "600"}
            try:
                with self._client.stream("GET", self._path, params=parameters, timeout=None) as answer:
                    with self._news:
                        self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                        self._news.notify_all()
                    for line in answer.iter_lines():
                        self._hear(time.perf_counter(), json.loads(line))
            except httpx.HTTPError:
                if not self._over.is_set():
                    raise

    def _hear(self, now: float, event: Manifest) -> None:
        if event["type"] not in ("ADDED", "MODIFIED"):
            return
        with self._news:
            heard, weights = self._heard[event["object"]["metadata"]["name"]], weights_of(event["object"])
            if not heard or heard[-1][1] != weights:
                heard.append((now, weights))
            self._news.notify_all()

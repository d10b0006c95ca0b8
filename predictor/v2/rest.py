"""The protocol's paths: which route answers a method and a path below ``/v2`` and ``/v1``."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from predictor.hotpath.exchange import HttpRequest, Scope
from predictor.problems import Answer
from predictor.v2.control_routes import Call, ControlRoute, ControlRoutes, Target
from predictor.v2.errors import ProtocolError, UnknownPath, WrongMethod, error_answer
from predictor.v2.infer_route import InferRoute
from predictor.v2.inference import Inference
from predictor.v2.plane import Plane

_ROUTES_KEPT = 4096
_LONGEST_PATH_KEPT = 256
_READ: Scope = "models:read"
_NOTHING = (
    "nothing is at this path: GET /v2 is the server, GET /v2/models its models, POST /v2/models/{name}/infer scores,"
    " and GET /docs lists all paths"
)


class V2Route(Protocol):
    """What answers a path."""

    @property
    def method(self) -> str:
        """The only method that the path takes."""

    @property
    def template(self) -> str:
        """The path's template, for metrics."""

    @property
    def scope(self) -> Scope | None:
        """What a token must hold; None where none is needed."""

    def quick(self, request: HttpRequest) -> Answer | None:
        """Answer at once, or None if that must wait; raises what the request breaks."""

    async def answer(self, request: HttpRequest) -> Answer:
        """Answer; raises what the request breaks or what cannot be had."""

    def error_answer(self, error: Exception, request_id: str) -> Answer:
        """Return what tells the client about ``error``, in the protocol's form."""


class _Refusal:
    """The route of what cannot be routed: it tells why."""

    template = "(none)"
    scope: Scope | None = None

    def __init__(self, method: str, refusal: ProtocolError) -> None:
        self.method = method
        self._refusal = refusal

    def quick(self, request: HttpRequest) -> Answer:
        return error_answer(self._refusal, request.request_id)

    async def answer(self, request: HttpRequest) -> Answer:
        return self.quick(request)

    def error_answer(self, error: Exception, request_id: str) -> Answer:
        return error_answer(error, request_id)


class _Path(NamedTuple):
    method: str
    template: str
    scope: Scope | None
    call: Call | None  # None: infer
    pattern: re.Pattern[str]


class V2Rest:
    """Finds the route of a path.

    Args:
        inference: what scores.
        plane: what knows about the server and its models.

    """

    def __init__(self, inference: Inference, plane: Plane) -> None:
        self._inference = inference
        self._paths = _paths(ControlRoutes(plane, inference.threads))
        self._known: dict[str, V2Route] = {}

    def route(self, method: str, path: str) -> V2Route:
        """Return what answers ``path``, percent signs decoded, for a method; where nothing does, what refuses."""
        route = self._known.get(path)
        if route is None:
            route = self._find(path)
            if route is None:
                return _Refusal(method, UnknownPath(_NOTHING))
            self._keep(path, route)
        if route.method != method:
            return _Refusal(method, WrongMethod(f"{route.template} takes {route.method}", allow=route.method))
        return route

    def _find(self, path: str) -> V2Route | None:
        for known in self._paths:
            match = known.pattern.fullmatch(path)
            if match is not None:
                found = match.groupdict()
                return self._made(known, Target(found.get("name", ""), found.get("version")))
        return None

    def _made(self, known: _Path, target: Target) -> V2Route:
        if known.call is None:
            return InferRoute(self._inference, target.model, target.version, known.template)
        return ControlRoute(known.method, known.template, known.scope, target, known.call)

    def _keep(self, path: str, route: V2Route) -> None:
        """Remember a path's route; clients that invent names make the oldest be forgotten."""
        if len(path) > _LONGEST_PATH_KEPT:
            return
        if len(self._known) >= _ROUTES_KEPT:
            del self._known[next(iter(self._known))]
        self._known[path] = route


def _paths(control: ControlRoutes) -> list[_Path]:
    table: list[tuple[str, str, Scope | None, Call | None]] = [
        ("POST", "/v2/models/{name}/infer", "telemetry:score", None),
        ("POST", "/v2/models/{name}/versions/{version}/infer", "telemetry:score", None),
        ("GET", "/v2", _READ, control.server_metadata),
        ("GET", "/v2/health/live", None, control.live),
        ("GET", "/v2/health/ready", None, control.ready),
        ("GET", "/v2/models", _READ, control.models),
        ("GET", "/v2/models/{name}", _READ, control.model_metadata),
        ("GET", "/v2/models/{name}/ready", _READ, control.model_ready),
        ("GET", "/v2/models/{name}/versions/{version}", _READ, control.model_metadata),
        ("GET", "/v2/models/{name}/versions/{version}/ready", _READ, control.model_ready),
        ("POST", "/v2/repository/index", _READ, control.index),
        ("POST", "/v2/repository/models/{name}/load", _READ, control.load),
        ("POST", "/v2/repository/models/{name}/unload", _READ, control.unload),
        ("GET", "/v1/models", _READ, control.models),
        ("POST", "/v1/models/{name}:predict", "telemetry:score", control.predict),
        ("GET", "/v1/models/{name}", _READ, control.model_ready),
    ]
    return [_Path(method, template, scope, call, _pattern(template)) for method, template, scope, call in table]


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(template)))

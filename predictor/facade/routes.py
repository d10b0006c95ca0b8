"""The routes: each reads what it needs from the request and hands it to the service that answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from contract.errors import TooLarge
from predictor.facade.body import ClosingResponse, read_json_body
from predictor.facade.health import HealthService
from predictor.hotpath.body import Body
from predictor.hotpath.driver import HotRoute
from predictor.hotpath.exchange import HttpRequest
from predictor.ingestion.idempotency import IdempotentIngest
from predictor.ingestion.ingest_service import IngestService
from predictor.models.catalog import Catalog
from predictor.observability.dependencies import DependencyWatch
from predictor.observability.metrics import CONTENT_TYPE, Metrics
from predictor.problems import Answer, answer_of
from store.errors import StoreUnavailable

_NO_DATABASE = "this server has no database, so it takes no batches: send them to one that has, or set DATABASE_URL"


@dataclass(frozen=True)
class Ingestion:
    """What takes batches in; not there where no database is."""

    service: IngestService
    idempotent: IdempotentIngest


@dataclass(frozen=True)
class Services:
    """What the routes answer with."""

    score: HotRoute
    ingestion: Ingestion | None
    catalog: Catalog
    health: HealthService
    dependencies: DependencyWatch
    metrics: Metrics
    max_body_bytes: int


class Routes:
    """The handlers; errors they raise become problem documents in :func:`problem_response`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def ingest(self, request: Request) -> Response:
        """Take a batch in."""
        body = await self._body(request)
        key = request.headers.get("idempotency-key")
        answer = await self._ingestion().idempotent.answer(body, respond_async=_prefers_async(request), key=key)
        return response_of(answer)

    async def job(self, request: Request) -> Response:
        """Tell what became of a batch."""
        return response_of(await self._ingestion().service.job(request.path_params["job"]))

    async def score(self, request: Request) -> Response:
        """Score records; the driver answers before it comes to this, unless somebody serves the facade alone."""
        scope = request.scope
        body = await Body(request.receive, self._services.max_body_bytes).read()
        request_id = scope["state"]["request_id"]
        asked = HttpRequest("POST", scope["path"], scope["query_string"], scope["headers"], body, request_id)
        return response_of(await self._services.score.answer(asked))

    async def models(self, _request: Request) -> Response:
        """List the models."""
        return response_of(await self._services.catalog.models())

    async def versions(self, request: Request) -> Response:
        """List a model's versions."""
        return response_of(await self._services.catalog.versions(request.path_params["name"]))

    async def health(self, _request: Request) -> Response:
        """Tell how the predictor and its stores are."""
        return response_of(await self._services.health.health())

    async def ready(self, _request: Request) -> Response:
        """Tell whether every served model is loaded."""
        return response_of(self._services.health.ready())

    async def alive(self, _request: Request) -> Response:
        """Tell that the process answers."""
        return response_of(self._services.health.alive())

    async def metrics(self, _request: Request) -> Response:
        """Return all metrics."""
        await self._services.dependencies.look()
        # Not Starlette's pool: it makes up to forty threads, and ends them when they idle.
        text = await asyncio.to_thread(self._services.metrics.render)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    async def root(self, _request: Request) -> Response:
        """Send a person to the documentation."""
        return RedirectResponse("/docs", 307)

    def _ingestion(self) -> Ingestion:
        if self._services.ingestion is None:
            raise StoreUnavailable(_NO_DATABASE, retry_after=3600)
        return self._services.ingestion

    async def _body(self, request: Request) -> bytes:
        return await read_json_body(request, limit=self._services.max_body_bytes)


def response_of(answer: Answer) -> Response:
    """Return a service's answer as a response."""
    return Response(answer.body, answer.status, answer.headers, answer.content_type)


async def problem_response(request: Request, error: Exception) -> Response:
    """Return the problem document for an error that a handler raised."""
    answer = answer_of(error, request_id=request.scope["state"]["request_id"], path=request.scope["path"])
    kind = ClosingResponse if isinstance(error, TooLarge) else Response
    return kind(answer.body, answer.status, answer.headers, answer.content_type)


def _prefers_async(request: Request) -> bool:
    preferences = ",".join(request.headers.getlist("prefer"))
    return any(one.partition(";")[0].strip().lower() == "respond-async" for one in preferences.split(","))

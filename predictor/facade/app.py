"""The facade: routes, errors and middleware put together as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from contract.errors import ContractError
from contract.telemetry import Limits
from predictor.errors import PredictorError
from predictor.facade.docs_page import docs_asset, docs_page
from predictor.facade.openapi import document
from predictor.facade.routes import Routes, Services, problem_response
from store.errors import StoreError


def build_app(services: Services, *, limits: Limits | None = None, authenticates: bool = False) -> FastAPI:
    """Return the application.

    Args:
        services: what the routes answer with.
        limits: what one request may hold, for the documentation; the defaults if None.
        authenticates: whether requests must carry tokens, for the documentation.

    """
    app = FastAPI(title="Telltale", docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_routes(app, Routes(services))
    # Exception too: without it Starlette answers what nobody expected itself, in plain text. It is raised again after.
    for error in (ContractError, PredictorError, StoreError, HTTPException, Exception):
        app.add_exception_handler(error, problem_response)
    # The handlers read raw bodies, so FastAPI cannot see what they take: the document is written by hand.
    schema = document(limits, authenticates=authenticates)
    app.openapi = lambda: schema  # type: ignore[method-assign]  # how FastAPI's documentation says to replace it
    return app


def _add_routes(app: FastAPI, routes: Routes) -> None:
    table: tuple[tuple[str, str, Callable[..., Any]], ...] = (
        ("POST", "/ingest", routes.ingest),
        ("GET", "/ingest/{job}", routes.job),
        ("POST", "/score", routes.score),
        ("GET", "/models", routes.models),
        ("GET", "/models/{name}/versions", routes.versions),
        ("GET", "/health", routes.health),
        ("GET", "/health/ready", routes.ready),
        ("GET", "/healthz", routes.alive),
        ("GET", "/metrics", routes.metrics),
        ("GET", "/metrics/prometheus", routes.metrics),
        ("GET", "/docs", docs_page),
        ("GET", "/docs/{asset}", docs_asset),
        ("GET", "/", routes.root),
    )
    for method, path, handler in table:
        app.add_api_route(path, handler, methods=[method], response_model=None, include_in_schema=False)

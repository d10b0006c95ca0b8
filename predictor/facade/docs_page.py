"""``/docs`` without the internet: Swagger UI's page, its script and style served from an installed package.

FastAPI's own page loads them from a content delivery network, which a fleet's backend often cannot reach. The package
``fastapi-offline`` carries the files; nothing else of it is used.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_PACKAGE = "fastapi_offline"
_TYPES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
_A_DAY = {"Cache-Control": "public, max-age=86400"}


async def docs_page(_request: Request) -> Response:
    """Return the page."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Telltale",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon.png",
    )


async def docs_asset(request: Request) -> Response:
    """Return one of the files that the page loads."""
    name = request.path_params["asset"]
    if name not in _TYPES:
        raise HTTPException(404)
    return Response(_content(name), media_type=_TYPES[name], headers=_A_DAY)


@lru_cache
def _content(name: str) -> bytes:
    return (files(_PACKAGE) / "static" / name).read_bytes()

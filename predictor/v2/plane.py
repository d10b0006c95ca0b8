"""What the transports ask beside infer: KServe's ``DataPlane``, aware of versions, seen from the outside. PURE."""

from __future__ import annotations

from typing import Any, Protocol

from predictor.v2.tensors import Signature


class Plane(Protocol):
    """Answers about the server and its models; documents are dicts of what JSON knows.

    Asking for a model or version that there is not raises UnknownModel or UnknownVersion; a store that does not answer,
    StoreUnavailable.
    """

    def metadata(self) -> dict[str, Any]:
        """Return the server's name, version and extensions."""

    async def ready(self) -> bool:
        """Tell whether everything that should be served can be."""

    async def model_names(self) -> list[str]:
        """Return the models that have a version."""

    async def model_metadata(self, model_name: str, model_version: str | None = None) -> dict[str, Any]:
        """Return what a model takes and gives."""

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False, model_version: str | None = None
    ) -> bool:
        """Tell whether a model can serve; the second argument is KServe's and has no meaning here."""

    async def signature(self, model_name: str, model_version: str | None = None) -> Signature:
        """Return what the version that would answer takes, loading it if need be; NotLoadable if it is damaged."""

    async def index(self, *, ready_only: bool) -> list[dict[str, str]]:
        """Return every version and whether it can serve."""

    async def infer(
        self,
        model_name: str,
        request: Any,
        headers: dict[str, str] | None = None,
        *,
        model_version: str | None = None,
    ) -> tuple[Any, dict[str, str]]:
        """Score a V1 body or KServe's ``InferRequest``; returns the same kind of answer, and headers for it."""

"""The custom predictor as KServe knows it: models in a repository behind a ``DataPlane``.

Everything but the hot path of infer goes through this plane. The plane adds to KServe's what the protocol has and
KServe has not: versions, true readiness, the index. Call :func:`predictor.v2.kserve_sdk.prepare` before this is
imported, or all of KServe's SDK is imported with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from kserve.model import Model
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, InferResponse, RequestedOutput
from numpy.typing import NDArray

from predictor.models.version_reader import LoadedVersion
from predictor.v2 import v1
from predictor.v2.errors import BadInferRequest, RepositoryIsReadOnly, read_only
from predictor.v2.inference import Inference, Protocol
from predictor.v2.outputs import AS_BYTES, AS_LISTS, Output, Outputs, choose
from predictor.v2.served_models import ServedModels
from predictor.v2.tensors import Rows, Signature, TensorHead, rows_of_anything, rows_of_bytes

SERVER_NAME = "telltale"
EXTENSIONS = ("binary_tensor_data", "model_repository")
_REQUEST_ID = "x-request-id"
# From so many values on, decoding and scoring go to a thread.
_MANY_VALUES = 1_000


class TelltaleModel(Model):  # type: ignore[misc]  # KServe's SDK has no types
    """A model, or one of its versions; scores KServe's ``InferRequest`` and V1's ``{"instances": [...]}``.

    Args:
        name: the model's.
        version: one of its versions; None for the default.
        inference: what scores.
        served: what knows about models.

    """

    def __init__(self, name: str, version: str | None, inference: Inference, served: ServedModels) -> None:
        super().__init__(name)
        self.version = version
        self.ready = True  # models are here because they can be had; whether they can serve, healthy() tells
        self._inference = inference
        self._served = served

    async def healthy(self) -> bool:
        """Tell whether the model can serve."""
        return await self._served.is_ready(self.name, self.version)

    async def get_input_types(self) -> list[dict[str, Any]]:
        """Return the input's metadata."""
        return [msgspec.to_builtins(tensor) for tensor in (await self._served.metadata(self.name, self.version)).inputs]

    async def get_output_types(self) -> list[dict[str, Any]]:
        """Return the outputs' metadata."""
        return [
            msgspec.to_builtins(tensor) for tensor in (await self._served.metadata(self.name, self.version)).outputs
        ]

    async def signature(self) -> Signature:
        """Return what the version that would answer takes; errors as of :meth:`predict`."""
        return self._inference.signature(await self._inference.version(self.name, self.version))

    async def predict(
        self,
        payload: dict[str, Any] | InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,  # noqa: ARG002 - the shape of KServe's method
    ) -> dict[str, Any] | InferResponse:
        """Score a request.

        Raises:
            BadInferRequest: it cannot be taken.
            UnknownModel, UnknownVersion, NotLoadable, StoreUnavailable: the version cannot be had.

        """
        started = self._inference.clock()
        loaded = await self._inference.version(self.name, self.version)
        request_id = (headers or {}).get(_REQUEST_ID, "")
        scored = self._predictions if isinstance(payload, dict) else self._outputs
        if _size_of(payload) < _MANY_VALUES:
            return scored(payload, loaded, started, request_id)
        return await self._inference.threads.compute(scored, payload, loaded, started, request_id)

    def _predictions(self, body: Any, loaded: LoadedVersion, started: float, request_id: str) -> dict[str, Any]:
        rows = v1.rows_of(body, self._inference.signature(loaded))
        decision = self._inference.rows(loaded, rows, started=started, request_id=request_id, protocol="v1")
        return v1.predictions(decision)

    def _outputs(self, request: Any, loaded: LoadedVersion, started: float, request_id: str) -> InferResponse:
        rows = _rows(request, self._inference.signature(loaded))
        protocol: Protocol = "v2-grpc" if request.from_grpc else "v2-rest"
        outputs = _asked(request)
        decision = self._inference.rows(loaded, rows, started=started, request_id=request_id, protocol=protocol)
        return InferResponse(
            response_id=request.id,
            model_name=loaded.model,
            model_version=loaded.version,
            infer_outputs=[_output(output, decision) for output in outputs],
            use_binary_outputs=request.use_binary_outputs,
            # KServe would forget the form that the whole request asks for; here it is settled for each output.
            requested_outputs=[RequestedOutput(output.name, {"binary_data": output.binary}) for output in outputs],
        )


class TelltaleRepository(ModelRepository):  # type: ignore[misc]  # KServe's SDK has no types
    """KServe's view of the models: those that serve by default, and others once they are asked for."""

    def __init__(self, inference: Inference, served: ServedModels) -> None:
        super().__init__()
        self._inference = inference
        self._served = served

    def model(self, name: str, version: str | None) -> TelltaleModel:
        """Return a model, or one of its versions; it may be one that there is not."""
        return TelltaleModel(name, version, self._inference, self._served)

    def get_model(self, name: str) -> TelltaleModel | None:
        """Return a model that serves by default, or None."""
        return self.model(name, None) if self._inference.loaded.default(name) is not None else None

    def get_models(self) -> dict[str, TelltaleModel]:
        """Return the models that serve by default."""
        return {name: self.model(name, None) for name in sorted(self._inference.loaded.defaults)}

    def load(self, name: str) -> bool:
        """Refuse: what is served follows the registry."""
        raise RepositoryIsReadOnly(read_only(name, "loaded"))

    def unload(self, name: str) -> None:
        """Refuse: what is served follows the registry."""
        raise RepositoryIsReadOnly(read_only(name, "unloaded"))


class TelltaleDataPlane(DataPlane):  # type: ignore[misc]  # KServe's SDK has no types
    """KServe's plane, aware of versions; implements :class:`predictor.v2.plane.Plane`.

    Args:
        repository: the models.
        served: what knows about models and versions.
        is_ready: tells whether everything that should be served can be.
        version: this server's own.

    """

    def __init__(
        self, repository: TelltaleRepository, served: ServedModels, is_ready: Callable[[], bool], *, version: str
    ) -> None:
        super().__init__(repository)
        self._repository = repository
        self._served = served
        self._is_ready = is_ready
        self._server_name = SERVER_NAME
        self._server_version = version

    def metadata(self) -> dict[str, Any]:
        """Return the server's name, version and extensions."""
        return {"name": self._server_name, "version": self._server_version, "extensions": list(EXTENSIONS)}

    async def ready(self) -> bool:
        """Tell whether everything that should be served can be."""
        return self._is_ready()

    async def get_model(self, name: str, version: str | None = None) -> TelltaleModel:
        """Return a model, or one of its versions; what it cannot do it says when it is asked to."""
        return self._repository.model(name, version)

    async def model_names(self) -> list[str]:
        """Return the models that have a version."""
        return await self._served.names()

    async def model_metadata(self, model_name: str, model_version: str | None = None) -> dict[str, Any]:
        """Return what a model, or one of its versions, takes and gives."""
        document: dict[str, Any] = msgspec.to_builtins(await self._served.metadata(model_name, model_version))
        return document

    async def model_ready(
        self,
        model_name: str,
        disable_predictor_health_check: bool = False,  # noqa: ARG002 - the shape of KServe's method
        model_version: str | None = None,
    ) -> bool:
        """Tell whether a model, or one of its versions, can serve."""
        return await (await self.get_model(model_name, model_version)).healthy()

    async def signature(self, model_name: str, model_version: str | None = None) -> Signature:
        """Return what the version that would answer takes."""
        return await (await self.get_model(model_name, model_version)).signature()

    async def index(self, *, ready_only: bool) -> list[dict[str, str]]:
        """Return every version and whether it can serve."""
        return [msgspec.to_builtins(entry) for entry in await self._served.index(ready_only=ready_only)]

    async def infer(
        self,
        model_name: str,
        request: dict[str, Any] | InferRequest,
        headers: dict[str, str] | None = None,
        *,
        model_version: str | None = None,
    ) -> tuple[dict[str, Any] | InferResponse, dict[str, str]]:
        """Score a V1 body or an ``InferRequest``, by the version named here or in the request."""
        named = model_version or getattr(request, "model_version", None) or None
        model = await self.get_model(model_name, named)
        response, response_headers = await model(request, headers=headers)
        return response, response_headers


def _rows(request: InferRequest, signature: Signature) -> Rows:
    if len(request.inputs) != 1:
        raise BadInferRequest(f"inputs has {len(request.inputs)} tensors; a model takes one, with all features")
    tensor: InferInput = request.inputs[0]
    head = TensorHead("inputs[0]", tensor.datatype, tensor.shape)
    # KServe keeps what came as bytes in this attribute, which has no public name.
    raw: bytes | None = tensor._raw_data
    if raw is not None:
        return rows_of_bytes(head, raw, signature)
    data = tensor.data.tolist() if isinstance(tensor.data, np.ndarray) else tensor.data
    return rows_of_anything(head, data, signature)


def _asked(request: InferRequest) -> Outputs:
    by_default = bool(request.use_binary_outputs)
    if not request.request_outputs:
        return AS_BYTES if by_default else AS_LISTS
    # gRPC has either all outputs as bytes or none.
    asked = [(output.name, None if request.from_grpc else output.binary_data) for output in request.request_outputs]
    return choose([(name, by_default if binary is None else bool(binary)) for name, binary in asked])


def _output(output: Output, decision: NDArray[np.float64]) -> InferOutput:
    values = output.values(decision)
    tensor = InferOutput(output.name, list(values.shape), output.datatype)
    tensor.set_data_from_numpy(values, binary_data=output.binary)
    return tensor


def _size_of(payload: dict[str, Any] | InferRequest) -> int:
    """Return about how many values a request has."""
    if isinstance(payload, dict):
        rows = payload.get("instances")
        return sum(len(row) for row in rows if isinstance(row, list | dict)) if isinstance(rows, list) else 0
    contents = [tensor.data if tensor._raw_data is None else tensor._raw_data for tensor in payload.inputs]
    return sum(len(content) for content in contents if isinstance(content, list | bytes | np.ndarray))

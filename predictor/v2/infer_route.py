"""``POST .../infer``: small requests on the event loop, large ones in a thread, both with the same answers."""

from __future__ import annotations

from typing import ClassVar

from predictor.hotpath.exchange import HttpRequest, Scope
from predictor.models.version_reader import LoadedVersion
from predictor.problems import Answer
from predictor.v2.errors import error_answer
from predictor.v2.inference import Inference
from predictor.v2.json_answer import infer_answer, lone_answer
from predictor.v2.json_request import lone_record, read_request
from predictor.v2.request_headers import json_size as json_size_of

# Up to here a request takes less than a thread's change costs: some 100 rows of 8 features.
_QUICK_BYTES = 16 * 1024


class InferRoute:
    """Scores by one model, or by one of its versions.

    Args:
        inference: finds versions, and scores.
        model: the name in the path.
        version: the version in the path; None for the model's default.
        template: the path's template, for metrics.

    """

    method: ClassVar[str] = "POST"
    scope: ClassVar[Scope | None] = "telemetry:score"

    def __init__(self, inference: Inference, model: str, version: str | None, template: str) -> None:
        self.template = template
        self._inference = inference
        self._model = model
        self._version = version

    def quick(self, request: HttpRequest) -> Answer | None:
        """Answer a small request by a version in memory; None if it must wait.

        Raises:
            BadInferRequest, UnsupportedMedia: it cannot be taken.

        """
        body = request.body
        if len(body) > _QUICK_BYTES:
            return None
        loaded = self._inference.resident(self._model, self._version)
        if loaded is None:
            return None
        started = self._inference.clock()
        json_size = json_size_of(request.headers)
        lone = lone_record(body) if json_size is None else None
        if lone is None or len(lone[0]) != loaded.scorer.n_features:
            return self._scored(request, loaded, json_size, started)
        decision = self._inference.record(
            loaded, lone[0], started=started, request_id=request.request_id, protocol="v2-rest"
        )
        return Answer(200, lone_answer(loaded.model, loaded.version, lone[1], decision))

    async def answer(self, request: HttpRequest) -> Answer:
        """Answer any request.

        Raises:
            BadInferRequest, UnsupportedMedia: it cannot be taken.
            UnknownModel, UnknownVersion, NotLoadable, StoreUnavailable: the version cannot be had.

        """
        started = self._inference.clock()
        json_size = json_size_of(request.headers)
        loaded = await self._inference.version(self._model, self._version)
        if len(request.body) <= _QUICK_BYTES:
            return self._scored(request, loaded, json_size, started)
        return await self._inference.threads.compute(self._scored, request, loaded, json_size, started)

    def error_answer(self, error: Exception, request_id: str) -> Answer:
        """Return what tells the client about ``error``."""
        return error_answer(error, request_id)

    def _scored(self, request: HttpRequest, loaded: LoadedVersion, json_size: int | None, started: float) -> Answer:
        asked = read_request(request.body, json_size, self._inference.signature(loaded))
        decision = self._inference.rows(
            loaded, asked.rows, started=started, request_id=request.request_id, protocol="v2-rest"
        )
        return infer_answer(loaded.model, loaded.version, asked.id, asked.outputs, decision)

"""What the predictor refuses or cannot do, beside the contract's and the store's errors.

PredictorError
├── UnsupportedMedia     the body is not application/json, or is compressed
├── BadHeader            a request header's value cannot be taken
├── ClientGone           the client went away before its body was complete
├── NotServed            faults name the places that asked for it
│   ├── UnknownModel     no model has this name, or it has no default version yet
│   └── UnknownVersion   the model has no such version
├── UnknownJob           no ingest job has this id
├── KeyReused            an Idempotency-Key came again with another body
├── KeyBusy              the first request with this Idempotency-Key has not ended; try again after a while
├── NotLoadable          a version exists and its artefact cannot be used
├── TrainingFailed       a batch was accepted and its training failed for good
├── ShuttingDown         the server ends before the answer is ready
└── CannotListen         the address cannot be listened on (ends the process, never a request)

:mod:`predictor.problems` maps them to status codes; they know none themselves.
"""

from __future__ import annotations

from contract.errors import Fault


class PredictorError(Exception):
    """Base of the predictor's errors."""


class UnsupportedMedia(PredictorError):
    """The body is not in a form that this route reads."""


class BadHeader(PredictorError):
    """A request header's value cannot be taken."""


class ClientGone(PredictorError):
    """The client went away before its request was complete."""


class NotServed(PredictorError):
    """A model or version that was asked for cannot answer; ``faults`` names where the request asked for it."""

    def __init__(self, detail: str, faults: list[Fault] | None = None, *, more: int = 0) -> None:
        super().__init__(detail)
        self.faults = faults or []
        self.more = more


class UnknownModel(NotServed):
    """No model has this name, or it has no default version yet."""


class UnknownVersion(NotServed):
    """The model has no such version."""


class UnknownJob(PredictorError):
    """No ingest job has this id."""


class KeyReused(PredictorError):
    """An Idempotency-Key came again with another body."""


class KeyBusy(PredictorError):
    """The first request with this Idempotency-Key has not ended."""

    retry_after = 1


class NotLoadable(PredictorError):
    """A version exists and its artefact cannot be used."""

    retry_after = 10


class TrainingFailed(PredictorError):
    """A batch was accepted, and its training failed for good."""

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(f"the training of job {job} failed: {reason}")
        self.job = job


class ShuttingDown(PredictorError):
    """The server ends before the answer is ready."""

    retry_after = 5


class CannotListen(PredictorError):
    """The address cannot be listened on."""

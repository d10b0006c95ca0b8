"""What is wrong with input that a caller gave us, in terms the caller can act on.

    ContractError
    ├── InvalidInput       the request is well formed and says something we refuse: each Fault names a place
    ├── Malformed          the bytes are not what they claim to be (JSON, UTF-8, forest file)
    ├── TooLarge           a limit on size was passed before anything was parsed
    └── CorruptArtifact    a stored file does not match its digest or its format

Nothing here knows HTTP: the predictor maps these to status codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where.

    Args:
        pointer: RFC 6901 JSON pointer into the request body, such as ``/records/3/vehicle_id``.
        detail: a sentence that says what the limit was, what came, and what to do.
        value: what came, shortened so that it can be shown.
        limit: the limit that was passed, where there is one.

    """

    pointer: str
    detail: str
    value: str | None = None
    limit: str | None = None


class ContractError(ValueError):
    """Base of every error about input."""


class Malformed(ContractError):
    """The bytes are not what they claim to be."""


class TooLarge(ContractError):
    """The input passes a limit on its size."""

    def __init__(self, detail: str, *, limit: int) -> None:
        super().__init__(detail)
        self.limit = limit


class CorruptArtifact(ContractError):
    """A stored artefact is damaged: its digest, format or structure is wrong."""


class InvalidInput(ContractError):
    """The input is well formed and still refused; ``faults`` says where and why."""

    def __init__(self, faults: list[Fault], *, more: int = 0) -> None:
        first = faults[0]
        super().__init__(f"{first.pointer}: {first.detail}")
        self.faults = faults
        self.more = more


def shown(value: Any, longest: int = 80) -> str:
    """Return ``value`` as text that fits in an error message."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"

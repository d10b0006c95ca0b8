"""What is served by default, as a value that every part can hold without a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ServedVersion:
    """A model's default version, the digest its artefact must have (None: any), and since when it is the default."""

    model: str
    version: str
    digest: str | None
    since: datetime

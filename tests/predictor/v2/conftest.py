"""A running server of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract.telemetry import Limits
from tests.predictor.v2.serving import Serving, serving

MOST_ROWS = 2_000
MOST_BYTES = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that a module's tests share: what they change they change back."""
    folder: Path = tmp_path_factory.mktemp("objects")
    with serving(folder, Limits(records=MOST_ROWS, body_bytes=MOST_BYTES)) as started:
        yield started


@pytest.fixture
def http(protocol: Serving) -> Iterator[httpx.Client]:
    """A client of its REST side."""
    with httpx.Client(base_url=protocol.url, timeout=30) as client:
        yield client

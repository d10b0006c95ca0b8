"""What a newcomer is told: a request that has an answer."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from standalone import first_start
from standalone.first_start import SAMPLE_MODEL


class Served:
    """A server whose sample fleet is served from the third question on."""

    def __init__(self, after: int) -> None:
        self.asked = 0
        self._after = after

    def models(self) -> dict[str, Any]:
        self.asked += 1
        default = "20260101000000" if self.asked > self._after else None
        return {"models": [{"model": SAMPLE_MODEL, "default_version": default}]}


def test_nobody_is_invited_to_score_before_the_sample_fleet_is_served() -> None:
    client, said = Served(after=2), []
    first_start._invite(client, "http://x", None, said.append, threading.Event())  # type: ignore[arg-type]
    assert client.asked == 3
    assert said[0].startswith("try it       curl -s http://x/score")


def test_one_that_is_never_served_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_start, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(first_start, "_POLL_SECONDS", 0.01)
    said: list[str] = []
    first_start._invite(Served(after=10**9), "http://x", None, said.append, threading.Event())  # type: ignore[arg-type]
    assert said == [f"first start  {SAMPLE_MODEL} is not served yet; http://x/models tells when it is"]

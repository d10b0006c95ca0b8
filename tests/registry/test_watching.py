"""What becomes of a watch that kopf gives up; that kopf watches is tested on a real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf
import pytest
from kopf._cogs.clients.errors import APIClientError

from registry import watching


class Operator:
    """Stands for kopf's operator: fails as it is told, then returns."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.runs = list(failures), 0

    async def __call__(self, **_: Any) -> None:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)


def answered(status: int) -> APIClientError:
    """Return what kopf raises at an answer."""
    return APIClientError("the continue token is too old", status=status, headers={})


def run(monkeypatch: pytest.MonkeyPatch, operator: Operator, *, stopped: bool = False) -> None:
    """Watch until the operator returns, or raises what is not ours to mend."""
    monkeypatch.setattr(kopf, "operator", operator)

    async def watch() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        if stopped:
            stop.set()
        await watching.watch(lambda _key, _hurry: None, ["fleet"], stop, ready)

    asyncio.run(watch())


def test_all_watches_are_begun_anew_where_a_list_expired_while_it_was_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    operator = Operator(answered(410), answered(410))
    run(monkeypatch, operator)
    assert operator.runs == 3
    assert caplog.text.count("the continue token is too old") == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_another_refusal_ends_the_controller(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    operator = Operator(answered(status))
    with pytest.raises(APIClientError):
        run(monkeypatch, operator)
    assert operator.runs == 1


def test_nothing_is_begun_anew_once_we_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(APIClientError):
        run(monkeypatch, Operator(answered(410)), stopped=True)

from __future__ import annotations

import json
from base64 import b64encode
from threading import Event
from typing import Any

import httpx2 as httpx
import pytest

from registry.notifications import Notification, Notifier

SENT = Notification("fleet", "hook", {"phase": "Healthy"})


class Secrets:
    """The API server, which has one Secret."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    def get(self, *_: Any) -> dict[str, Any] | None:
        return None if self._url is None else {"data": {"url": b64encode(self._url.encode()).decode()}}


class Now(Event):
    """Time that passes at once."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        return False


def notifier(url: str | None, *answers: int | Exception) -> tuple[Notifier, list[httpx.Request]]:
    left, asked = list(answers), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        return httpx.Response(given)

    api: Any = Secrets(url)
    return Notifier(api, httpx.MockTransport(answer)), asked


def test_a_document_is_posted_to_the_url_of_the_secret() -> None:
    found, asked = notifier("https://hooks.example.com/x", 204)
    assert found.post(SENT, Now())
    assert str(asked[0].url) == "https://hooks.example.com/x"
    assert json.loads(asked[0].content) == {"phase": "Healthy"}


def test_a_receiver_that_stumbles_is_tried_three_times_and_no_more() -> None:
    found, asked = notifier("https://hooks.example.com/x", 500, httpx.ConnectError("x"), 200)
    assert found.post(SENT, Now())
    found, asked = notifier("https://hooks.example.com/x", 500, 500, 500)
    assert not found.post(SENT, Now())
    assert len(asked) == 3


def test_a_redirect_is_not_followed() -> None:
    found, asked = notifier("https://hooks.example.com/x", 302, 302, 302)
    assert not found.post(SENT, Now())
    assert {str(request.url) for request in asked} == {"https://hooks.example.com/x"}


@pytest.mark.parametrize("url", [None, "", "file:///etc/passwd", "ftp://x"])
def test_without_a_url_of_the_web_nothing_is_posted(url: str | None) -> None:
    found, asked = notifier(url)
    assert not found.post(SENT, Now())
    assert asked == []


def test_the_url_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    found, _ = notifier(
        "https://hooks.example.com/secret", *[httpx.ConnectError("https://hooks.example.com/secret")] * 3
    )
    assert not found.post(SENT, Now())
    assert "secret" not in caplog.text


def test_sending_never_waits_and_drops_what_is_too_much() -> None:
    found, _ = notifier("https://hooks.example.com/x")
    for _ in range(1100):
        found.send(SENT)

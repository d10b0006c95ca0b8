from __future__ import annotations

import contextlib
import json
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import httpx2 as httpx
import pytest

from registry import notifications
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


def notifier(
    url: str | None, *answers: int | Exception, clock: Callable[[], float] | None = None
) -> tuple[Notifier, list[httpx.Request]]:
    left, asked = list(answers), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        return httpx.Response(given)

    api: Any = Secrets(url)
    return Notifier(api, clock or time.monotonic, httpx.MockTransport(answer)), asked


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


def test_a_url_that_brings_about_any_error_costs_its_own_notification_alone(caplog: pytest.LogCaptureFixture) -> None:
    found, asked = notifier("http://a..b/secret", UnicodeError("http://a..b/secret"), 200)
    stop, posted = Event(), list[Notification]()
    post = found.post

    def both(notification: Notification, stop: Event) -> bool:
        posted.append(notification)
        if len(posted) == 2:
            stop.set()
        return post(notification, stop)

    found.post = both  # type: ignore[method-assign]
    for _ in range(2):
        found.send(SENT)
    found.run(stop)
    assert posted == [SENT, SENT]
    assert len(asked) == 2
    assert caplog.text.count("Secret fleet/hook: nothing could be posted: UnicodeError") == 1
    assert "a..b" not in caplog.text


@contextmanager
def receiver(answer: bytes) -> Iterator[str]:
    """A server that says so much, and then a letter now and then; give its URL."""
    done = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)
                with contextlib.suppress(OSError):
                    while not done.wait(0.05):
                        connection.sendall(b"x")

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            done.set()
            thread.join(10)


def posted_to(url: str) -> bool:
    """Post once to a real server."""
    api: Any = Secrets(url)
    stop = Event()
    stop.set()
    return Notifier(api, time.monotonic).post(SENT, stop)


def test_a_body_that_never_ends_is_not_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    with receiver(head) as url:
        began = time.monotonic()
        assert posted_to(url)
        assert time.monotonic() - began < notifications._TIMEOUT_SECONDS


def test_an_answer_that_trickles_is_given_up_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notifications, "_TIMEOUT_SECONDS", 0.5)
    with receiver(b"HTTP/1.1 200 OK\r\nX-Slow: ") as url:
        assert not posted_to(url)
    assert "took nothing: TimeoutError" in caplog.text


def test_a_receiver_that_took_nothing_a_minute_ago_is_tried_once_and_later_three_times_again() -> None:
    now = [0.0]
    found, asked = notifier("https://hooks.example.com/x", *[500] * 8, 200, 500, 500, 500, clock=lambda: now[0])
    tried = []
    for later in (0.0, 59.0, 59.0, 60.0, 1.0, 1.0):
        now[0] += later
        asked.clear()
        found.post(SENT, Now())
        tried.append(len(asked))
    assert tried == [3, 1, 1, 3, 1, 3], "taken once, it is trusted again"


def test_a_receiver_that_hangs_holds_up_none_but_one_of_the_threads() -> None:
    found, _ = notifier("https://hooks.example.com/x")
    stop, hangs, taken = Event(), Event(), Event()

    def post(notification: Notification, _: Event) -> bool:
        return bool(hangs.wait(30)) if notification.secret == "dead" else not taken.set()

    found.post = post  # type: ignore[method-assign]
    threads = [Thread(target=found.run, args=(stop,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    found.send(Notification("fleet", "dead", {}))
    found.send(SENT)
    assert taken.wait(10)
    stop.set()
    hangs.set()
    for thread in threads:
        thread.join(10)

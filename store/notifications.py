"""Following PostgreSQL's notifications in a thread.

A notification only says that something may have changed: it can be lost with its connection. So the listener also
calls back at every reconnection and at a steady interval, and callers read the state afresh each time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg

from store.postgres import connection_options

_log = logging.getLogger(__name__)

Callback = Callable[[str | None], None]


class Notifications:
    """Calls ``callback(payload)`` for every notification on ``channel``, and ``callback(None)`` every ``interval``.

    Args:
        url: the database.
        channel: the channel to listen on.
        callback: called in the listener's thread; an exception of its own ends nothing but is logged.
        interval: seconds between calls without a notification; also the wait before reconnecting.

    """

    def __init__(self, url: str, channel: str, callback: Callback, *, interval: float = 1.0) -> None:
        self._url = url
        self._channel = channel
        self._callback = callback
        self._interval = interval
        self._stopped = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name=f"listen-{channel}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; returns when the thread has ended or after a few seconds."""
        self._stopped.set()
        self._thread.join(timeout=self._interval + 5)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                # Said once for each time it goes away, not at every try to reconnect.
                level = logging.DEBUG if self._away else logging.WARNING
                _log.log(level, "lost the connection that listens on %s: %s", self._channel, error)
                self._away = True
                self._stopped.wait(self._interval)

    def _listen(self) -> None:
        with psycopg.connect(self._url, autocommit=True, **connection_options()) as connection:
            connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel)))
            if self._away:
                self._away = False
                _log.info("listening on %s again", self._channel)
            while not self._stopped.is_set():
                self._call(None)
                for notification in connection.notifies(timeout=self._interval):
                    self._call(notification.payload)
                    if self._stopped.is_set():
                        return

    def _call(self, payload: str | None) -> None:
        try:
            self._callback(payload)
        except Exception:  # noqa: BLE001 - one bad callback must not end the listening; it is logged whole
            _log.exception("a callback of %s failed", self._channel)

"""Empties the table of predictions while it is filled: what ten million records take on disk is not what is looked for.

The predictor's own retention drops whole days; a run is shorter than one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

_INTERVAL_SECONDS = 10.0
# Emptying waits for a COPY under way, and the next one waits behind it: rather another time than long.
_EMPTY = "SET lock_timeout = '2s'; TRUNCATE telltale.predictions"


@contextmanager
def kept_small(database_url: str) -> Iterator[None]:
    """Empty the table every few seconds while the block runs."""
    ended = threading.Event()
    thread = threading.Thread(target=_run, args=(database_url, ended), name="table", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _run(database_url: str, ended: threading.Event) -> None:
    while not ended.wait(_INTERVAL_SECONDS):
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute(_EMPTY)
        except psycopg.OperationalError:
            continue  # busy; the next time will do

"""The table of predictions before PostgreSQL's library is there: refuses for now, and passes on from then on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from store.errors import StoreUnavailable
from store.prediction_rows import PredictionRows


class Table(Protocol):
    """Where predictions go: :class:`store.prediction_log.PredictionTable`."""

    def append(self, groups: Sequence[PredictionRows], /) -> None:
        """Write all or none."""

    def prepare(self, now: datetime, /) -> None:
        """Make room for the next days."""

    def retain(self, now: datetime, /) -> object:
        """Drop what is out of retention."""


class LateTable:
    """A table that is named once it can be."""

    def __init__(self) -> None:
        self._table: Table | None = None

    def name(self, table: Table) -> None:
        """Pass everything on to ``table`` from now on."""
        self._table = table

    def append(self, groups: Sequence[PredictionRows], /) -> None:
        """Write all or none; StoreUnavailable before there is a table."""
        self._there().append(groups)

    def prepare(self, now: datetime, /) -> None:
        """Make room for the next days; StoreUnavailable before there is a table."""
        self._there().prepare(now)

    def retain(self, now: datetime, /) -> object:
        """Drop what is out of retention; StoreUnavailable before there is a table."""
        return self._there().retain(now)

    def _there(self) -> Table:
        if self._table is None:
            raise StoreUnavailable("PostgreSQL is not connected yet")
        return self._table

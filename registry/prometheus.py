"""Instant queries to Prometheus, which gives one number, or none, or does not answer: three different things.

A query that can never give one number is a fourth: it holds a gate as no data does, and a person is told to mend it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import httpx2 as httpx

from registry.errors import NotOneNumber, PrometheusUnavailable

# Bad data, and a query that cannot be carried out (many-to-many matching, too many samples).
_REFUSALS = (400, 422)
_LONGEST = 300

Ask = Callable[[str], float | None]
"""Asks a query; returns its number (which may be NaN) or None; raises PrometheusUnavailable or NotOneNumber."""


def filled_in(query: str, values: Mapping[str, str]) -> str:
    """Return a query with its placeholders, such as `{candidate}`, filled in; other braces are PromQL's own."""
    for name, value in values.items():
        query = query.replace(f"{{{name}}}", value)
    return query


class Prometheus:
    """A Prometheus server, or what speaks its query API (Thanos, Mimir, a managed one).

    Args:
        url: its address, with a path where it has one.
        timeout: seconds for a query, here and there.
        headers: sent along, such as a bearer token.

    """

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> None:
        self._timeout = timeout
        self._client = httpx.Client(
            base_url=url.rstrip("/"), timeout=httpx.Timeout(timeout), headers=dict(headers or {}), trust_env=False
        )

    def ask(self, query: str) -> float | None:
        """Return the one number that a query gives, or None where it gives none.

        Raises:
            PrometheusUnavailable: it does not answer, or is not well.
            NotOneNumber: it refuses the query, or the query gives something else than one number.

        """
        data = {"query": query, "timeout": f"{self._timeout:g}s"}
        try:
            answer = self._client.post("/api/v1/query", data=data)
            document: Any = answer.json()
        except httpx.HTTPError as error:
            raise PrometheusUnavailable(f"Prometheus does not answer: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise PrometheusUnavailable(f"Prometheus: {answer.status_code} without a JSON document") from error
        if not isinstance(document, dict):
            raise PrometheusUnavailable(f"Prometheus: {answer.status_code} with a document that is no object")
        if answer.status_code in _REFUSALS:
            raise NotOneNumber(f"Prometheus refuses the query: {document.get('error')}"[:_LONGEST])
        if document.get("status") != "success":
            raise PrometheusUnavailable(f"Prometheus: {answer.status_code}: {document.get('error')}")
        return _number(document.get("data") or {})

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _number(data: Mapping[str, Any]) -> float | None:
    """Return the number of a scalar, or of a vector's one element."""
    kind, result = data.get("resultType"), data.get("result") or []
    if kind == "scalar":
        return _parsed(result)
    if kind == "vector" and len(result) == 1:
        return _parsed(result[0].get("value"))
    if kind == "vector" and not result:
        return None
    if kind == "vector":
        raise NotOneNumber(f"the query gives {len(result)} values, and one is needed: sum them up, or select one")
    raise NotOneNumber(f"the query gives a {kind}, and one number is needed")


def _parsed(sample: Any) -> float | None:
    try:
        return float(sample[1])
    except (TypeError, ValueError, IndexError):
        return math.nan

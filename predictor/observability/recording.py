"""The hot path's recorder: what was scored goes into the metrics, the request's span, and the prediction log."""

from __future__ import annotations

from collections.abc import Sequence

from predictor.hotpath.exchange import Recorder, Scored
from predictor.models.version_reader import LoadedVersion
from predictor.observability.prediction_log import PredictionLog
from predictor.observability.tracing import current_span
from predictor.observability.version_tally import VersionTallies
from store.prediction_rows import WireProtocol


class Recording(Recorder):
    """Takes note of what was scored; never raises, never waits.

    Args:
        versions: the metrics by model version; None counts nothing.
        log: the prediction log; None keeps no records.

    """

    def __init__(self, versions: VersionTallies | None, log: PredictionLog | None = None) -> None:
        self._versions = versions
        self._log = log

    def many(self, scored: Scored) -> None:
        """Take note of rows that one version scored; any thread may call it.

        The arrays are kept, not copied, until they are written: nobody may change them afterwards.
        """
        loaded = scored.loaded
        if self._versions is not None:
            self._versions.many(loaded.model, loaded.version, scored.decision, scored.seconds)
        span = current_span.get()
        if span is not None:
            span.scored(loaded.model, loaded.version, len(scored.decision), scored.seconds)
        if self._log is not None:
            self._log.many(scored)

    def one(
        self,
        loaded: LoadedVersion,
        decision: float,
        values: Sequence[float],
        *,
        seconds: float,
        request_id: str,
        protocol: WireProtocol,
        vehicle_id: str | None = None,
    ) -> None:
        """Take note of one row; called on the event loop."""
        if self._versions is not None:
            self._versions.one(loaded.model, loaded.version, decision, seconds)
        span = current_span.get()
        if span is not None:
            span.scored(loaded.model, loaded.version, 1, seconds)
        if self._log is not None:
            self._log.one(loaded, decision, values, request_id, protocol, vehicle_id)

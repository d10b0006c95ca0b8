"""What a predictor has from its first moment, and what the parts that take long to import are built on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from predictor.hotpath.frame import Frame
from predictor.hotpath.score_route import ScoreRoute
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import VersionReader
from predictor.observability.metrics import Metrics
from predictor.observability.recording import Recording
from predictor.observability.tracing import Tracing
from predictor.security.composition import Security
from predictor.settings import PredictorSettings
from predictor.threads import Threads
from store.late_table import LateTable
from store.model_store import ModelStore
from store.objects import ObjectStore


@dataclass
class Early:
    """What is there from the start, and what the later parts are built on."""

    settings: PredictorSettings
    objects: ObjectStore
    models: ModelStore
    reader: VersionReader
    loaded: LoadedVersions
    threads: Threads
    metrics: Metrics
    security: Security
    recording: Recording
    prediction_table: LateTable | None
    tracing: Tracing | None
    frame: Frame
    score: ScoreRoute
    default_model: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

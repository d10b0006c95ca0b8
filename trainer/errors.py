"""What can go wrong in training.

TrainingError
├── TrackingUnavailable    MLflow does not answer for now: the job is tried again
│   └── TrackingForbidden  MLflow does not let us in: the same, until a person mends the account
├── TrackingRefused        MLflow answers, and refuses what it was given
├── AttemptRunning         another worker is at this batch: the job is tried again later
├── HandedBack             this worker stops: another begins anew
├── Faulted                an attempt failed and there will be another
└── UntrainableBatch       this batch can never become a version: trying again would change nothing
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of the trainer's errors."""


class TrackingUnavailable(TrainingError):
    """MLflow does not answer for now."""


class TrackingForbidden(TrackingUnavailable):
    """MLflow does not know our account, or it may not do this; says nothing against the batch."""


class TrackingRefused(TrainingError):
    """MLflow answers, and refuses what it was given."""


class AttemptRunning(TrainingError):
    """Another worker is at this batch."""


class UntrainableBatch(TrainingError):
    """A batch that can never become a version."""


class HandedBack(TrainingError):
    """The worker stops and leaves the batch to another."""


class Faulted(TrainingError):
    """An attempt at a batch failed, and there will be another; ``faults`` failed so far."""

    def __init__(self, faults: int) -> None:
        super().__init__(f"{faults} attempts failed so far")
        self.faults = faults

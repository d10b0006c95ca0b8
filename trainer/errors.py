"""What can go wrong in training.

TrainingError
├── TrackingUnavailable    MLflow does not answer for now: the job is tried again
├── TrackingRefused        MLflow answers, and refuses what it was given
├── AttemptRunning         another worker is at this batch: the job is tried again later
└── UntrainableBatch       this batch can never become a version: trying again would change nothing
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of the trainer's errors."""


class TrackingUnavailable(TrainingError):
    """MLflow does not answer for now."""


class TrackingRefused(TrainingError):
    """MLflow answers, and refuses what it was given."""


class AttemptRunning(TrainingError):
    """Another worker is at this batch."""


class UntrainableBatch(TrainingError):
    """A batch that can never become a version."""

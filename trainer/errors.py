"""What can go wrong in training.

TrainingError
├── TrackingUnavailable    MLflow does not answer for now: the job is tried again
└── UntrainableBatch       this batch can never become a version: trying again would change nothing
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of the trainer's errors."""


class TrackingUnavailable(TrainingError):
    """MLflow does not answer for now."""


class UntrainableBatch(TrainingError):
    """A batch that can never become a version."""

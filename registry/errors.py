"""What can go wrong in the control plane.

RegistryError
├── MlflowUnavailable    MLflow does not answer for now: change nothing and try again
└── NotRegistered        MLflow has no such model or version (any more)
"""

from __future__ import annotations


class RegistryError(Exception):
    """Base of the registry's errors."""


class MlflowUnavailable(RegistryError):
    """MLflow does not answer for now."""


class NotRegistered(RegistryError):
    """MLflow has no such model or version (any more)."""

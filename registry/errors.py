"""What can go wrong in the control plane.

RegistryError
├── MlflowUnavailable    MLflow does not answer for now: change nothing and try again
│   └── MlflowForbidden  MLflow does not let us in: the same, until a person mends the account
└── NotRegistered        MLflow has no such model or version (any more)
"""

from __future__ import annotations


class RegistryError(Exception):
    """Base of the registry's errors."""


class MlflowUnavailable(RegistryError):
    """MLflow does not answer for now."""


class MlflowForbidden(MlflowUnavailable):
    """MLflow does not know our account, or it may not do this."""


class NotRegistered(RegistryError):
    """MLflow has no such model or version (any more)."""

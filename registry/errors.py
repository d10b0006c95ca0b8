"""What can go wrong in the control plane.

RegistryError
├── MlflowUnavailable          MLflow does not answer for now: change nothing and try again
│   └── MlflowForbidden        MLflow does not let us in: the same, until a person mends the account
├── NotRegistered              MLflow has no such model or version (any more)
├── KubernetesError            the API server did not do what it was asked
│   ├── KubernetesUnavailable  it does not answer, or asks to wait: try again
│   ├── KubernetesForbidden    it does not let us: the same, until a person mends the role
│   ├── Conflict               somebody wrote the object since it was read: read again
│   ├── AlreadyThere           an object of that name exists
│   ├── NotThere               there is no such object, or no such kind
│   └── Refused                it will never take this: a schema, a policy or a webhook is against it
├── NotLeading                 another replica may be leading by now: write nothing
├── PrometheusUnavailable      Prometheus does not answer for now
└── NotOneNumber               a query is wrong, or gives several values: a person has to mend it
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


class KubernetesError(RegistryError):
    """The API server did not do what it was asked."""


class KubernetesUnavailable(KubernetesError):
    """The API server does not answer, or asks to wait; ``retry_after`` is in seconds, where it said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KubernetesForbidden(KubernetesError):
    """The API server does not know our account, or it may not do this."""


class Conflict(KubernetesError):
    """Somebody wrote the object since it was read."""


class AlreadyThere(KubernetesError):
    """An object of that name exists."""


class NotThere(KubernetesError):
    """There is no such object, or no such kind."""


class Refused(KubernetesError):
    """The API server will never take this."""


class NotLeading(RegistryError):
    """Another replica may be leading by now."""


class PrometheusUnavailable(RegistryError):
    """Prometheus does not answer for now."""


class NotOneNumber(RegistryError):
    """Prometheus refuses a query, or answers it with something other than one number."""

"""What the command cannot do, in words for the person who typed it.

RegistryError
└── PluginError       one sentence, or a few, that are printed as they are; exit code 1
    ├── ConfigFault   the kubeconfig does not say how to reach a cluster
    ├── CannotReach   the API server does not answer
    └── Unwatched     an action is created, and what comes of it may not be seen; exit code 4
"""

from __future__ import annotations

from registry.errors import KubernetesUnavailable, RegistryError


class PluginError(RegistryError):
    """The command cannot go on."""


class ConfigFault(PluginError):
    """The kubeconfig does not say how to reach a cluster."""


class CannotReach(PluginError, KubernetesUnavailable):
    """The API server does not answer."""


class Unwatched(PluginError):
    """An action is created, and what comes of it may not be seen."""

"""The API's names alone. Nothing is imported here: a command that has to be quick reads them without the models."""

from __future__ import annotations

GROUP = "registry.telltale.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

SERVED_MODEL_LABEL = f"{GROUP}/served-model"
REVISION_LABEL = f"{GROUP}/revision"

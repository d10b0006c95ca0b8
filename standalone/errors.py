"""What keeps Telltale from starting here, each with what to do about it.

StandaloneError
├── DataFolderInUse      another instance holds the data folder
├── DataFolderClosed     we cannot write the data folder
├── PortTaken            something listens on the port
├── NotAllowed           the settings would expose an open server
├── PostgresFailed       the embedded PostgreSQL cannot live or start here
└── StoreAway            PostgreSQL or S3 does not answer, and may yet
"""

from __future__ import annotations


class StandaloneError(Exception):
    """Base: the message is shown to the person as it is."""


class DataFolderInUse(StandaloneError):
    """Another instance holds the data folder."""


class DataFolderClosed(StandaloneError):
    """We cannot write the data folder."""


class PortTaken(StandaloneError):
    """Something else listens on the port."""


class NotAllowed(StandaloneError):
    """The settings ask for what is unsafe or not there."""


class PostgresFailed(StandaloneError):
    """The embedded PostgreSQL cannot live or start here."""


class StoreAway(StandaloneError):
    """PostgreSQL or S3 does not answer, and may yet."""

"""What can go wrong with the harness itself; it is never a verdict on the controller.

HarnessError
├── NotPlayed     the harness itself was refused something; what it played says nothing, and is played again
└── StageError    the cluster around the controller did not do its part
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of the harness's errors."""


class NotPlayed(HarnessError):
    """The harness itself was refused something."""


class StageError(HarnessError):
    """The cluster around the controller did not do its part."""

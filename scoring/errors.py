"""What scoring refuses; both are ``ValueError``, and the caller's input is at fault in both.

ValueError: a record or an array has another number of columns than the model has features.
└── OutOfRange: a value is NaN, infinite or beyond float32's range, so no tree could compare it truly.
"""

from __future__ import annotations


class OutOfRange(ValueError):
    """A value is not finite or is beyond float32's range; the message names its column."""

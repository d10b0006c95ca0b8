"""Making an input smaller, and trying one in a copy of the process."""

from __future__ import annotations

import os

import pytest

from fuzz.shrink import fails_in_child, smaller


def test_what_fails_is_reduced_to_what_matters() -> None:
    data = b"a" * 300 + b"X" + b"b" * 300 + b"Y"
    assert smaller(data, lambda tried: b"X" in tried and b"Y" in tried, seconds=5) == b"XY"


def test_shrinking_ends_in_time() -> None:
    assert smaller(b"a" * 100, lambda _: True, seconds=0) == b"a" * 100


@pytest.mark.parametrize(
    ("data", "how"), [(b"fine", ""), (b"error", "ValueError: no"), (b"crash", "SIGABRT"), (b"exit", "SystemExit: 3")]
)
def test_a_copy_of_the_process_tells_how_it_ends(data: bytes, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Even where standard error is no file, nothing goes on in the copy."""

    def function(data: bytes) -> None:
        if data == b"error":
            raise ValueError("no")
        if data == b"crash":
            os.abort()
        if data == b"exit":
            raise SystemExit(3)

    assert fails_in_child(function, data) == how
    assert capsys.readouterr() == ("", "")


def test_a_copy_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.shrink._TRY_SECONDS", 1)

    def function(_data: bytes) -> None:
        while True:
            pass

    assert fails_in_child(function, b"") == "SIGALRM"

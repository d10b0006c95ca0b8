from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.version_ids import is_version_id, next_version_id, parse_version_id

_TIMES = st.datetimes(datetime(1971, 1, 2), datetime(2990, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


def test_the_first_version_is_the_second_of_now_in_utc() -> None:
    now = datetime(2024, 1, 15, 12, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert next_version_id(now, None) == "20240115100000"


def test_a_collision_takes_the_next_free_second() -> None:
    now = datetime(2024, 1, 15, 10, 0, 0, tzinfo=UTC)
    assert next_version_id(now, "20240115100000") == "20240115100001"
    assert next_version_id(now, "20240115100059") == "20240115100100"


@given(_TIMES, _TIMES)
def test_ids_are_14_digits_and_always_grow(now: datetime, earlier: datetime) -> None:
    newest = next_version_id(earlier, None)
    following = next_version_id(now, newest)
    assert len(following) == 14
    assert following > newest
    assert is_version_id(following)


@pytest.mark.parametrize("text", ["", "2024011510000", "20240115250000", "2024011510000x", "٢٠٢٤٠١١٥١٠٠٠٠٠"])
def test_what_names_no_second_is_refused(text: str) -> None:
    assert not is_version_id(text)
    with pytest.raises(ValueError, match=r"version|does not match|unconverted|range"):
        parse_version_id(text)

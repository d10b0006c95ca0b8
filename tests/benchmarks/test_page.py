from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.figures import GOALS
from benchmarks.page import number, page
from benchmarks.plot import draw

MACHINE = "a machine"
BUSY = {"v2_grpc_busy_c16": 0.99, "kserve_kernel_grpc_busy_c16": 1.0}


@pytest.mark.parametrize(
    ("value", "text"), [(21_700.4, "21,700"), (99.96, "100"), (1.2345, "1.23"), (0.95, "0.95"), (0.0012345, "0.00123")]
)
def test_numbers_have_as_many_digits_as_say_something(value: float, text: str) -> None:
    assert number(value) == text


def test_before_any_figure_the_page_has_every_goal_and_no_verdict() -> None:
    text = page({}, {}, MACHINE)
    assert "a machine" in text
    assert all(f"`{figure.name}`" in text for figure in GOALS)
    assert "missed" not in text
    assert "| met |" not in text


def test_a_goal_is_shown_with_its_value_and_verdict() -> None:
    text = page({"score_share_of_bare_c16": 0.97, "rss_mb": 180.0}, {}, MACHINE)
    assert "| `score_share_of_bare_c16` | 0.97 | >= 0.95 | met |" in text
    assert "| `rss_mb` | 180 | <= 150 | **missed**" in text


def test_a_server_has_a_row_of_requests_with_what_was_not_measured_left_open() -> None:
    text = page({"bare_rps_c1": 11_000.0, "bare_rps_c16": 32_000.0, "bare_p50_us_c16": 480.0}, {}, MACHINE)
    assert "| bare ASGI (the floor) | 11,000 | 32,000 | - | 480 | - | - |" in text


def test_a_part_that_could_not_be_measured_says_why() -> None:
    text = page({}, {"mlserver": "no such package"}, MACHINE)
    assert "- **mlserver**: no such package" in text


def test_the_page_says_that_grpc_is_compared_by_time_where_both_servers_were_busy() -> None:
    assert "compares requests in a second: Telltale's was busy for 99% of the time" in page(BUSY, {}, MACHINE)


def test_the_page_says_that_grpc_is_compared_by_processor_time_where_a_server_was_idle() -> None:
    text = page(BUSY | {"v2_grpc_busy_c16": 0.8}, {}, MACHINE)
    assert "compares requests in a second of the server's processor time" in text


def test_the_picture_is_drawn_from_whatever_figures_there_are(tmp_path: Path) -> None:
    draw({}, tmp_path / "none.png")
    figures = {"bare_rps_c16": 32_000.0, "fastapi_rps_c16": 75.0, "score_share_of_bare_c16": 0.97}
    draw(figures, tmp_path / "some.png")
    with Image.open(tmp_path / "none.png") as none, Image.open(tmp_path / "some.png") as some:
        assert none.size == some.size
        assert none.tobytes() != some.tobytes()


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        draw({"bare_rps_c16": 32_000.0}, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()

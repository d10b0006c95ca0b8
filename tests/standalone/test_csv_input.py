"""Reading any CSV as telemetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contract.names import is_model_name
from standalone.csv_input import CsvError, Table, model_name_of, read_table

NAB = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nab"
# How many rows of NAB repeat the time of an earlier one; no other file does.
NAB_REPEATS = {
    "ec2_disk_write_bytes_1ef3de": 11,
    "ec2_network_in_5abac7": 11,
    "exchange-2_cpc_results": 1,
    "exchange-2_cpm_results": 1,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, text: str | bytes, name: str = "data.csv", **options: object) -> Table:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, **options)  # type: ignore[arg-type]  # each test gives options that exist


def times(table: Table) -> list[str]:
    return [str(time) for time in table.times.astype("datetime64[s]")]


def test_time_and_numeric_columns_are_found_and_others_ignored(folder: Path) -> None:
    table = read(
        folder, "driver,Timestamp,speed,load\nAnn,2024-01-15 10:00:00,50,0.5\nBob,2024-01-15 10:01:00,60,1e-1\n"
    )
    assert table.time_column == "Timestamp"
    assert table.feature_names == ("speed", "load")
    assert table.X.tolist() == [[50.0, 0.5], [60.0, 0.1]]
    assert table.vehicle_ids == ["data", "data"]
    assert table.notes == ("not numeric, so ignored: driver",)
    assert table.cells[0] == ["Ann", "2024-01-15 10:00:00", "50", "0.5"]


def test_times_without_a_zone_are_utc_and_others_are_converted(folder: Path) -> None:
    table = read(
        folder, "time,v\n2024-01-15 10:00,1\n2024-01-15T10:00:01+02:00,2\n2024-01-15T10:00:00Z,3\n2024-01-16,4\n"
    )
    assert times(table) == ["2024-01-15T10:00:00", "2024-01-15T08:00:01", "2024-01-16T00:00:00"]


@pytest.mark.parametrize(
    ("cell", "unit"),
    [("1705312800", "s"), ("1705312800000", "ms"), ("1705312800000000", "us"), ("17053128" + "0" * 11, "ns")],
)
def test_numbers_are_unix_times_of_the_unit_that_fits(folder: Path, cell: str, unit: str) -> None:
    table = read(folder, f"ts,v\n{cell},1\n")
    assert times(table) == ["2024-01-15T10:00:00"]
    assert table.notes == (f"the times are numbers, read as unix time in {unit}",)


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (("31/01/2024 10:00", "01/02/2024 10:00"), "2024-01-31T10:00:00"),
        (("01/31/2024 10:00:05", "02/01/2024 10:00:05"), "2024-01-31T10:00:05"),
        (("31.01.2024", "01.02.2024"), "2024-01-31T00:00:00"),
        (("1/31/2024 1:05 PM", "2/1/2024 1:05 PM"), "2024-01-31T13:05:00"),
        (("20240131", "20240201"), "2024-01-31T00:00:00"),
    ],
)
def test_spreadsheet_dates_are_read_in_the_one_order_that_fits(
    folder: Path, cells: tuple[str, str], first: str
) -> None:
    assert times(read(folder, f"date,v\n{cells[0]},1\n{cells[1]},2\n"))[0] == first


def test_dates_that_fit_both_orders_are_refused(folder: Path) -> None:
    with pytest.raises(CsvError, match="can be day or month first"):
        read(folder, "date,v\n01/02/2024,1\n03/04/2024,2\n")


def test_a_time_column_that_is_no_time_gives_way_to_one_that_is(folder: Path) -> None:
    table = read(folder, "time,date,lifetime,v\n10:00:00,2024-01-15,3,1\n10:01:00,2024-01-16,4,2\n")
    assert table.time_column == "date"
    assert table.feature_names == ("lifetime", "v")


def test_the_time_column_that_is_asked_for_is_taken(folder: Path) -> None:
    table = read(folder, "timestamp,when,v\n2024-01-15,2023-01-15,1\n", time_column="when")
    assert times(table) == ["2023-01-15T00:00:00"]


def test_repeats_of_vehicle_and_time_are_dropped_and_counted(folder: Path) -> None:
    text = "vin,timestamp,v\na,2024-01-15T10:00:00Z,1\nb,2024-01-15T10:00:00Z,2\na,2024-01-15T12:00:00+02:00,3\n"
    table = read(folder, text)
    assert table.vehicle_ids == ["a", "b"]
    assert table.X.ravel().tolist() == [1.0, 2.0]
    assert table.notes == ("dropped 1 row with the vehicle and time of an earlier row",)


def test_rows_with_gaps_are_dropped_and_counted_by_reason(folder: Path) -> None:
    rows = [f"2024-01-15 10:{minute:02},a,{minute},1" for minute in range(20)]
    rows += ["2024-01-16,a,,1", "2024-01-17,a,inf,1", "2024-01-18,a,1e39,1", "2024-01-19,a,NaN,1", "2024-01-20,a,1"]
    rows += [",a,1,1", "soon,a,1,1", "2024-01-21,,1,1"]
    table = read(folder, "\n".join(["timestamp,unit_id,v,w", *rows]) + "\n")
    assert len(table) == 20
    assert table.notes == (
        "dropped 2 rows whose time is missing or unreadable",
        "dropped 1 row without a vehicle",
        "dropped 5 rows with a missing or non-finite value (most in 'v')",
    )


def test_a_stray_word_does_not_cost_a_column(folder: Path) -> None:
    rows = [f"2024-01-15 10:{minute:02},{'error' if minute == 7 else minute}" for minute in range(20)]
    table = read(folder, "\n".join(["timestamp,v", *rows]))
    assert len(table) == 19


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_delimiters_are_found(folder: Path, mark: str) -> None:
    table = read(folder, mark.join(["timestamp", "v", "w"]) + "\n" + mark.join(["2024-01-15", "1.5", "2"]) + "\n")
    assert table.X.tolist() == [[1.5, 2.0]]


def test_decimal_commas_are_read_where_semicolons_part_the_columns(folder: Path) -> None:
    assert read(folder, "timestamp;v\n2024-01-15;1,5\n2024-01-16;2\n").X.ravel().tolist() == [1.5, 2.0]


def test_a_byte_order_mark_windows_lines_blank_lines_and_trailing_delimiters_do_no_harm(folder: Path) -> None:
    table = read(folder, b'\xef\xbb\xbf\r\ntimestamp,"v",\r\n\r\n2024-01-15,"1",\r\n')
    assert table.X.tolist() == [[1.0]]


def test_columns_of_one_name_or_none_are_told_apart(folder: Path) -> None:
    table = read(folder, "timestamp,v,v,\n2024-01-15,1,2,3\n")
    assert table.feature_names == ("v", "v.3", "column 4")


def test_only_the_columns_asked_for_are_features(folder: Path) -> None:
    text = "timestamp,row,v\n2024-01-15,1,5\n"
    assert read(folder, text, columns=("v",)).feature_names == ("v",)
    with pytest.raises(CsvError, match="has no column 'x'; it has timestamp, row, v"):
        read(folder, text, columns=("x",))


def test_scores_of_an_earlier_run_are_no_features(folder: Path) -> None:
    table = read(folder, "timestamp,v,anomaly_score,is_anomaly,model_version\n2024-01-15,1,-0.1,true,20240115100000\n")
    assert table.feature_names == ("v",)
    assert table.notes == ("of an earlier scoring, so ignored: anomaly_score, is_anomaly, model_version",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "data.csv is empty"),
        (b" \n\n", "data.csv is empty"),
        (b"timestamp,v\n", r"has a header \(timestamp, v\) and no rows"),
        (b"timestamp,v\n2024-01-15,\xe9\n", "not UTF-8 .byte 0xe9 in line 2"),
        (b"timestamp,name\n2024-01-15,Ann\n", "no numeric column among name"),
        (b"timestamp\n2024-01-15\n", "no column beside the time"),
        (b"a,b\n1,2\n", "no time column found among a, b: pass --time-column"),
        (b"timestamp,v\nsoon,1\n", "column 'timestamp' cannot be read as time: 'soon' is in no format"),
        (b"time,v\n0.5,1\n1.0,2\n", "its numbers .such as 0.75. are no unix times"),
        (b"timestamp,v\n,1\n", "column 'timestamp' cannot be read as time: it is empty"),
        (b"timestamp,v\n2024-01-15,1,2\n", "line 2, has 3 fields; the header has 2"),
        (b"timestamp,v,w\n2024-01-15,1,\n2024-01-16,,1\n", "no row that can be scored: dropped 2 rows"),
        (b'timestamp,v\n2024-01-15,"' + b"x" * 200_000 + b'"\n', "is not CSV: field larger"),
    ],
)
def test_what_cannot_be_read_says_why(folder: Path, text: bytes, words: str) -> None:
    with pytest.raises(CsvError, match=words):
        read(folder, text)


def test_a_missing_file_and_a_folder_are_refused(folder: Path) -> None:
    with pytest.raises(CsvError, match="there is no file"):
        read_table(folder / "none.csv")
    with pytest.raises(CsvError, match="cannot be read: Is a directory"):
        read_table(folder)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Fleet Data (2024)", "fleet-data-2024"),
        ("iio_us-east-1_i-a2eb1cd9_NetworkIn", "iio_us-east-1_i-a2eb1cd9_networkin"),
        ("_Größe", "groe"),
        ("日本", "csv"),
        ("default", "default-csv"),
        ("sample-fleet", "sample-fleet-csv"),
        ("x" * 100, "x" * 63),
    ],
)
def test_a_model_is_named_after_the_file(stem: str, name: str) -> None:
    assert model_name_of(Path(f"{stem}.csv")) == name
    assert is_model_name(name)


def nab_files() -> list[object]:
    missing = pytest.mark.skipif(not NAB.is_dir(), reason=f"needs the NAB data set (github.com/numenta/NAB) in {NAB}")
    files = sorted(NAB.rglob("*.csv")) or [NAB / "none.csv"]
    return [pytest.param(path, id=path.stem, marks=missing) for path in files]


@pytest.mark.parametrize("path", nab_files())
def test_every_nab_file_goes_through(path: Path) -> None:
    table = read_table(path)
    repeats = NAB_REPEATS.get(path.stem, 0)
    assert table.feature_names == ("value",)
    assert len(table) == len(path.read_text().splitlines()) - 1 - repeats
    assert np.isfinite(table.X).all()
    assert len(table.notes) == bool(repeats)
    assert is_model_name(model_name_of(path))

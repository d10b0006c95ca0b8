"""Reading any CSV as telemetry: which column is the time, which the vehicle, which are features (no network here).

People's files have gaps, repeats and columns of text. What can be left out without changing the meaning is left out
and counted in ``Table.notes``; what cannot is refused with a sentence that says what to pass or to change. Cells are
kept as the text they were, so that the file written beside the scores holds what was read.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contract.errors import shown
from contract.names import MODEL_NAME_LENGTH
from contract.telemetry import LARGEST_VALUE

SCORE_COLUMNS = ("anomaly_score", "is_anomaly", "model_version")
TIME_NAMES = ("timestamp", "datetime", "date_time", "time", "date", "ts", "event_time", "created_at", "recorded_at")
ID_NAMES = ("vehicle_id", "vehicleid", "vehicle", "vin", "device_id", "asset_id", "machine_id", "unit_id")
_DELIMITERS = ",;\t|"
_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?"))
# A column with this share of numbers is numeric; its other cells are gaps.
_NUMERIC_SHARE = 0.9
_OWN_MODELS = ("default", "sample-fleet", "simulated-fleet")

_SAMPLE_CELLS = 200
_DAY_FIRST = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y", "%m/%d/%y", "%m.%d.%y")
_OTHERS = ("%Y/%m/%d", "%d %b %Y", "%b %d %Y", "%b %d, %Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
# Unix times before 1971 would be small numbers of any kind; units from the finest on.
_YEAR_S = 365 * 86_400
_UNITS = (("ns", 1e9), ("us", 1e6), ("ms", 1e3), ("s", 1.0))
# A column is time if at least this share of its cells can be read; the rest are gaps.
_LEAST_TIMES = 0.5

Mask = NDArray[np.bool_]
Times = NDArray[np.datetime64]


class CsvError(ValueError):
    """The file cannot be read as telemetry; the message says why and what to do."""


class _TimesUnreadable(ValueError):
    """The cells are not time stamps, or they can be read in two ways."""


@dataclass(frozen=True)
class Table:
    """A CSV file as telemetry: the rows that can be scored, in the file's order.

    Args:
        header: all columns of the file.
        cells: the text of the rows, each as long as ``header``.
        time_column: the column that holds the time.
        feature_names: the numeric columns that are used.
        vehicle_ids: one for each row.
        times: datetime64[us] in UTC, shape ``(rows,)``.
        X: float64, shape ``(rows, features)``, finite and within float32's range.
        notes: what was left out or taken for granted, as sentences.

    """

    header: tuple[str, ...]
    cells: list[list[str]]
    time_column: str
    feature_names: tuple[str, ...]
    vehicle_ids: list[str]
    times: Times
    X: NDArray[np.float64]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.cells)


def model_name_of(path: Path) -> str:
    """Return a model name made of the file's name; it never names one of our own models."""
    ascii_stem = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9_-]+", "-", ascii_stem.lower()).lstrip("-_")[:MODEL_NAME_LENGTH].rstrip("-_")
    return f"{slug}-csv" if slug in _OWN_MODELS else slug or "csv"


def read_table(
    path: Path, *, time_column: str | None = None, id_column: str | None = None, columns: Sequence[str] = ()
) -> Table:
    """Read ``path`` as telemetry.

    Args:
        path: a file in UTF-8, its columns parted by comma, semicolon, tab or bar, its first line the header.
        time_column: the column of the time; None finds it.
        id_column: the column of the vehicle; None finds it, and without one all rows are of one vehicle.
        columns: the features; none means all numeric columns.

    Raises:
        CsvError: there is no such file, it is not CSV in UTF-8, or it lacks a row, a time or a feature.

    """
    header, cells, decimal = _parsed(_text_of(path), path.name)
    by_name = {name: [row[position] for row in cells] for position, name in enumerate(header)}
    for wanted in (time_column, id_column, *columns):
        if wanted is not None and wanted not in by_name:
            raise CsvError(f"{path.name} has no column {wanted!r}; it has {_listed(header)}")
    time_name, times, notes = _time_column(by_name, time_column)
    id_name = id_column or next((name for name in header if name.strip().lower() in ID_NAMES), None)
    ids = [cell.strip() for cell in by_name[id_name]] if id_name else [path.stem] * len(cells)
    features, more = _features(by_name, taken=(time_name, id_name), columns=columns, decimal=decimal)
    names = tuple(features)
    X = np.column_stack([features[name] for name in names])
    kept, dropped = _kept(times, ids, X, names)
    if not kept.any():
        raise CsvError(f"{path.name} has no row that can be scored: {'; '.join(dropped)}")
    places = np.flatnonzero(kept).tolist()
    return Table(
        header=header,
        cells=[cells[place] for place in places],
        time_column=time_name,
        feature_names=names,
        vehicle_ids=[ids[place] for place in places],
        times=times[kept],
        X=X[kept],
        notes=(*notes, *more, *dropped),
    )


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CsvError(f"there is no file {path}") from None
    except OSError as refusal:
        raise CsvError(f"{path} cannot be read: {refusal.strerror or refusal}") from refusal
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as refusal:
        line = data.count(b"\n", 0, refusal.start) + 1
        raise CsvError(
            f"{path.name} is not UTF-8 (byte 0x{data[refusal.start]:02x} in line {line}): save it as CSV in UTF-8"
        ) from None


def _parsed(text: str, name: str) -> tuple[tuple[str, ...], list[list[str]], str]:
    """Return the header, its names made unique, the rows, each as long as the header, and the decimal mark."""
    if not text.strip():
        raise CsvError(f"{name} is empty")
    first_line = text.lstrip().split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    lines = _lines(text, delimiter, name)
    _, first = next(lines)
    header = _unique(first)
    cells = []
    for number, row in lines:
        if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
            raise CsvError(f"{name}, line {number}, has {len(row)} fields; the header has {len(header)}")
        cells.append(row[: len(header)] + [""] * (len(header) - len(row)))
    if not cells:
        raise CsvError(f"{name} has a header ({_listed(header)}) and no rows")
    return header, cells, "," if delimiter == ";" else "."


def _lines(text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Return the lines that hold something, with their numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as refusal:
        raise CsvError(f"{name}, line {reader.line_num}, is not CSV: {refusal}") from refusal


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    taken: dict[str, None] = {}
    for position, raw in enumerate(names, start=1):
        name = raw.strip() or f"column {position}"
        while name in taken:
            name = f"{name}.{position}"
        taken[name] = None
    return tuple(taken)


def _time_column(by_name: dict[str, list[str]], asked: str | None) -> tuple[str, Times, tuple[str, ...]]:
    """Return the time column, its times (NaT where unreadable) and what to note about them."""
    if asked is not None:
        return asked, *_times(asked, by_name[asked])
    known = {name.strip().lower(): name for name in by_name}
    candidates = [known[name] for name in TIME_NAMES if name in known]
    candidates += [name for name in by_name if re.search("time|date", name, re.IGNORECASE) and name not in candidates]
    refusals = []
    for name in candidates:
        try:
            return name, *_times(name, by_name[name])
        except CsvError as refusal:
            refusals.append(str(refusal))
    if refusals:
        raise CsvError("; ".join(refusals))
    raise CsvError(
        f"no time column found among {_listed(tuple(by_name))}: pass --time-column, and see that the first line is "
        "a header"
    )


def _times(name: str, cells: Sequence[str]) -> tuple[Times, tuple[str, ...]]:
    try:
        return _read_times(cells)
    except _TimesUnreadable as refusal:
        raise CsvError(f"column {name!r} cannot be read as time: {refusal}") from refusal


def _read_times(cells: Sequence[str]) -> tuple[Times, tuple[str, ...]]:
    """Return datetime64[us] in UTC for each cell, NaT where one cannot be read, and what to note.

    ISO 8601 is tried first, then unix times, then the day and month orders that spreadsheets write. Where two orders
    read equally well the column is refused: a guess would put readings into wrong months.
    """
    text = pd.Series(cells, dtype=object).str.strip()
    given = text[text != ""]
    if given.empty:
        raise _TimesUnreadable("it is empty")
    numbers = pd.to_numeric(given, errors="coerce")
    if numbers.notna().mean() > _LEAST_TIMES and not _are_dates(given):
        return _unix_times(pd.to_numeric(text, errors="coerce"))
    times = pd.to_datetime(text, utc=True, errors="coerce", format="ISO8601")
    if times.notna().sum() < _LEAST_TIMES * len(given):
        times = _spreadsheet_times(text, given)
    return _micros(times), ()


def _are_dates(given: pd.Series[str]) -> bool:
    """Tell 20240115 from a unix time: all cells have eight digits and begin like a year."""
    return bool(given.str.fullmatch(r"(19[7-9]\d|20\d\d)[01]\d[0-3]\d").all())


def _unix_times(numbers: pd.Series[float]) -> tuple[Times, tuple[str, ...]]:
    middle = float(numbers.median())
    for unit, per_second in _UNITS:
        if middle >= _YEAR_S * per_second:
            micros = (numbers * (1e6 / per_second)).round()
            return _from_micros(micros), (f"the times are numbers, read as unix time in {unit}",)
    raise _TimesUnreadable(f"its numbers (such as {middle:g}) are no unix times in s, ms, us or ns since 1970")


def _from_micros(micros: pd.Series[float]) -> Times:
    gaps = micros.isna().to_numpy()
    times = micros.fillna(0.0).to_numpy().astype(np.int64).astype("datetime64[us]")
    times[gaps] = np.datetime64("NaT")
    return times


def _spreadsheet_times(text: pd.Series[str], given: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """Read the column in the one format that reads most of it."""
    sample = given.iloc[:_SAMPLE_CELLS]
    formats = [day + clock for day, clock in product((*_DAY_FIRST, *_MONTH_FIRST, *_OTHERS), _CLOCKS)]
    promising = [form for form in formats if _read(sample, form).notna().mean() >= _LEAST_TIMES]
    counts = {form: int(_read(given, form).notna().sum()) for form in promising}
    most = max(counts.values(), default=0)
    if most < _LEAST_TIMES * len(given):
        raise _TimesUnreadable(f"{shown(str(given.iloc[0]))!r} is in no format known here; ISO 8601 is best")
    best = [form for form in promising if counts[form] == most]
    if len(best) > 1:
        raise _TimesUnreadable(
            f"{shown(str(given.iloc[0]))!r} can be day or month first ({' or '.join(best)}): write it as ISO 8601"
        )
    return _read(text, best[0])


def _read(text: pd.Series[str], form: str) -> pd.Series[pd.Timestamp]:
    return pd.to_datetime(text, utc=True, errors="coerce", format=form)


def _micros(times: pd.Series[pd.Timestamp]) -> Times:
    return np.asarray(times.dt.tz_localize(None).to_numpy().astype("datetime64[us]"))


def _features(
    by_name: dict[str, list[str]], *, taken: Sequence[str | None], columns: Sequence[str], decimal: str
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Return the numeric columns (NaN where a cell is a gap) and a note on those that are not used."""
    offered = columns or [name for name in by_name if name not in taken]
    found: dict[str, NDArray[np.float64]] = {}
    text: list[str] = []
    scores: list[str] = []
    for name in offered:
        values = None if name in SCORE_COLUMNS and not columns else _numbers(by_name[name], decimal)
        if values is not None:
            found[name] = values
        else:
            (scores if name in SCORE_COLUMNS else text).append(name)
    if columns and text:
        raise CsvError(f"not numeric: {_listed(text)}")
    if not found:
        raise CsvError(f"no numeric column among {_listed(offered)}" if offered else "no column beside the time")
    notes = [f"not numeric, so ignored: {_listed(text)}"] * bool(text)
    notes += [f"of an earlier scoring, so ignored: {_listed(scores)}"] * bool(scores)
    return found, notes


def _numbers(cells: Sequence[str], decimal: str) -> NDArray[np.float64] | None:
    """Return a column as numbers, NaN for gaps, or None if it is not numeric."""
    given = pd.Series(cells, dtype=object).str.strip()
    gaps = given.str.lower().isin(_MISSING)
    if decimal != ".":
        given = given.str.replace(decimal, ".", n=1, regex=False)
    values = pd.to_numeric(given.mask(gaps), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = int((~np.isnan(values)).sum())
    return values if numbers and numbers >= _NUMERIC_SHARE * int((~gaps).sum()) else None


def _kept(times: Times, ids: Sequence[str], X: NDArray[np.float64], names: Sequence[str]) -> tuple[Mask, list[str]]:
    """Return which rows can be scored, and a note for each reason to drop one."""
    usable = np.isfinite(X) & (np.abs(X) <= LARGEST_VALUE)
    frame = pd.DataFrame({"vehicle": pd.Series(ids, dtype=object), "time": times})
    worst = names[int(np.argmin(usable.sum(axis=0)))]
    reasons: list[tuple[str, Callable[[Mask], Mask]]] = [
        ("whose time is missing or unreadable", lambda _: np.isnat(times)),
        ("without a vehicle", lambda _: frame["vehicle"].eq("").to_numpy()),
        (
            f"with a missing or non-finite value (most in {shown(worst)!r})",
            lambda _: np.asarray(~usable.all(axis=1)),
        ),
        (
            "with the vehicle and time of an earlier row",
            lambda kept: frame[kept].duplicated().reindex(frame.index, fill_value=False).to_numpy(),
        ),
    ]
    kept = np.ones(len(ids), dtype=np.bool_)
    notes = []
    for reason, test in reasons:
        bad = test(kept) & kept
        kept &= ~bad
        if bad.any():
            count = int(bad.sum())
            notes.append(f"dropped {count:,} {'row' if count == 1 else 'rows'} {reason}")
    return kept, notes


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(shown(name) for name in names[:12])
    return text if len(names) <= 12 else f"{text} and {len(names) - 12} more"

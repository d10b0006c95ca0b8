"""`telltale score-csv`: any CSV through `/ingest` and `/score` of a running server, to a CSV of scores and a plot.

All rows train a model named after the file; the same rows are then scored with exactly the version that came of it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from contract.names import MODEL_NAME_RULE, is_model_name
from standalone.client import (
    DEFAULT_URL,
    SCORE_RECORDS,
    Client,
    ClientError,
    Ingested,
    Refused,
    chunked,
)
from standalone.csv_input import SCORE_COLUMNS, CsvError, Table, model_name_of, read_table
from standalone.score_plot import Scored, distances, save_plot


@dataclass(frozen=True)
class Scores:
    """What the server made of the table's rows.

    Args:
        trained: what became of the last batch.
        anomaly_score: the decision function, shape ``(rows,)``.
        is_anomaly: shape ``(rows,)``.

    """

    trained: Ingested
    anomaly_score: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]


def records_of(table: Table) -> list[dict[str, Any]]:
    """Return the rows as records with named features, in the table's order."""
    stamps = np.datetime_as_string(table.times, unit=_unit(table.times)).tolist()
    return [
        {"vehicle_id": name, "timestamp": f"{stamp}Z", "features": dict(zip(table.feature_names, row, strict=True))}
        for name, stamp, row in zip(table.vehicle_ids, stamps, table.X.tolist(), strict=True)
    ]


def _unit(times: NDArray[np.datetime64]) -> Literal["s", "us"]:
    """Return the coarsest unit that keeps the times as they are."""
    return "s" if (times.astype("datetime64[s]") == times).all() else "us"


def train_and_score(table: Table, *, model: str, client: Client, console: Console) -> Scores:
    """Ingest all rows, oldest first, and score them with the version that came of it.

    Raises:
        ClientError: the server cannot be reached or refuses.

    """
    records = records_of(table)
    with _progress(console) as progress:
        trained = _train([records[row] for row in np.argsort(table.times, kind="stable")], model, client, progress)
        answers = _score(records, trained, client, progress)
    return Scores(
        trained,
        np.array([answer["anomaly_score"] for answer in answers], dtype=np.float64),
        np.array([answer["is_anomaly"] for answer in answers], dtype=np.bool_),
    )


def _train(records: Sequence[dict[str, Any]], model: str, client: Client, progress: Progress) -> Ingested:
    task = progress.add_task("training", total=len(records))
    for part in chunked(records):
        trained = client.ingest(part, model=model)
        progress.advance(task, len(part))
        for warning in trained.warnings:
            progress.console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    return trained


def _score(
    records: Sequence[dict[str, Any]], trained: Ingested, client: Client, progress: Progress
) -> list[dict[str, Any]]:
    task = progress.add_task("scoring", total=len(records))
    answers: list[dict[str, Any]] = []
    for part in chunked(records, most=SCORE_RECORDS):
        answers += client.score(part, model=trained.model, model_version=trained.model_version)
        progress.advance(task, len(part))
    return answers


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def write_scores(path: Path, table: Table, scores: Scores) -> None:
    """Write the scored rows as they were read, with their scores, to ``path``.

    Raises:
        OSError: the file cannot be written.

    """
    kept = [position for position, name in enumerate(table.header) if name not in SCORE_COLUMNS]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(table.header[position] for position in kept), *SCORE_COLUMNS])
        version = scores.trained.model_version
        pairs = zip(scores.anomaly_score.tolist(), scores.is_anomaly.tolist(), strict=True)
        for row, (score, flagged) in zip(table.cells, pairs, strict=True):
            writer.writerow([*(row[position] for position in kept), score, str(flagged).lower(), version])


def tell_scores(console: Console, scored: Scored, trained: Ingested) -> None:
    """Print how many rows were flagged and which ones most."""
    count, flagged = len(scored.scores), len(scored.flagged)
    console.print(
        f"model {trained.model}, version {trained.model_version}: "
        f"{flagged:,} of {count:,} rows flagged ({flagged / count:.1%})",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if trained.reason:
        console.print(f"not served by default: {trained.reason}", markup=False, highlight=False, soft_wrap=True)
    if len(scored.strongest):
        console.print(_strongest_rows(scored))


def _strongest_rows(scored: Scored) -> Grid:
    """Return a row for each of the strongest anomalies, with the value that lies farthest from the median."""
    rows = scored.strongest
    grid = Grid(title=f"The {len(rows)} strongest anomalies, ringed in the plot", title_justify="left")
    several = len(set(scored.vehicle_ids)) > 1
    for name in ["time (UTC)", *["vehicle"] * several, "anomaly_score", "farthest from the median"]:
        grid.add_column(name, overflow="fold")
    stamps = np.datetime_as_string(scored.times, unit="s")
    for row, column in zip(rows.tolist(), distances(scored, rows).argmax(axis=1).tolist(), strict=True):
        vehicle = [escape(scored.vehicle_ids[row])] * several
        value = escape(f"{scored.feature_names[column]} {scored.X[row, column]:.5g}")
        grid.add_row(stamps[row].replace("T", " "), *vehicle, f"{scored.scores[row]:.4f}", value)
    return grid


def score_file(
    table: Table, *, source: Path, model: str, client: Client, console: Console, out_csv: Path, out_plot: Path
) -> None:
    """Train, score, print what was found and write the two files.

    Raises:
        ClientError: the server cannot be reached or refuses.
        OSError: a file cannot be written.

    """
    used = ", ".join(table.feature_names[:12]) + (", …" if len(table.feature_names) > 12 else "")
    console.print(
        f"{source.name}: {len(table):,} rows, time in {table.time_column!r}, features: {used}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for note in table.notes:
        console.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)
    scores = train_and_score(table, model=model, client=client, console=console)
    write_scores(out_csv, table, scores)
    title = f"{source.name}: model {scores.trained.model}, version {scores.trained.model_version}"
    scored = Scored(title, table.feature_names, table.vehicle_ids, table.times, table.X, scores.anomaly_score)
    save_plot(scored, out_plot)
    tell_scores(console, scored, scores.trained)
    console.print(f"wrote {out_csv} and {out_plot}", markup=False, highlight=False, soft_wrap=True)


def _model_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    del ctx, param
    if value is not None and not is_model_name(value):
        raise click.BadParameter(f"{MODEL_NAME_RULE}; got {value!r}")
    return value


def _out_paths(file: Path, out_csv: Path | None, out_plot: Path | None) -> tuple[Path, Path]:
    """Return where to write, having checked before any work that it can be done and does not harm the input."""
    paths = (out_csv or Path(f"{file.stem}.scores.csv"), out_plot or Path(f"{file.stem}.scores.png"))
    for path in paths:
        if path.resolve() == file.resolve():
            raise click.UsageError(f"{path} is the file to score: choose another one to write")
        if not path.resolve().parent.is_dir():
            raise click.UsageError(f"there is no folder {path.parent} to write {path.name} into")
    if paths[0].resolve() == paths[1].resolve():
        raise click.UsageError(f"the scores and the plot cannot both be {paths[0]}")
    return paths


@click.command(name="score-csv")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--url", default=DEFAULT_URL, envvar="TELLTALE_URL", show_default=True, show_envvar=True, help="Server.")
@click.option("--token", envvar="TELLTALE_TOKEN", show_envvar=True, help="Bearer token, where the server wants one.")
@click.option("--model", callback=_model_name, help="Model to train.  [default: made of the file's name]")
@click.option("--time-column", help="Column of the time.  [default: timestamp, time, date and the like]")
@click.option("--id-column", help="Column of the vehicle.  [default: vehicle_id and the like, else one vehicle]")
@click.option("--column", "columns", multiple=True, help="A feature; give it several times.  [default: all numeric]")
@click.option("--out-csv", type=click.Path(path_type=Path), help="Scores.  [default: <file's stem>.scores.csv here]")
@click.option("--out-plot", type=click.Path(path_type=Path), help="Plot.  [default: <file's stem>.scores.png here]")
def score_csv_command(
    *,
    file: Path,
    url: str,
    token: str | None,
    model: str | None,
    time_column: str | None,
    id_column: str | None,
    columns: tuple[str, ...],
    out_csv: Path | None,
    out_plot: Path | None,
) -> None:
    """Train on a CSV file, score it and plot it.

    FILE is any CSV in UTF-8 with a header, a column of time and columns of numbers. Its rows train a model on a
    running server (telltale serve) and are scored by it; times without a zone are read as UTC. The model flags about
    one in twenty of the rows that trained it, so look at the strongest anomalies first: the plot has rings around
    them. Existing outputs are replaced.
    """
    scores_path, plot_path = _out_paths(file, out_csv, out_plot)
    try:
        table = read_table(file, time_column=time_column, id_column=id_column, columns=columns)
        with Client(url, token=token) as client:
            score_file(
                table,
                source=file,
                model=model or model_name_of(file),
                client=client,
                console=Console(),
                out_csv=scores_path,
                out_plot=plot_path,
            )
    except (ClientError, CsvError) as error:
        raise click.ClickException(_with_hint(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


def _with_hint(error: Exception) -> str:
    """Add what to do where the model that the file's name leads to has other features."""
    if isinstance(error, Refused) and "has the features" in str(error):
        return f"{error}\n  pass --model with another name to train a model of its own"
    return str(error)

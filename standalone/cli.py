"""The console command `telltale`. Each command is imported when it is used, so that `--help` is quick."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import click

# Name to where its click command is, and the line that `telltale --help` shows without importing it.
_COMMANDS = {
    "serve": ("standalone.commands:serve_command", "Start Telltale on this machine."),
    "simulate": ("standalone.simulate:simulate_command", "Drive a running Telltale with a plausible fleet."),
    "score-csv": ("standalone.score_csv:score_csv_command", "Train on a CSV file, score it and plot it."),
    "jobs": ("standalone.jobs:jobs_command", "List training jobs; show, retry or cancel them."),
    "token": ("standalone.commands:token_command", "Make a token for a server with a shared secret."),
    "gc": ("standalone.collect_garbage:gc_command", "Remove batches, versions and runs that nobody needs."),
    "mlflow": ("standalone.commands:mlflow_command", "Open the MLflow UI on the same store."),
    "mlflow-server": ("standalone.mlflow_server:mlflow_server_command", "Run MLflow's server as it is deployed."),
    "prepare": ("standalone.prepare:prepare_command", "Make databases, schema and bucket of a deployment."),
}


class _LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{name} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("telltale"), prog_name="telltale")
def main() -> None:
    """Telltale: a model server for vehicle anomaly detection.

    Start it with `telltale serve`; then POST telemetry to /ingest and /score.
    """


if __name__ == "__main__":
    main()

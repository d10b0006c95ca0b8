"""`kubectl telltale`: the command line. What it needs is imported when it is needed: an abort must start at once.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the controller ignored the action, 4 no outcome in time, or
none that could be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from registry.errors import KubernetesForbidden, Refused, RegistryError
from registry.plugin.options import access, complete_names, complete_revisions, connection_options, object_name

IGNORED, TIMED_OUT = 3, 4
_CODES = {"Applied": 0, "Ignored": IGNORED, "Pending": TIMED_OUT}


class _Plugin(click.Group):
    """The group of all commands: what fails is said in a sentence, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RegistryError as error:
            raise click.ClickException(_sentence(error)) from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as they were added, not by the alphabet
        return list(self.commands)


def _sentence(error: RegistryError) -> str:
    from registry.plugin import problems  # noqa: PLC0415
    from registry.plugin.cluster import KindMissing, Unauthenticated  # noqa: PLC0415

    if isinstance(error, KindMissing):
        return problems.kinds_missing()
    if isinstance(error, Unauthenticated):
        return problems.unknown_account(str(error))
    if isinstance(error, KubernetesForbidden):
        return problems.not_allowed(str(error))
    return problems.refused(str(error)) if isinstance(error, Refused) else str(error)


@click.group(
    name="kubectl-telltale",
    cls=_Plugin,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@connection_options
def cli() -> None:
    """See and steer how model versions are rolled out.

    Every change is a RolloutAction in your name, which the registry controller carries out.
    """


_name = click.argument("name", callback=object_name, shell_complete=complete_names)
_format = click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="For programs.")


@cli.command(short_help="Show traffic, steps, gates and problems.")
@click.argument("name", required=False, callback=object_name, shell_complete=complete_names)
@click.option("-w", "--watch", is_flag=True, help="Stay, and show every change.")
@click.option(
    "--until",
    type=click.Choice(["done", "healthy"]),
    help="Stay until everything goes to the new revision (done), or until it has been watched, too (healthy). "
    "Ends with 1 if it is rejected, or cannot come.",
)
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="With --until: give up with 4.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Without NAME: all namespaces.")
@_format
@connection_options
@click.pass_context
def status(
    context: click.Context,
    name: str | None,
    watch: bool,
    until: str | None,
    timeout: float | None,
    all_namespaces: bool,
    output: str | None,
) -> None:
    """Show a ServedModel: traffic, steps, gates, problems, and who did what. Without NAME: list all."""
    from registry.plugin import showing  # noqa: PLC0415

    if name is None:
        if watch or until:
            raise click.UsageError("--watch and --until need a NAME")
        showing.show_all(access(context), output, all_namespaces=all_namespaces)
        return
    if all_namespaces:
        raise click.UsageError("--all-namespaces goes without a NAME")
    if watch or until:
        if output:
            raise click.UsageError("-o does not go with --watch; `kubectl get servedmodel -w -o json` does that")
        context.exit(showing.watch(access(context), name, until, timeout))
    showing.show(access(context), name, output)


@cli.command(short_help="Show what would happen, and how long it takes.")
@_name
@_format
@connection_options
@click.pass_context
def plan(context: click.Context, name: str, output: str | None) -> None:
    """Show what would happen, how long it takes at the least, and where it waits for people."""
    from registry.plugin import showing  # noqa: PLC0415

    showing.show_plan(access(context), name, output)


@cli.command(short_help="List revisions and what became of them.")
@_name
@click.option("-o", "--output", type=click.Choice(["wide", "json", "yaml"]), help="All columns, or for programs.")
@connection_options
@click.pass_context
def history(context: click.Context, name: str, output: str | None) -> None:
    """List a ServedModel's revisions and what became of them, the newest first."""
    from registry.plugin import showing  # noqa: PLC0415

    showing.show_history(access(context), name, output)


def _act(
    context: click.Context,
    action: str,
    name: str,
    reason: str,
    wait: bool,
    timeout: float,
    output: str | None,
    to_revision: str | None = None,
) -> None:
    """Create an action, wait for what comes of it, and end with its exit code."""
    from registry.plugin.acting import Wish, ask_for, result_of, revision_called  # noqa: PLC0415
    from registry.plugin.errors import Unwatched  # noqa: PLC0415

    found = access(context)
    if to_revision is not None:
        to_revision = revision_called(found.cluster, found.namespace, name, to_revision)
    wish = Wish(found.namespace, name, action, reason, to_revision)
    created = ask_for(found.cluster, wish)
    unseen = ""
    try:
        state = result_of(found.cluster, created, timeout) if wait else None
    except Unwatched as error:
        state, unseen = "Pending", str(error)
    if output:
        from registry.plugin.output import printed  # noqa: PLC0415

        click.echo(printed(created, "yaml" if output == "yaml" else "json"))
    elif state is None:
        click.echo(f"{created['metadata']['name']} is asked for")
    elif state != "Pending":
        click.echo(f"{state}: {created['status'].get('message', '')}")
    if state == "Pending":
        click.echo(f"Error: {unseen or _unanswered(found, created, timeout)}", err=True)
    context.exit(_CODES.get(state or "Applied", 1))


def _unanswered(found: Any, created: dict[str, Any], timeout: float) -> str:
    from registry.plugin.acting import phase_of  # noqa: PLC0415
    from registry.plugin.problems import unanswered  # noqa: PLC0415

    spec, metadata = created["spec"], created["metadata"]
    phase = phase_of(found.cluster, metadata["namespace"], spec["servedModel"])
    return unanswered(metadata["name"], metadata["namespace"], spec["action"], timeout, phase)


def _action_options(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.pass_context,
        connection_options,
        _format,
        click.option("--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="SECONDS"),
        click.option("--wait/--no-wait", default=True, help="Wait for what comes of it (default)."),
        click.option("-r", "--reason", default="", help="Why, for those who read it later."),
        _name,
    ):
        command = decorate(command)
    return command


def _command(action: str, short: str, text: str) -> None:
    @_action_options
    def run(context: click.Context, **given: Any) -> None:
        _act(context, action, **given)

    cli.command(name=action.lower(), short_help=short, help=text)(run)


_command(
    "Promote",
    "Skip the remaining steps.",
    "Skip the remaining steps: everything goes to the candidate as soon as its pods are ready.",
)
_command("Pause", "Hold the rollout.", "Hold the rollout where it is.")
_command("Resume", "Go on.", "Go on with a rollout that is held, or end the pause of the current step.")
_command("Approve", "Approve the candidate.", "Approve the candidate, at an approval step.")
_command("Abort", "Give the candidate up.", "Take all traffic from the candidate at once, and reject it.")


@cli.command(short_help="Go back to a former revision.")
@_action_options
@click.option(
    "--to-revision",
    metavar="REVISION",
    callback=object_name,
    shell_complete=complete_revisions,
    help="Where to: a name of `history`, its last part, or a model version; else the former stable revision.",
)
def undo(context: click.Context, **given: Any) -> None:
    """Go back to a former revision at once, and reject the one that served."""
    _act(context, "Undo", **given)


_command("Retry", "Try rejected revisions again.", "Let rejected revisions be tried again.")


def main() -> None:
    """Run the command."""
    cli(prog_name="kubectl telltale")

"""What went wrong, in plain words with what to do about it. PURE."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_POLICY = "denied request: "


def no_such_model(name: str, namespace: str, there: Sequence[str], elsewhere: Sequence[str]) -> str:
    """Return what to say where a name is not known.

    Args:
        name: what was asked for.
        namespace: where.
        there: the names in that namespace.
        elsewhere: the namespaces that have that name.

    """
    said = f'There is no ServedModel "{name}" in namespace "{namespace}".'
    if elsewhere:
        return f"{said} There is one in {', '.join(elsewhere)}: add -n {elsewhere[0]}"
    near = difflib.get_close_matches(name, there, n=3, cutoff=0.5)
    if near:
        return f"{said} Did you mean {' or '.join(near)}?"
    if there:
        some = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
        return f"{said} There are: {some}"
    return f"{said} It has none; `kubectl telltale status -A` looks in all namespaces."


def kinds_missing() -> str:
    """Return what to say where the cluster does not know our kinds."""
    return "This cluster does not know ServedModels: install the chart `telltale` (its CRDs come with it) first."


def unknown_account(message: str) -> str:
    """Return what to say where the API server does not know who asks."""
    return f"The cluster does not take your credentials (have they expired?): {message}"


def verb_missing(user: str, verb: str, name: str, namespace: str) -> str:
    """Return what to say where somebody lacks an action's verb."""
    return (
        f'{user} may not {verb} "{name}" in namespace "{namespace}": a Role has to grant the verb "{verb}" on '
        f"servedmodels.registry.telltale.dev."
    )


def not_allowed(message: str) -> str:
    """Return what the API server said of a request that it does not allow, without its preamble."""
    said = message.partition(_POLICY)[2] or message
    return f"Not allowed: {said}"


def refused(message: str) -> str:
    """Return what the API server said of an object that it does not take."""
    said = message.partition(_POLICY)[2] or message
    return f"The API server refused it: {said}"


def unanswered(name: str, namespace: str, action: str, seconds: float, phase: str) -> str:
    """Return what to say where no controller took an action in time."""
    stands = f" The rollout is {phase}." if phase else ""
    return (
        f"No answer within {seconds:g} s: is the registry controller running? {action} is still asked for and will be "
        f"done when it runs; whoever may delete rolloutactions can take it back: `kubectl delete rolloutaction -n "
        f"{namespace} {name}`.{stands}"
    )

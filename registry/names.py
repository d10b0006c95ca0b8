"""Names that another has: an object of the name of one of ours that does not belong to the ServedModel. PURE.

Such an object is never touched. One that a former ServedModel of the same name left behind goes by itself and is waited
for; of any other a person is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from registry.api.group import GROUP
from registry.kubernetes.resources import Manifest
from registry.rollout.manifests import Owner

Place = tuple[str, str]
"""A kind and a name."""


@dataclass(frozen=True)
class Taken:
    """A name that another has.

    Args:
        place: what is there.
        passing: whether it goes by itself.
        message: for people.

    """

    place: Place
    passing: bool
    message: str


def place(manifest: Manifest) -> Place:
    """Return the kind and the name of an object."""
    return manifest["kind"], manifest["metadata"]["name"]


def belongs_to(manifest: Manifest, owner: Owner) -> bool:
    """Tell whether an object is this very ServedModel's, and not another's of its name."""
    return any(reference["uid"] == owner.uid for reference in manifest["metadata"].get("ownerReferences") or ())


def taken_by(manifest: Manifest, owner: Owner) -> Taken:
    """Return what is to be said of an object that has the name of one of the owner's, and is not."""
    where, metadata = place(manifest), manifest["metadata"]
    what = f"the {where[0]} {where[1]}"
    if any(_is_former(reference, owner) for reference in metadata.get("ownerReferences") or ()):
        return Taken(where, True, f"{what} of a former ServedModel {owner.name} is still there; it goes by itself")
    if "deletionTimestamp" in metadata:
        return Taken(where, True, f"{what}, which is not ours, is still there; it is on its way out")
    return Taken(
        where,
        False,
        f"{what} is there and does not belong to this ServedModel: delete it or give it another name,"
        f" or give the ServedModel another",
    )


def holding(found: Iterable[Taken], *, goes_back: bool) -> Iterator[Taken]:
    """Yield the names without which no traffic moves: on the way back those of routes alone.

    An InferenceService is not among them: a revision whose pods cannot be made is never ready.
    """
    kinds = ("HTTPRoute", "GRPCRoute") if goes_back else ("HTTPRoute", "GRPCRoute", "Service", "ModelRevision")
    return (one for one in found if one.place[0] in kinds)


def said(found: Mapping[Place, Taken]) -> str:
    """Return all messages, for people."""
    return "; ".join(one.message for _, one in sorted(found.items()))


def _is_former(reference: Manifest, owner: Owner) -> bool:
    group = str(reference.get("apiVersion", "")).partition("/")[0]
    return (group, reference.get("kind"), reference.get("name")) == (GROUP, "ServedModel", owner.name)

"""The CustomResourceDefinitions, made from the models of `registry.api`; the chart's files are this module's output.

`python -m registry.crds` prints them, `python -m registry.crds FOLDER` writes them, and with `--check` it tells which
files of the folder are not as the models want them.

Exit codes: 0, or 1 where a file differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry.api.base import ApiModel
from registry.api.model_revision import ModelRevisionSpec, ModelRevisionStatus
from registry.api.rollout_action import RolloutActionSpec, RolloutActionStatus
from registry.api.served_model import ServedModelSpec
from registry.api.status import ServedModelStatus
from registry.kubernetes.resources import MODEL_REVISIONS, ROLLOUT_ACTIONS, SERVED_MODELS, Manifest, Resource
from registry.rollout.naming import LONGEST_SERVED_MODEL_NAME
from registry.structural import Schema, structural

_HEADER = "# Made from the models in registry/api by `python -m registry.crds`; to change it, change them.\n"
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


@dataclass(frozen=True)
class Kind:
    """One kind of the API, and how `kubectl get` shows it.

    Args:
        resource: its group, version and names.
        short_name: what people type.
        about: what it is, in a sentence or two.
        spec: what people write, or the controller where it is a record.
        status: what the controller answers.
        columns: name, JSON path, type and priority (1: only with `-o wide`); its age comes last.
        rules: CEL on the whole object, which sees metadata.name.
        selectable: fields that `--field-selector` takes.
        unseen: the status of an object that the controller has not seen yet; None for none.

    """

    resource: Resource
    short_name: str
    about: str
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[tuple[str, str, str, int], ...]
    rules: tuple[Schema, ...] = ()
    selectable: tuple[str, ...] = ()
    unseen: Schema | None = None


SERVED_MODEL = Kind(
    resource=SERVED_MODELS,
    short_name="smodel",
    about="Which model is to be served, by what, and how its versions are rolled out.",
    spec=ServedModelSpec,
    status=ServedModelStatus,
    columns=(
        ("Phase", ".status.phase", "string", 0),
        ("Stable", ".status.stableRevision", "string", 0),
        ("Candidate", ".status.candidateRevision", "string", 0),
        ("Weight", ".status.attempt.weight", "integer", 0),
        ("Steps-Done", ".status.attempt.step", "integer", 0),
        ("Ready", '.status.conditions[?(@.type=="Ready")].status', "string", 0),
        ("Model", ".spec.model.name", "string", 1),
        ("Version", ".status.resolved.version", "string", 1),
        ("Message", ".status.message", "string", 1),
    ),
    rules=(
        {
            "rule": f"self.metadata.name.size() <= {LONGEST_SERVED_MODEL_NAME}",
            "message": f"metadata.name must have at most {LONGEST_SERVED_MODEL_NAME} characters:"
            " names of Services are made from it",
        },
        {
            "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "message": "metadata.name must begin with a letter and have no dot: a Service is named so",
        },
    ),
    # Without it kstatus takes an object that nobody has looked at for one that is as it should be.
    unseen={"observedGeneration": -1},
)
MODEL_REVISION = Kind(
    resource=MODEL_REVISIONS,
    short_name="mrev",
    about="An immutable snapshot of what serves, and what became of it. The controller writes it.",
    spec=ModelRevisionSpec,
    status=ModelRevisionStatus,
    columns=(
        ("Model", ".spec.model", "string", 0),
        ("Version", ".spec.version", "string", 0),
        ("Outcome", ".status.outcome", "string", 0),
        ("Weight", ".status.weight", "integer", 0),
        ("ServedModel", ".spec.servedModel", "string", 1),
        ("MLflow", ".spec.mlflowVersion", "string", 1),
        ("Reason", ".status.reason", "string", 1),
        ("By", ".status.by", "string", 1),
    ),
    selectable=(".spec.servedModel",),
)
ROLLOUT_ACTION = Kind(
    resource=ROLLOUT_ACTIONS,
    short_name="ract",
    about="What a person does to a rollout, once. The API server vouches for who it was.",
    spec=RolloutActionSpec,
    status=RolloutActionStatus,
    columns=(
        ("Action", ".spec.action", "string", 0),
        ("Model", ".spec.servedModel", "string", 0),
        ("By", ".spec.requestedBy", "string", 0),
        ("State", ".status.state", "string", 0),
        ("Reason", ".spec.reason", "string", 1),
        ("Message", ".status.message", "string", 1),
    ),
    selectable=(".spec.servedModel",),
)
KINDS = (SERVED_MODEL, MODEL_REVISION, ROLLOUT_ACTION)


def crd(kind: Kind) -> Manifest:
    """Return a kind's CustomResourceDefinition."""
    resource = kind.resource
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [*_columns(kind), dict(_AGE)],
        "schema": {"openAPIV3Schema": schema(kind)},
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{resource.group}",
            "labels": {"app.kubernetes.io/part-of": "telltale"},
        },
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": ["telltale"],
            },
            "versions": [version],
        },
    }


def schema(kind: Kind) -> Schema:
    """Return the schema of a kind's objects."""
    status = structural(kind.status, defaults=False)
    if kind.unseen is not None:
        status["default"] = dict(kind.unseen)
    whole: Schema = {
        "description": kind.about,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(kind.spec, defaults=True),
            "status": status,
        },
    }
    return whole | ({"x-kubernetes-validations": [dict(rule) for rule in kind.rules]} if kind.rules else {})


def files() -> dict[str, str]:
    """Return the text of each file, by its name."""
    return {f"{kind.resource.plural}.yaml": _HEADER + _yaml(crd(kind)) for kind in KINDS}


def differing(folder: Path) -> list[str]:
    """Return the names of the files in ``folder`` that are missing, or are not as the models want them."""
    found = []
    for name, text in files().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            found.append(name)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print, write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m registry.crds", description="The CustomResourceDefinitions, made from the models."
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where to write them; printed if left out")
    parser.add_argument("--check", action="store_true", help="write nothing; tell which files differ")
    given = parser.parse_args(arguments)
    if given.folder is None:
        if given.check:
            parser.error("--check needs the folder to check")
        sys.stdout.write("---\n".join(files().values()))
        return 0
    if given.check:
        wrong = differing(given.folder)
        for name in wrong:
            sys.stderr.write(f"{given.folder / name} is not as the models want it: `{parser.prog} {given.folder}`\n")
        return 1 if wrong else 0
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (given.folder / name).write_text(text, encoding="utf-8")
    return 0


def _columns(kind: Kind) -> Iterator[dict[str, Any]]:
    for name, path, value_type, priority in kind.columns:
        column: dict[str, Any] = {"name": name, "type": value_type, "jsonPath": path}
        yield column | ({"priority": priority} if priority else {})


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out each time: a reader should not have to follow anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _yaml(manifest: Manifest) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


if __name__ == "__main__":
    raise SystemExit(main())

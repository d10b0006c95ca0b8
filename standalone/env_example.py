"""`.env.example`: every setting of every component, written from the settings classes.

`python -m standalone.env_example` prints it; `--check FILE` fails if the file tells something else.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from predictor.settings import PredictorSettings
from standalone.controller_main import ControllerSettings
from standalone.mlflow_settings import MlflowServerSettings
from standalone.settings import StandaloneSettings
from trainer.retention.settings import RetentionSettings
from trainer.settings import TrainerSettings

_COMPONENTS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("telltale serve", StandaloneSettings),
    ("predictor", PredictorSettings),
    ("trainer", TrainerSettings),
    ("controller of one machine", ControllerSettings),
    ("telltale gc", RetentionSettings),
    ("telltale mlflow-server", MlflowServerSettings),
)
_HEAD = "# Every setting, with its default. Written by `make env-example`; `make check` compares.\n"


def rendered() -> str:
    """Return the file's text; a setting that several components share is listed where it comes first."""
    blocks = [_HEAD]
    seen: set[str] = set()
    for title, settings in _COMPONENTS:
        lines = [f"\n# ---- {title} ----"]
        for name, field in settings.model_fields.items():
            variable = _variable(settings, name, field)
            if variable not in seen:
                seen.add(variable)
                lines += [*textwrap.wrap(field.description or "", 116, initial_indent="# ", subsequent_indent="# ")]
                lines.append(f"#{variable}={_default(field)}")
        blocks.append("\n".join(lines) + "\n")
    return "".join(blocks)


def _variable(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    alias = field.validation_alias or field.alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias) if alias else f"{settings.model_config.get('env_prefix', '')}{name}".upper()


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def main(arguments: list[str]) -> int:
    """Print the file, or compare one with it; returns the exit code."""
    match arguments:
        case ["--check", path]:
            if Path(path).read_text() == rendered():
                return 0
            sys.stderr.write(f"{path} does not tell today's settings: run `make env-example`\n")
            return 1
        case []:
            sys.stdout.write(rendered())
            return 0
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

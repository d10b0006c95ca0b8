"""What `kubectl` asks when somebody presses Tab after `kubectl telltale`: the program `kubectl_complete-telltale`.

Its answer is cobra's: a line for each suggestion, then `:4`, which means that files are none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from click.shell_completion import ShellComplete

from registry.plugin.cli import cli

_NO_FILES = ":4"


def suggestions(words: Sequence[str]) -> Iterator[str]:
    """Yield what the last of ``words`` may become, each with a description after a tab where there is one."""
    *before, last = words or [""]
    for item in ShellComplete(cli, {}, "kubectl telltale", "_TELLTALE").get_completions(list(before), last):
        if item.type == "plain":
            yield f"{item.value}\t{item.help}" if item.help else str(item.value)


def main() -> None:
    """Answer kubectl."""
    sys.stdout.write("\n".join([*suggestions(sys.argv[1:]), _NO_FILES]) + "\n")

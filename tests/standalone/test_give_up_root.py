from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from standalone.give_up_root import give_up_root

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up: run the tests as root")

_SCRIPT = """
import os, sys
from pathlib import Path
from standalone.errors import NotAllowed
from standalone.give_up_root import give_up_root
try:
    give_up_root(int(sys.argv[2]), Path(sys.argv[1]))
except NotAllowed as refusal:
    sys.exit(f"refused: {refusal}")
(Path(sys.argv[1]) / "mine").touch()
print(os.getresuid(), os.getresgid(), os.getgroups())
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


def became(data: Path, user: int, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-c", _SCRIPT, str(data), str(user)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@as_root
def test_the_folder_is_handed_over_and_root_given_up_for_good(data_folder: Path) -> None:
    done = became(data_folder / "data", 65532)
    assert done.stdout.splitlines() == ["(65532, 65532, 65532) (65532, 65532, 65532) []", "for good"], done.stderr
    assert (data_folder / "data").stat().st_uid == 65532
    assert (data_folder / "data" / "mine").stat().st_uid == 65532


@as_root
def test_a_user_with_a_name_gets_the_group_of_it(data_folder: Path) -> None:
    import pwd

    nobody = pwd.getpwnam("nobody")
    done = became(data_folder / "data", nobody.pw_uid)
    assert f"({nobody.pw_gid}, {nobody.pw_gid}, {nobody.pw_gid})" in done.stdout, done.stderr


@as_root
def test_root_without_the_right_to_is_told_what_it_lacks(data_folder: Path) -> None:
    done = became(data_folder / "data", 65532, "setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid")
    assert done.stderr.startswith("refused: started as root, and cannot go on as user 65532"), done.stderr
    assert "SETUID" in done.stderr


def test_nothing_changes_where_nobody_is_named(tmp_path: Path) -> None:
    before = os.getresuid()
    give_up_root(None, tmp_path / "data")
    give_up_root(0, tmp_path / "data")
    assert os.getresuid() == before
    assert not (tmp_path / "data").exists()

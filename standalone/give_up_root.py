"""Going on as an ordinary user where a container was started as root.

Platforms mount volumes that belong to root, and start a container as root so that it can use them. The folder is handed
over, and root given up for good, before anything else is done.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from standalone.errors import NotAllowed


def give_up_root(user: int | None, data: Path) -> None:
    """Become ``user``, to whom the data folder is given; nothing where we are not root, or ``user`` is None.

    Raises:
        NotAllowed: we may not; the message says what to do.

    """
    if user is None or user == 0 or os.geteuid() != 0:
        return
    try:
        group = pwd.getpwuid(user).pw_gid
    except KeyError:
        group = user
    try:
        data.mkdir(parents=True, exist_ok=True)
        if data.stat().st_uid != user:
            os.chown(data, user, group)
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    except PermissionError as error:
        raise NotAllowed(
            f"started as root, and cannot go on as user {user} of TELLTALE_RUN_AS ({error}): start it as that user, who"
            f" must own {data}, or allow CHOWN, SETGID and SETUID"
        ) from error

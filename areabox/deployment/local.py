"""Who needs no password: whoever may open the data directory, over the unix socket or in this very process."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Any, Any], Awaitable[None]]

LOCAL = "areabox.local"  # in scope["state"]; the gateway takes it for the first owner, or for X-Areabox-As


def local(app: Asgi) -> Asgi:
    """Return `app` as callers reach it who may open the data directory anyway."""

    async def marked(scope: Scope, receive: Any, send: Any) -> None:
        await app({**scope, "state": {**scope.get("state", {}), LOCAL: True}}, receive, send)

    return marked


def answers(path: Path) -> bool:
    """Return whether a daemon listens at a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


def in_use(database: Path) -> bool:
    """Return whether a process holds the lock of a database."""
    try:
        lock = os.open(f"{database}.lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False

"""Where areabox listens: a TCP address for everybody, and a unix socket in the data directory for the command line."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from areabox.errors import ConfigurationError

BACKLOG = 2048
FIRST_INHERITED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
PATH_MAX_BYTES = 100  # sun_path holds 108 on Linux, 104 on macOS


def tcp(host: str, port: int) -> list[socket.socket]:
    """Return sockets bound to every address of `host`; all get the same port.

    Raises `ConfigurationError` if the address cannot be used.
    """
    bound: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            same_port = bound[0].getsockname()[1] if bound else address[1]
            bound.append(_bind(family, (address[0], same_port, *address[2:])))
    except OSError as error:
        for sock in bound:
            sock.close()
        raise ConfigurationError(_refusal(host, port, error)) from error
    return bound


def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((info[0], info[4]) for info in found))


def _bind(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)  # now, so that a port in use is refused here and not somewhere inside the server
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _refusal(host: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"host {host!r} is no address of this machine: {error.strerror}"
    if isinstance(error, PermissionError):
        return f"port {port} on {host} is only for root; choose one above 1023 with --port, and a proxy in front"
    return f"port {port} on {host} cannot be used ({os.strerror(error.errno or 0)}); choose another with --port"


def inherited(count: int) -> list[socket.socket]:
    """Return the listening sockets that systemd opened already (socket activation)."""
    return [socket.socket(fileno=FIRST_INHERITED + n) for n in range(count)]


def unix(path: Path) -> socket.socket:
    """Return a listening socket at `path` that only this user may open; an old one is replaced."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def unix_path(data_dir: Path, *, create: bool = False) -> Path:
    """Return where the unix socket of a data directory lies: inside it, or in a private folder if that is too long."""
    inside = data_dir / "areabox.sock"
    if len(os.fsencode(inside)) <= PATH_MAX_BYTES:
        return inside
    mark = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"areabox-{os.getuid()}-{mark}"
    if create:
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.exists() and (folder.stat().st_uid != os.getuid() or folder.is_symlink()):
        raise ConfigurationError(f"{folder} belongs to somebody else; choose a shorter data directory")
    return folder / "areabox.sock"

"""Real database servers, each started once for the tests of a module, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from tests.connectors.brokers import Daemon, free_port, program


def redis_server(folder: Path, *more: str, port: int = 0) -> Daemon:
    """Return a Redis that is not started yet; it keeps what it is told over a restart."""
    port = port or free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes",
               "--daemonize", "no", *more]  # fmt: skip
    return Daemon(port, program("redis-server"), *options, log=folder / "redis.log")

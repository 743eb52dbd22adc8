"""Servers of other protocols that tests speak to: RabbitMQ, NATS, rclone, Radicale; each in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.connectors.brokers import Daemon, free_port, program

RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def wheel(name: str) -> str:
    """Return where a program is that a Python package brings along; skips the test by its name where it is missing."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else program(name)


class Rabbit:
    """A RabbitMQ broker: a node, a port and a folder of its own; it keeps what is durable over a restart."""

    def __init__(self, folder: Path) -> None:
        if not RABBIT.exists():
            pytest.skip("rabbitmq-server is not installed")
        self.folder, self.port, self.epmd = folder, free_port(), free_port()
        config = folder / "rabbitmq.conf"
        config.write_text("log.console = false\nvm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 1MB\n")
        self.environ = {
            **os.environ, "HOME": str(folder), "RABBITMQ_NODENAME": f"areabox{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()), "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder), "RABBITMQ_CONFIG_FILE": str(config), "ERL_EPMD_PORT": str(self.epmd),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.folder / "start.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(RABBIT)], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=self.environ, start_new_session=True
            )
        for _ in range(1_200):
            if self._greets():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"rabbitmq-server did not start: {log.read_text()[-2000:]}")

    def _greets(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as made:
            made.settimeout(5)
            made.sendall(b"AMQP\x00\x00\x09\x01")
            return made.recv(1) == b"\x01"
        return False

    def stop(self) -> None:
        """End it as a machine does that loses its power."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def close(self) -> None:
        """End it, and the port mapper that it left behind."""
        self.stop()
        epmd = shutil.which("epmd")
        for _ in range(50 if epmd else 0):
            done = subprocess.run([str(epmd), "-port", str(self.epmd), "-kill"], capture_output=True, check=False)
            if b"not allowed" not in done.stdout + done.stderr:  # it has noticed that the node is gone
                return
            time.sleep(0.1)


def rclone(kind: str, served: Path, *more: str) -> Daemon:
    """Return rclone serving a folder by `s3` or `webdav`, not started yet."""
    port = free_port()
    return Daemon(port, wheel("rclone"), "serve", kind, "--addr", f"127.0.0.1:{port}", "--config", "", *more, str(served),
                  log=served.parent / f"{served.name}.log")  # fmt: skip

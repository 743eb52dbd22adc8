"""What systemd is told, by datagrams on the socket that it named (sd_notify(3)); silent where there is none."""

from __future__ import annotations

import contextlib
import socket


class Notifier:
    """Tells the service manager how areabox does."""

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """Say that areabox serves."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that areabox stops because it was told to."""
        self._send("STOPPING=1", "STATUS=stopping")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a service manager that does not read must not hold up the daemon
            sock.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), self._address)

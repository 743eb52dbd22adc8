"""Dovecot as a source: mail that comes while IDLE is lost."""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import Sequence
from pathlib import Path

from tests.connectors.mailers import PASSWORD, Dovecot, letter


class Mail(Dovecot):
    service, doubles, secrets = "mail", 0, (PASSWORD,)
    id, path = "{{ trigger.subject }}", "$.subject"

    def __init__(self, folder: Path) -> None:
        del folder
        super().__init__()
        self.auth = {"address": "ann@example.org", "imap_host": "127.0.0.1", "imap_port": self.port, "imap_tls": "none"}
        self.trigger = {"mail.received": {"folder": "INBOX"}}
        self.sent: set[int] = set()

    async def send(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number not in self.sent:
                try:
                    await asyncio.to_thread(self.deliver, letter(str(number)))
                except imaplib.IMAP4.error as error:
                    raise OSError(str(error)) from error
                self.sent.add(number)

"""Who may make the first account? Whoever can read the token that areabox printed, or its file in the data folder."""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import Final

from areabox.clock import Clock
from areabox.errors import NotAllowedError
from areabox.users.accounts import Account, Accounts

TOKEN_BYTES: Final = 16
VALID_S: Final = 1800.0
FILE_NAME: Final = "setup-token"


class Setup:
    """The way in before there is any account; afterwards it is closed for good."""

    def __init__(self, accounts: Accounts, clock: Clock, data_dir: Path | None) -> None:
        self._accounts, self._clock = accounts, clock
        self.file = None if data_dir is None else data_dir / FILE_NAME
        self._token = ""
        self._until_s = 0.0

    async def issue(self) -> str | None:
        """Return a token that is good for half an hour and for one account; None if there are accounts already."""
        if await self._accounts.exist():
            self._forget()
            return None
        if not self._valid():
            self._token = self._clock.secret(TOKEN_BYTES).hex()
            self._until_s = self._clock.monotonic_s() + VALID_S
            self._write()
        return self._token

    async def create_owner(self, token: str, email: str, password: str) -> Account:
        """Make the first account; raises NotAllowedError for a wrong or old token, ConflictError if it is too late."""
        if not self._valid() or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise NotAllowedError("the setup token is wrong or older than half an hour")
        account = await self._accounts.create(email, password, "owner", first=True)
        self._forget()
        return account

    def _valid(self) -> bool:
        return bool(self._token) and self._clock.monotonic_s() < self._until_s

    def _write(self) -> None:
        if self.file is not None:
            self.file.unlink(missing_ok=True)
            with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(self._token + "\n")

    def _forget(self) -> None:
        self._token = ""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

"""How are the parts of the users' room put together? By the settings; mail about accounts goes by a connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from areabox.deployment.site import base_url_of
from areabox.errors import ConnectorError, InputError
from areabox.users.devices import Devices
from areabox.users.factors import Factors, Sealing
from areabox.users.links import Links
from areabox.users.pending import Pending
from areabox.users.people import People
from areabox.users.shares import Shares

if TYPE_CHECKING:
    from areabox.clock import Clock
    from areabox.database import Backend
    from areabox.deployment.settings import Settings
    from areabox.services.calls import Services
    from areabox.services.connections import Connections
    from areabox.users.accounts import Accounts

log = logging.getLogger(__name__)

SEND_S = 30.0


class Letters:
    """Mail about accounts, by the first connection to a mail server that the oldest owner has and that works."""

    def __init__(self, clock: Clock, accounts: Accounts, connections: Connections, services: Services) -> None:
        self._clock, self._accounts, self._connections, self._services = clock, accounts, connections, services

    async def __call__(self, to: str, subject: str, text: str) -> bool:
        """Send a mail; False where there is no way, or it failed, which is logged without the text."""
        owner = await self._accounts.first_owner()
        found = [] if owner is None else await self._connections.list(owner.id, service="mail")
        usable = next((connection for connection in found if connection.state != "dead"), None)
        if usable is None:
            return False
        letter = {"to": [to], "subject": subject, "text": text}
        key = self._clock.new_id()
        try:
            await self._services.react(
                "mail.send", letter, owner=usable.owner, connection=usable.id, key=key, attempt=1, timeout_s=SEND_S
            )
        except (ConnectorError, InputError) as error:
            log.warning("a mail about an account could not be sent by %s: %s", usable.name, error)
            return False
        return True


def people_of(
    settings: Settings, backend: Backend, clock: Clock, accounts: Accounts, connections: Connections,
    services: Services, vault: Sealing,
) -> People:  # fmt: skip
    """Return the parts of the users' room that the settings ask for."""
    return People(
        links=Links(backend, clock, accounts),
        shares=Shares(backend, clock),
        factors=Factors(backend, clock, vault),
        pending=Pending(backend, clock),
        devices=Devices(backend, clock),
        base_url=base_url_of(settings),
        registration=settings.registration,
        letter=Letters(clock, accounts, connections, services),
    )

"""Was this account in this browser before? A kind of browser in a network; new ones are told to the account's owner."""

from __future__ import annotations

import hashlib
import ipaddress
import re

from areabox.clock import Clock
from areabox.database import Backend, Unit, one

KEPT_MS = 400 * 86_400_000
KEPT_MAX = 50  # of an account
_PUT = """
insert into device (account, print, seen) values (?, ?, ?)
on conflict (account, print) do update set seen = excluded.seen
"""
_KNOWN = """
select count(*) as all_, coalesce(sum(print = ?), 0) as this from device where account = ? and seen > ?
"""
_OLD = """
delete from device where account = ? and print not in (
 select print from device where account = ? and seen > ? order by seen desc limit ?)
"""


class Devices:
    """The browsers that accounts came from."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    async def note(self, account_id: str, agent: str, address: str) -> bool:
        """Note a sign-in, and return whether it is from a browser that is new; the first one of all is not."""
        now, print_ = self._clock.now_ms(), fingerprint(agent, address)
        row = await one(self._backend, _KNOWN, print_, account_id, now - KEPT_MS)
        assert row is not None
        unit = Unit().do(_PUT, account_id, print_, now)
        unit.do(_OLD, account_id, account_id, now - KEPT_MS, KEPT_MAX)
        await self._backend.commit(unit)
        return bool(row["all_"]) and not row["this"]


def fingerprint(agent: str, address: str) -> str:
    """Return what tells a kind of browser in a network; its versions and the last part of its address may change."""
    kind = re.sub(r"[\d._]+", "", agent)
    return hashlib.sha256(f"{kind}\n{_network(address)}".encode()).hexdigest()


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    bits = 48 if isinstance(parsed, ipaddress.IPv6Address) else 24
    return str(ipaddress.ip_network((parsed, bits), strict=False))

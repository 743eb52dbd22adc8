"""What may be forgotten: old events, keys that their source no longer lists, subscriptions that nobody wants.

A key is kept for 30 days after its source last listed it, counted by the source's newest listing and not by the
clock: a feed that answers "not modified" for a year, or a daemon that was off, forgets nothing.
"""

from __future__ import annotations

from areabox.database import Backend, Unit

DAY_MS = 86_400_000
SEEN_KEPT_MS = 30 * DAY_MS + 8 * DAY_MS  # a listing is noted at most 7 days late (inbox.REFRESH_MS)
DELIVERY_KEPT_MS = 7 * DAY_MS
DELIVERIES = "delivery:%"

_OLD_EVENTS = """
select id from event where at < ? and not exists (select 1 from run where run.event = event.id) order by at, id limit ?
"""
_DROP_EVENT = "delete from event where id = ?"
_DROP_BLOB = "delete from blob where owner = ?"
_OLD_KEYS = """
select s.subscription, s.key from seen s
join (select subscription, max(at) as newest from seen where key not like ? group by subscription) n
  on n.subscription = s.subscription
where s.key not like ? and s.at < n.newest - ? limit ?
"""
_OLD_DELIVERIES = """
select s.subscription, s.key from seen s
join (select subscription, max(at) as newest from seen where key like ? group by subscription) n
  on n.subscription = s.subscription
where s.key like ? and s.at < n.newest - ? limit ?
"""
_DROP_KEY = "delete from seen where subscription = ? and key = ?"
_UNWANTED = """
select s.id, s.version from subscription s
where s.active = 0 and s.created < ? and coalesce(s.last, 0) < ?
and not exists (select 1 from area_subscription x where x.subscription = s.id)
and not exists (select 1 from job j where j.wait_key = 'sub:' || s.id)
limit ?
"""
_DROP_SUBSCRIPTION = "delete from subscription where id = ? and version = ?"
_DROP_KEYS = "delete from seen where subscription = ?"


async def prune(backend: Backend, before_ms: int, limit: int) -> int:
    """Forget at most `limit` rows of each kind, events from before `before_ms` among them; return how many went."""
    forgotten = await _events(backend, before_ms, limit)
    forgotten += await _keys(backend, _OLD_KEYS, SEEN_KEPT_MS, limit)
    forgotten += await _keys(backend, _OLD_DELIVERIES, DELIVERY_KEPT_MS, limit)
    return forgotten + await _subscriptions(backend, before_ms, limit)


async def _events(backend: Backend, before_ms: int, limit: int) -> int:
    unit, old = Unit(), await backend.read(_OLD_EVENTS, before_ms, limit)
    for row in old:
        unit.do(_DROP_BLOB, row["id"]).do(_DROP_EVENT, row["id"])
    return len(old) if old and await backend.commit(unit) else 0


async def _keys(backend: Backend, sql: str, kept_ms: int, limit: int) -> int:
    unit, old = Unit(), await backend.read(sql, DELIVERIES, DELIVERIES, kept_ms, limit)
    for row in old:
        unit.do(_DROP_KEY, row["subscription"], row["key"])
    return len(old) if old and await backend.commit(unit) else 0


async def _subscriptions(backend: Backend, before_ms: int, limit: int) -> int:
    forgotten = 0
    for row in await backend.read(_UNWANTED, before_ms, before_ms, limit):
        unit = Unit().do(_DROP_SUBSCRIPTION, row["id"], row["version"], expect=1).do(_DROP_KEYS, row["id"])
        forgotten += await backend.commit(unit)
    return forgotten

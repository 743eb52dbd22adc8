"""Which services deliver what is polled otherwise? Asks them to, sees that they do, and has them stop.

A row is written before its service is asked and goes after the service was told that nobody listens, so that a process
which ends at any point leaves nothing behind there: the next one goes on from the row. Polling never stops; while
deliveries come it is only slower. What a poll finds and no delivery brought makes the subscription suspect, and it is
made anew. The rows are kept in memory as well; nobody else writes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from areabox.actions import push_rows
from areabox.actions.making import POLL_MS_DEFAULT, Seal
from areabox.actions.push_pace import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NEVER_MS,
    backoff_ms,
    grace_ms,
    renewal_ms,
    slow_ms,
)
from areabox.actions.push_rows import Deal, Push
from areabox.actions.rows import Subscription
from areabox.actions.subscriptions import Subscriptions
from areabox.clock import Clock, encode_id
from areabox.database import Backend, Unit
from areabox.errors import (
    AreaboxError,
    ConfigurationError,
    ConnectorError,
    InputError,
    Transient,
    Uncertain,
)
from areabox.monitoring.loops import Bell

log = logging.getLogger(__name__)

DOUBTED = 2  # made anew so often without any delivery, it is not relied on any more
END_TRIES = 12
AT_ONCE = 8
SLEEP_S_MAX = 60.0
SCAN_MS = HOUR_MS

_REFUSALS = (ConnectorError, InputError, ConfigurationError)
_LATER = (Transient, Uncertain)


class Webhooks(Protocol):
    """Whoever calls connectors."""

    async def subscribe(
        self,
        action_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        url: str,
        secret: str,
        state: Any = None,
    ) -> Any:
        """Ask a service to deliver, or with `state` to go on doing so. Raises `ConnectorError`."""
        ...

    async def unsubscribe(
        self,
        action_id: str,
        params: dict[str, Any],
        *,
        owner: str,
        connection: str | None,
        state: Any,
        url: str = "",
        secret: str = "",
    ) -> None:
        """Ask a service to deliver no more. Raises `ConnectorError`."""
        ...


class Pushes:
    """All services that deliver."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        subscriptions: Subscriptions,
        webhooks: Webhooks,
        seal: Seal | None,
        public_url: str | None,
    ) -> None:
        self.bell = Bell()
        self.soon: Callable[[str], None] | None = None  # polls one now
        self._backend, self._clock = backend, clock
        self._subscriptions, self._webhooks, self._seal = subscriptions, webhooks, seal
        self._base = public_url.rstrip("/") if public_url and seal is not None else None
        self._known: dict[str, Push] = {}
        self._heard: dict[str, int] = {}  # not written yet
        self._changed: set[str] | None = None  # None: all may have
        self._scan_at = 0
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Learn who delivers."""
        self._known = {row["subscription"]: push_rows.read(row) for row in await self._backend.read(push_rows.ALL)}

    # -- asked and told by others ----------------------------------------------------------------------------------

    def changed(self, id: str | None = None) -> None:
        """Look at a subscription again, or at all of them, now."""
        if id is None:
            self._changed = None
        elif self._changed is not None and (self._base is not None or id in self._known):
            self._changed.add(id)
        self.bell.ring()

    def knows(self, id: str) -> bool:
        """Tell whether a subscription has an address of its own."""
        return id in self._known

    async def by_hook(self, key: str) -> tuple[Subscription, str] | None:
        """Return the subscription whose deliveries come to this address, and their secret."""
        for push in self._known.values():
            if push.hook == key:
                sub = await self._subscriptions.load(push.subscription)
                return None if sub is None else (sub, self._deal(push).secret)
        return None

    def heard(self, id: str) -> None:
        """Note that a delivery came, and was genuine."""
        if id in self._known:
            self._heard[id] = self._clock.now_ms()

    def every_ms(self, sub: Subscription, begun_ms: int) -> int:
        """Return how long to wait after the poll that began then: longer where news is delivered."""
        every_ms, push = sub.every_ms or POLL_MS_DEFAULT, self._known.get(sub.id)
        if push is None or push.made is None or push.suspect is not None or push.fails or push.remade >= DOUBTED:
            return every_ms
        if not push.caught_up and begun_ms < push.made:
            return every_ms
        return slow_ms(every_ms)

    async def polled(self, sub: Subscription, begun_ms: int, news: int) -> None:
        """Judge by what a poll found whether all is delivered that should be."""
        if sub.baseline:
            self.changed(sub.id)  # from now on it is known what is news
        push, now = self._known.get(sub.id), self._clock.now_ms()
        if push is None or push.made is None or begun_ms < push.made:
            return
        if not push.caught_up:
            await self._save(push, caught_up=True)
        elif news and push.suspect is None and self._last(push) < now - slow_ms(sub.every_ms or POLL_MS_DEFAULT):
            await self._save(push, suspect=now, due=min(push.due, now + grace_ms(push.remade)))
            self.bell.ring()

    async def reconnected(self, connection: str) -> None:
        """Ask again what was refused while a connection was dead."""
        for push in list(self._known.values()):
            if push.connection == connection and push.fails:
                await self._save(push, due=self._clock.now_ms())
        self.bell.ring()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def tick(self) -> float:
        """Ask services to deliver, to go on, or to stop, and return the seconds until the next is due."""
        now = self._clock.now_ms()
        changed, self._changed = self._changed, set()
        try:
            await self._note_heard()
            if changed is None or now >= self._scan_at:
                changed, self._scan_at = await self._all(), now + SCAN_MS
            due = {push.subscription for push in self._known.values() if push.due <= now}
            places = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                for id in sorted(changed | due):
                    tasks.create_task(self._care(id, places))
        except BaseException:
            self._changed = None
            raise
        wait_ms = min((push.due for push in self._known.values()), default=now + NEVER_MS) - self._clock.now_ms()
        return min(max(wait_ms / 1000, 0.1), SLEEP_S_MAX)

    async def _all(self) -> set[str]:
        polls = await self._subscriptions.active("poll") if self._base is not None else []
        return {sub.id for sub in polls if self._is_pushed(sub)} | self._known.keys()

    async def _note_heard(self) -> None:
        """Write down when deliveries came, where it matters; may lose the last minute."""
        heard, self._heard = self._heard, {}
        for id, at in heard.items():
            if (push := self._known.get(id)) is not None:
                await self._save(push, heard=at, remade=0)

    async def _care(self, id: str, places: asyncio.Semaphore) -> None:
        """Bring one to what it must be."""
        async with places:
            try:
                await self._bring(await self._subscriptions.load(id), self._known.get(id))
            except (ConfigurationError, InputError) as error:  # another key, or a connector that is gone for a while
                log.warning("deliveries cannot be looked after: %s", error, extra={"subscription": id})
                if (push := self._known.get(id)) is not None:
                    await self._failed(push, error, HOUR_MS)

    async def _bring(self, sub: Subscription | None, push: Push | None) -> None:
        now = self._clock.now_ms()
        if sub is None or not self._is_wanted(sub):
            if push is not None and (push.due <= now or not push.fails):
                await self._end(push)
            return
        if push is not None and not self._fits(push, sub):
            if not await self._end(push):
                return
            push = None
        if push is None and not sub.baseline:  # with a baseline to come: the poller says when it is done
            push = await self._begin(sub)
        if push is not None and push.due <= now:
            await self._keep(push)

    def _is_wanted(self, sub: Subscription) -> bool:
        return self._base is not None and sub.active and sub.kind == "poll" and self._is_pushed(sub)

    def _is_pushed(self, sub: Subscription) -> bool:
        try:
            return self._subscriptions.operation(sub.action).pushed
        except InputError:  # its connector is gone, perhaps for a moment
            return sub.id in self._known

    def _fits(self, push: Push, sub: Subscription) -> bool:
        """Tell whether the service was asked for what is wanted now."""
        asked = (push.url, push.connection, self._deal(push).params)
        return asked == (self._url(push.hook), sub.connection, sub.params | self._subscriptions.secrets(sub))

    async def _begin(self, sub: Subscription) -> Push:
        """Write down that a service will be asked, so that its first question is answered and nothing is left there."""
        hook, secret = (encode_id(int.from_bytes(self._clock.secret(16), "big")) for _ in range(2))
        deal = Deal(secret, sub.params | self._subscriptions.secrets(sub))
        push = Push(
            subscription=sub.id, owner=sub.owner, action=sub.action, connection=sub.connection, hook=hook,
            url=self._url(hook), sealed=self._sealed(sub.id, deal), due=self._clock.now_ms(),
        )  # fmt: skip
        unit = Unit()
        push_rows.insert(unit, push)
        if await self._backend.commit(unit):
            self._known[sub.id] = push
        return push

    # -- asking the service ----------------------------------------------------------------------------------------

    async def _keep(self, push: Push) -> None:
        """Subscribe, renew, or make anew what was lost; what fails is tried again later."""
        self._subscriptions.operation(push.action)  # without its connector nothing is changed
        if push.suspect is not None and self._last(push) > push.suspect:
            await self._save(push, suspect=None, due=self._renewal(push.made or 0, push))
            return
        renewing = push.made is not None and push.suspect is None
        try:
            await (self._renew(push) if renewing else self._subscribe(push))
        except _LATER as error:
            await self._failed(push, error, backoff_ms(push.fails + 1, error))
        except _REFUSALS as error:
            if not renewing:
                await self._failed(push, error, DAY_MS)
                return
            gone = msgspec.structs.replace(self._deal(push), state=None)
            await self._failed(push, error, MINUTE_MS, made=None, sealed=self._sealed(push.subscription, gone))

    async def _subscribe(self, push: Push) -> None:
        deal = self._deal(push)
        if push.made is not None:  # it was lost, or the service forgot what it was asked for
            await self._told(push, deal)
        state = await self._webhooks.subscribe(
            push.action, deal.params, owner=push.owner, connection=push.connection, url=push.url, secret=deal.secret
        )
        now = self._clock.now_ms()
        deal = msgspec.structs.replace(deal, state=state)
        await self._save(
            push, sealed=self._sealed(push.subscription, deal), made=now, due=self._renewal(now, push),
            caught_up=False, suspect=None, remade=push.remade + (push.made is not None), fails=0, error=None,
        )  # fmt: skip
        log.info("%s is delivered from now on", push.action, extra={"subscription": push.subscription})
        self._soon(push.subscription)  # what happened since the last poll was delivered by nobody

    async def _renew(self, push: Push) -> None:
        deal, now = self._deal(push), self._clock.now_ms()
        if self._subscriptions.operation(push.action).renew_ms is None:
            await self._save(push, due=now + NEVER_MS, fails=0, error=None)
            return
        state = await self._webhooks.subscribe(
            push.action, deal.params, owner=push.owner, connection=push.connection, url=push.url, secret=deal.secret,
            state=deal.state,
        )  # fmt: skip
        after = msgspec.structs.replace(deal, state=state)
        await self._save(
            push, sealed=self._sealed(push.subscription, after), due=self._renewal(now, push), fails=0, error=None
        )
        if push.fails:
            self._soon(push.subscription)
        if state != deal.state:
            await self._told(push, deal)

    async def _told(self, push: Push, deal: Deal) -> None:
        """Tell a service to stop what has been replaced; it may have forgotten it long since."""
        try:
            await self._unsubscribe(push, deal)
        except _REFUSALS as error:
            log.info("an old subscription at %s was not ended: %s", push.action, self._said(push, error))

    async def _end(self, push: Push) -> bool:
        """Have a service deliver no more, and forget it; False: it must be told again later."""
        try:
            if push.made is not None:
                await self._unsubscribe(push, self._deal(push))
        except _LATER as error:
            if push.fails < END_TRIES:
                await self._failed(push, error, backoff_ms(push.fails + 1, error))
                return False
            log.warning("%s goes on delivering, since it could not be told: %s", push.action, self._said(push, error))
        except _REFUSALS as error:
            log.warning("%s could not be told to deliver no more: %s", push.action, self._said(push, error))
        unit = Unit()
        push_rows.delete(unit, push)
        await self._backend.commit(unit)
        self._known.pop(push.subscription, None)
        self._soon(push.subscription)  # at the usual pace from now on, if it is polled at all
        return True

    async def _unsubscribe(self, push: Push, deal: Deal) -> None:
        await self._webhooks.unsubscribe(
            push.action, deal.params, owner=push.owner, connection=push.connection, state=deal.state, url=push.url,
            secret=deal.secret,
        )  # fmt: skip

    # -- rows ------------------------------------------------------------------------------------------------------

    def _soon(self, id: str) -> None:
        if self.soon is not None:
            self.soon(id)

    async def _failed(self, push: Push, error: AreaboxError, wait_ms: int, **changes: Any) -> None:
        said = self._said(push, error)
        log.info("%s is not delivered, and goes on being polled: %s", push.action, said)
        after = {"fails": push.fails + 1, "error": said}
        await self._save(push, **after, **changes, due=self._clock.now_ms() + wait_ms)
        if not push.fails and push.made is not None:
            self._soon(push.subscription)

    def _said(self, push: Push, error: AreaboxError) -> str:
        """Return an error's words without what only the service may know; services like to repeat what they refuse."""
        text = str(error) or type(error).__name__
        if isinstance(error, ConnectorError):
            text = text.replace(push.hook, "***").replace(self._deal(push).secret, "***")
        return text

    async def _save(self, push: Push, **changes: Any) -> None:
        """Change fields of one, as it is by now."""
        async with self._writing:
            current = self._known.get(push.subscription)
            if current is None:
                return
            after, unit = msgspec.structs.replace(current, **changes), Unit()
            push_rows.update(unit, after)
            if await self._backend.commit(unit):
                self._known[push.subscription] = after

    def _last(self, push: Push) -> int:
        """Return when the last delivery came."""
        return self._heard.get(push.subscription) or push.heard or 0

    def _renewal(self, since_ms: int, push: Push) -> int:
        return since_ms + renewal_ms(self._subscriptions.operation(push.action).renew_ms)

    def _url(self, hook: str) -> str:
        return f"{self._base}/hooks/{hook}"

    def _sealed(self, id: str, deal: Deal) -> bytes:
        assert self._seal is not None
        return self._seal.seal(_purpose(id), msgspec.json.encode(deal))

    def _deal(self, push: Push) -> Deal:
        assert self._seal is not None
        return msgspec.json.decode(self._seal.open(_purpose(push.subscription), push.sealed), type=Deal)


def _purpose(id: str) -> str:
    return f"push|sealed|{id}"

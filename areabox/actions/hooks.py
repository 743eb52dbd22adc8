"""What a webhook's delivery becomes: an event on disk, before anybody is answered.

The hot path: the address is looked up in memory, the delivery is verified on its raw bytes, and one Unit is written.
Nothing is read, and no task is made, unless the address is new or the delivery came before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from areabox.actions import rows
from areabox.actions.inbox import Dedupe, Inbox, Item, short
from areabox.actions.pushes import Pushes
from areabox.actions.rows import Subscription
from areabox.actions.subscriptions import Subscriptions
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import ConfigurationError, ConnectorError, InputError, NotFoundError
from areabox.sdk import Delivery, Verifier

log = logging.getLogger(__name__)

DEPTH_MAX = 32
QUERY_FIELDS_MAX = 1_000
KEY_LENGTH = 26
AGAIN_MS = 300_000
_SEEN = "select 1 from seen where subscription = ? and key = ?"
STRANGERS_MAX = 1_000  # wrong addresses that are remembered, so that they cost no reading

# Where senders name a delivery, so that one that comes again is known (Standard Webhooks, Svix, GitHub, GitLab,
# Gitea and Forgejo, Shopify, and the IETF's Idempotency-Key draft).
DELIVERY_HEADERS = (
    "webhook-id",
    "svix-id",
    "x-github-delivery",
    "x-gitlab-event-uuid",
    "x-gitea-delivery",
    "x-forgejo-delivery",
    "x-shopify-webhook-id",
    "idempotency-key",
)

Headers = Mapping[str, str] | Iterable[tuple[bytes, bytes]]


class Receipt(msgspec.Struct, frozen=True):
    """What the sender is told: `event` is on disk; a handshake has its own `body` instead."""

    event: str | None
    status: int = 202
    body: bytes | None = None
    media_type: str = "application/json"


class Deliveries(Protocol):
    """Whoever calls connectors."""

    def delivery(
        self, action_id: str, params: dict[str, Any], delivery: Delivery, secret: str | None
    ) -> list[dict[str, Any]]:
        """Verify a delivery and return the events in it. Raises `NotAllowedError` for a wrong signature."""
        ...

    async def secret(self, action_id: str, connection: str | None) -> str | None:
        """Return what deliveries are verified with, where that is a field of the connection; raises ConnectorError."""
        ...

    def handshake(self, action_id: str, delivery: Delivery) -> str | None:
        """Return what a service's first question is answered with; None for a delivery like any other."""
        ...


class _Hook(msgspec.Struct, frozen=True):
    sub: Subscription
    params: dict[str, Any]
    secret: str | None
    dedupe: Dedupe
    delivery_header: str | None
    pushed: bool = False
    verifier: Verifier | None = None  # where it says what a delivery is known by


class Hooks:
    """All addresses at which something may come in."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        subscriptions: Subscriptions,
        inbox: Inbox,
        deliveries: Deliveries,
        *,
        pushes: Pushes | None = None,
        public_url: str | None = None,
    ) -> None:
        self._base = (public_url or "").rstrip("/")
        self._backend = backend
        self._clock = clock
        self._subscriptions = subscriptions
        self._inbox = inbox
        self._deliveries = deliveries
        self._pushes = pushes
        self._hooks: dict[str, _Hook] = {}
        self._strangers: set[str] = set()
        self._last: dict[str, int] = {}  # when each was last called, not written yet

    async def open(self) -> None:
        """Learn all addresses."""
        self._hooks.clear()
        self._strangers.clear()
        for sub in await self._subscriptions.active("hook"):
            await self._learn(sub)

    async def changed(self, id: str | None = None) -> None:
        """Learn an address anew, or forget all of them until they are called."""
        self._strangers.clear()
        if id is None:
            self._hooks.clear()
            return
        sub = await self._subscriptions.load(id)
        for key in [key for key, hook in self._hooks.items() if hook.sub.id == id]:
            del self._hooks[key]
        if sub is not None and sub.active:
            await self._learn(sub)

    def reconnected(self, connection: str) -> None:
        """Forget the addresses of a connection until they are called: what verifies their deliveries may be another."""
        self._hooks = {key: hook for key, hook in self._hooks.items() if hook.sub.connection != connection}

    async def receive(
        self, key: str, method: str, path: str, query: str | bytes, headers: Headers, body: bytes
    ) -> Receipt:
        """Store what was delivered and return when it is on disk.

        Raises `NotFoundError` for an address that nobody listens at, `NotAllowedError` for a wrong signature,
        `InputError` for what cannot be read, `StorageFullError`.
        """
        hook = self._hooks.get(key) or await self._find(key)
        named = _headers(headers)
        delivery = Delivery(
            method=method,
            url=self._url(key, path, query, named),
            path=path if path[:1] == "/" else f"/{path}",
            query=_query(query),
            headers=named,
            body=body,
            json=parse(body),
        )
        if (answer := self._deliveries.handshake(hook.sub.action, delivery)) is not None:
            return Receipt(None, 200, answer.encode(), "text/plain; charset=utf-8")
        events = self._deliveries.delivery(hook.sub.action, hook.params, delivery, hook.secret)
        known_by = await self._proved(hook, delivery) if hook.verifier else self._named(hook, delivery)
        if hook.pushed and self._pushes is not None:
            self._pushes.heard(hook.sub.id)
        else:
            self._last[hook.sub.id] = self._clock.now_ms()
        if len(events) == 1 and hook.dedupe is None:
            return Receipt(await self._inbox.receive(self._inbox.event(hook.sub, Item.of(events[0]).payload), known_by))
        items = [Item.of(event) for event in events]
        stored = await self._inbox.put(hook.sub, items, dedupe=hook.dedupe, delivery=known_by)
        return Receipt(stored[0] if stored else None)

    async def tick(self) -> float:
        """Write down when hooks were last called; may lose the last minute."""
        last, self._last = self._last, {}
        if last:
            unit = Unit()
            for id, at in last.items():
                unit.do(rows.TOUCH, at, id, at)
            await self._backend.commit(unit)
        return 60.0

    async def _find(self, key: str) -> _Hook:
        """Look an address up that is not known yet: it may be seconds old."""
        if len(key) == KEY_LENGTH and key not in self._strangers:
            if self._pushes is not None and (pushed := await self._pushes.by_hook(key)) is not None:
                return self._pushed_hook(*pushed)
            sub = await self._subscriptions.by_hook(key)
            if sub is not None and sub.active and (hook := await self._learn(sub)) is not None:
                return hook
            if len(self._strangers) >= STRANGERS_MAX:
                self._strangers.clear()
            self._strangers.add(key)
        raise NotFoundError("nobody listens at this address")

    def _pushed_hook(self, sub: Subscription, secret: str) -> _Hook:
        """Return what may be delivered instead of polled; asked for each time, since its poll changes at any time."""
        if not sub.active:
            raise NotFoundError("nobody listens at this address any more")
        operation, params = self._subscriptions.operation(sub.action), sub.params | self._subscriptions.secrets(sub)
        news = msgspec.structs.replace(sub, baseline=False)  # whatever is delivered was not there before
        header, verifier = getattr(operation, "delivery_id", None), _verifier(operation, params)
        return _Hook(news, params, secret, operation.dedupe, header, pushed=True, verifier=verifier)

    async def _learn(self, sub: Subscription) -> _Hook | None:
        """Take an address in; one whose action is gone, or whose secret cannot be read, is left out and logged."""
        try:
            operation, secrets = self._subscriptions.operation(sub.action), self._subscriptions.secrets(sub)
            secret = secrets.get("secret")
            if secret is None and sub.connection is not None:
                secret = await self._deliveries.secret(sub.action, sub.connection)
        except (InputError, ConfigurationError, ConnectorError) as error:
            log.warning("a webhook cannot be received: %s", error, extra={"subscription": sub.id})
            return None
        params = sub.params | secrets
        header, verifier = getattr(operation, "delivery_id", None), _verifier(operation, params)
        hook = _Hook(sub, params, secret, operation.dedupe, header, verifier=verifier)
        if sub.hook is not None:
            self._hooks[sub.hook] = hook
        return hook

    def _url(self, key: str, path: str, query: str | bytes, headers: Mapping[str, str]) -> str:
        base = self._base or f"http://{headers.get('host', '')}"
        behind = path if path[:1] == "/" or not path else f"/{path}"
        asked = query.decode("latin-1") if isinstance(query, bytes) else query
        return f"{base}/hooks/{key}{behind}{'?' if asked else ''}{asked}"

    async def _proved(self, hook: _Hook, delivery: Delivery) -> str:
        """Return what this delivery is known by, out of what its sender signed: no other name makes it another.

        Where the signature has no time, equal bodies are the same delivery for as long as one of them was named, and
        else for five minutes, since a sender may have the same to say again.
        """
        proof = hook.verifier.proof(delivery) if hook.verifier is not None and hook.verifier.proof is not None else ""
        if not proof or hook.verifier is None:
            return self._named(hook, delivery)
        whole = short(f"delivery:signed:{proof}")
        if hook.verifier.lasting or self._named(hook, delivery) or await self._backend.read(_SEEN, hook.sub.id, whole):
            return whole
        return short(f"delivery:signed:{self._clock.now_ms() // AGAIN_MS}:{proof}")

    def _named(self, hook: _Hook, delivery: Delivery) -> str:
        """Return what this delivery is known by, or nothing."""
        names = (hook.delivery_header.lower(),) if hook.delivery_header else DELIVERY_HEADERS
        for name in names:
            if value := delivery.headers.get(name):
                return short(f"delivery:{value}")
        return ""


def _verifier(operation: Any, params: dict[str, Any]) -> Verifier | None:
    """Return how a hook's deliveries are verified, where that tells what they are known by."""
    found = operation.verifier(params) if hasattr(operation, "verifier") else None
    return found if isinstance(found, Verifier) and found.proof is not None else None


def parse(body: bytes) -> Any:
    """Return a body's JSON, None if it is none. Raises `InputError` where it is nested more than 32 deep."""
    if not body:
        return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    except RecursionError as error:
        raise InputError(f"the JSON is nested more than {DEPTH_MAX} deep") from error
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and depth(value) > DEPTH_MAX:
        raise InputError(f"the JSON is nested more than {DEPTH_MAX} deep")
    return value


def depth(value: Any) -> int:
    """Return how deep lists and objects are nested in a JSON value."""
    levels, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        levels += 1
        if levels > DEPTH_MAX:
            break
        level = [item for inner in level for item in (inner.values() if isinstance(inner, dict) else inner)]
    return levels


def _headers(headers: Headers) -> dict[str, str]:
    if isinstance(headers, Mapping):
        return {name.lower(): value for name, value in headers.items()}
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _query(query: str | bytes) -> dict[str, Any]:
    """Return the fields of a query: text, or a list where a name comes more than once."""
    if not query:
        return {}
    text = query.decode("latin-1") if isinstance(query, bytes) else query
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:
        raise InputError(f"the query has more than {QUERY_FIELDS_MAX} fields") from error
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found

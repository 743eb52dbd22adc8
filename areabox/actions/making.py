"""What one subscription becomes when an area wants it: new, changed, switched on or off. No reads, no waiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from areabox.actions import rows, triggers
from areabox.actions.rows import Kind, Missed, Role, Subscription
from areabox.clock import Clock, encode_id
from areabox.database import Unit
from areabox.errors import InputError
from areabox.sdk import duration_ms

POLL_MS_MIN = 1_000
POLL_MS_DEFAULT = 900_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger, or one step that waits, asks for."""

    place: str  # the trigger's id, or the step's
    action: str
    params: dict[str, Any] = {}
    role: Role = "trigger"
    connection: str | None = None  # its id
    every_ms: int | None = None
    missed: Missed = "latest"
    shared: bool | None = None  # None: as the action declares


class Operation(Protocol):
    """What must be known of an action."""

    @property
    def id(self) -> str:
        """Its name of today."""
        ...

    @property
    def kind(self) -> str:
        """How it happens: poll, stream, schedule, hook or internal."""
        ...

    @property
    def shared(self) -> bool:
        """Whether areas that ask for the same share it."""
        ...

    @property
    def poll_ms(self) -> int | None:
        """How often it is polled unless the area says."""
        ...

    @property
    def dedupe(self) -> Literal["key", "change"] | None:
        """What makes an item news."""
        ...

    @property
    def pushed(self) -> bool:
        """Whether its service can deliver what is polled."""
        ...

    @property
    def renew_ms(self) -> int | None:
        """How long a service delivers before it must be asked again."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """Its form; the value of a field that is `secret` is stored encrypted."""
        ...

    def upgraded(self, params: dict[str, Any], /) -> dict[str, Any]:
        """Return parameters that may be older in today's form."""
        ...


class Catalogue(Protocol):
    """Which actions there are."""

    def action(self, name: str, /) -> Operation | None:
        """Return the action of that id."""
        ...


class Seal(Protocol):
    """Encrypts what must not lie open in the database."""

    def seal(self, purpose: str, data: bytes, /) -> bytes:
        """Encrypt for one purpose, which must be given again to open it."""
        ...

    def open(self, purpose: str, data: bytes, /) -> bytes:
        """Decrypt what `seal` gave."""
        ...


class Maker:
    """Knows what actions ask of their subscriptions, and writes the statements."""

    def __init__(self, clock: Clock, catalogue: Catalogue, seal: Seal | None, zone: str) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._seal = seal
        self._zone = zone

    def operation(self, action: str) -> Operation:
        """Return what the catalogue knows of an action; raises `InputError`."""
        operation = self._catalogue.action(action)
        if operation is None:
            raise InputError(f"there is no action {action}")
        return operation

    def shared(self, want: Wanted) -> bool:
        """Tell whether areas that want the same have one subscription."""
        return self.operation(want.action).shared if want.shared is None else want.shared

    def identity(self, area_id: str, owner: str, want: Wanted) -> str:
        """Return what makes two wishes the same."""
        alone = () if self.shared(want) else (area_id, want.role, want.place)
        return rows.identity(owner, self.operation(want.action).id, want.params, want.connection, alone)

    def asks_for(self, sub: Subscription, want: Wanted) -> bool:
        """Tell whether one is what is wanted, under a former name or with parameters in a former form."""
        operation = self._catalogue.action(sub.action)
        if operation is None or operation.id != self.operation(want.action).id or sub.connection != want.connection:
            return False
        return operation.upgraded(sub.params | self.secrets(sub)) == want.params

    def secrets(self, sub: Subscription) -> dict[str, Any]:
        """Return the secret parameters of one."""
        if sub.secret is None or self._seal is None:
            return {}
        found: dict[str, Any] = msgspec.json.decode(self._seal.open(_purpose(sub.id), sub.secret))
        return found

    def spec(self, sub: Subscription) -> triggers.Spec:
        """Return when a schedule fires; raises `InputError`."""
        return triggers.spec(sub.params, anchor=sub.cursor.get("anchor", sub.created), seed=sub.id, zone=self._zone)

    def create(self, unit: Unit, area_id: str, owner: str, want: Wanted, *, active: bool) -> Subscription:
        """Add a new one."""
        operation, now, id = self.operation(want.action), self._clock.now_ms(), self._clock.new_id()
        kind: Kind = operation.kind  # type: ignore[assignment]  # of a reaction nobody asks here
        params, secret = self._sealed(id, operation, want.params)
        sub = Subscription(
            id=id,
            owner=owner,
            identity=self.identity(area_id, owner, want),
            action=operation.id,
            params=params,
            connection=want.connection,
            kind=kind,
            every_ms=_interval(operation, want),
            missed=want.missed,
            hook=self._key() if kind == "hook" else None,
            secret=secret,
            cursor={"anchor": now} if kind == "schedule" else {},
            baseline=kind == "poll",
            active=active,
            created=now,
        )
        if active:
            sub = msgspec.structs.replace(sub, next=self._next(sub))
        rows.insert(unit, sub)
        return sub

    def revise(
        self, unit: Unit, area_id: str, sub: Subscription, want: Wanted, *, active: bool, alone: bool
    ) -> Subscription:
        """Take over new parameters and times; `alone`: no other area asks for it.

        Bumps the version even where nothing changes, against another who switches it off at the same time.
        """
        operation = self.operation(want.action)
        params, secret = self._sealed(sub.id, operation, want.params)
        if self.secrets(sub) == _secrets(operation, want.params):
            secret = sub.secret
        every_ms = _interval(operation, want)
        if not alone and every_ms is not None and sub.every_ms is not None:
            every_ms = min(every_ms, sub.every_ms)
        anew = sub.kind == "schedule" and (params, want.missed) != (sub.params, sub.missed)
        changes: dict[str, Any] = {
            "identity": self.identity(area_id, sub.owner, want),
            "params": params,
            "secret": secret,
            "every_ms": every_ms,
            "missed": want.missed,
            "connection": want.connection,
        }
        if anew:
            changes["cursor"] = {"anchor": self._clock.now_ms()}
        changed = msgspec.structs.replace(sub, **changes)
        if anew or active != sub.active:
            changes |= self._switched(changed, active=active)
        return rows.update(unit, sub, **changes)

    def switch(self, unit: Unit, sub: Subscription, *, active: bool) -> Subscription:
        """Switch one on or off; bumps the version even where nothing changes."""
        return rows.update(unit, sub, **(self._switched(sub, active=active) if active != sub.active else {}))

    def _switched(self, sub: Subscription, *, active: bool) -> dict[str, Any]:
        """Return the columns of one that goes on or off: what was off takes a baseline, or goes on from now."""
        if not active:
            return {"active": False, "next": None}
        return {
            "active": True,
            "cursor": {} if sub.kind == "stream" else sub.cursor,
            "baseline": sub.kind == "poll",
            "next": self._next(sub),
            "fails": 0,
            "error": None,
        }

    def _next(self, sub: Subscription) -> int | None:
        """Return when one that is switched on now is first due; what is not timed never is."""
        now = self._clock.now_ms()
        if sub.kind == "schedule":
            return triggers.next_after(self.spec(sub), now)
        return now if sub.kind == "poll" else None

    def _sealed(self, id: str, operation: Operation, params: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
        """Return the parameters that may lie open, and the others encrypted."""
        secret = _secrets(operation, params)
        if not secret:
            return params, None
        if self._seal is None:
            raise InputError("a secret cannot be stored without a key")
        opened = {name: value for name, value in params.items() if name not in secret}
        return opened, self._seal.seal(_purpose(id), msgspec.json.encode(secret))

    def _key(self) -> str:
        """Return the secret end of a hook's address: 128 bits."""
        return encode_id(int.from_bytes(self._clock.secret(16), "big"))


def _secrets(operation: Operation, params: dict[str, Any]) -> dict[str, Any]:
    fields = operation.fields
    return {name: value for name, value in params.items() if value and getattr(fields.get(name), "secret", False)}


def _interval(operation: Operation, want: Wanted) -> int | None:
    """Return how often it is polled: as the area says by `every`, also where that is one of the action's fields."""
    if operation.kind != "poll":
        return None
    every_ms = want.every_ms
    if every_ms is None and "every" in operation.fields and "every" in want.params:
        every_ms = duration_ms(str(want.params["every"]))
    return max(every_ms or operation.poll_ms or POLL_MS_DEFAULT, POLL_MS_MIN)


def _purpose(id: str) -> str:
    return f"subscription|secret|{id}"

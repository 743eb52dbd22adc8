"""Home Assistant: every device and service of a home, by one WebSocket for each connection.

Tested against a real Home Assistant 2024.3.3.
"""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import msgspec

from areabox.connectors._hass import Link, Refused, connected, following
from areabox.sdk import Connector, Context, Event, Field, Fields, Option, Permanent, Secret, Url, duration_ms

homeassistant = Connector(
    "homeassistant",
    "Home Assistant",
    about="Every device and service of a home.",
    icon="homeassistant",
    docs="https://developers.home-assistant.io/docs/api/websocket",
    base=lambda auth: auth.url,
    auth=Fields(
        "A home",
        url=Annotated[Url, Field("Address", placeholder="http://homeassistant.local:8123")],
        token=Annotated[Secret, Field("Long-lived access token", "In your profile, under Security.")],
        bearer="token",
    ),
)
ENTITIES_MAX = 2_000  # that are remembered
Waiting = dict[str, tuple[float, dict[str, Any]]]  # by entity: until when (seconds since 1970), and its state


async def _entities(ctx: Context, q: str) -> list[Option]:
    found = (await ctx.session.states()).items()
    named = [(id, str((one.get("attributes") or {}).get("friendly_name") or id)) for id, one in sorted(found)]
    return [Option(id, name) for id, name in named if q.lower() in f"{id} {name}".lower()]


async def _services(ctx: Context, q: str) -> list[Option]:
    options = []
    for domain, inner in sorted((await ctx.session.ask("get_services")).items()):
        for name, about in sorted(inner.items()):
            fields = ", ".join(about.get("fields") or {})
            label = f"{about.get('name') or name}{f': {fields}' if fields else ''}"
            options.append(Option(f"{domain}.{name}", label))
    return [one for one in options if q.lower() in f"{one.value} {one.label}".lower()]


Entity = Annotated[
    str, Field("Entity", "With * for several.", options=_entities, pattern=r"^[a-z0-9_*?]+(\.[a-z0-9_*?]+)?$",
               placeholder="light.kitchen")
]  # fmt: skip


def _limits(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if params.get("above") is None and params.get("below") is None:
        yield "above", "one of above and below is needed"


def _lasting(text: str) -> None:
    if not 1_000 <= duration_ms(text) <= 366 * 86_400_000:
        raise ValueError("must lie between a second and a year")


class Changed(Event):
    """An entity whose state has changed. `old` is empty where it is not known."""

    entity: str
    state: str
    old: str = ""
    name: str = ""
    attributes: dict[str, Any] = {}  # noqa: RUF012 -- msgspec copies it
    changed: str = ""  # RFC 3339


class Held(Changed):
    """An entity that has kept a state for some time."""


class Crossed(Changed):
    """A number that went above or below a limit."""

    value: float = 0.0


class Fired(Event):
    """An event of Home Assistant's bus."""

    type: str
    data: dict[str, Any] = {}  # noqa: RUF012 -- the same
    time: str = ""


class Called(msgspec.Struct):
    """What a service answered, null where it gives nothing."""

    response: Any = None


class State(msgspec.Struct):
    """The state of an entity."""

    entity: str
    state: str
    attributes: dict[str, Any] = {}
    changed: str = ""


LIGHT: dict[str, Any] = {
    "entity": "light.kitchen", "state": "on", "old": "off", "name": "Kitchen", "attributes": {"brightness": 180},
    "changed": "2026-01-01T12:00:00.000000+00:00",
}  # fmt: skip


@homeassistant.session
@asynccontextmanager
async def session(auth: Any, ctx: Context) -> AsyncIterator[Link]:
    """Keep one WebSocket for a connection."""
    async with connected(ctx, auth.token) as link:
        yield link


@homeassistant.test
async def test(ctx: Context) -> str:
    """Return the name of the home."""
    return str((await ctx.session.ask("get_config")).get("location_name") or ctx.auth.url)


@homeassistant.action(
    "State changed", stream=True, dedupe="key", sentence="{entity} changes its state",
    sample=Changed(id="light.kitchen 2026-01-01T12:00:00.000000+00:00", **LIGHT),
)  # fmt: skip
async def state_changed(
    ctx: Context,
    entity: Entity,
    to: Annotated[str, Field("To", "Only to this state; empty: to any.")] = "",
    was: Annotated[str, Field("From", "Only from this state.")] = "",
    *,
    attributes: Annotated[bool, Field("Attributes, too", "Also when only these change.")] = False,
) -> AsyncIterator[Changed | None]:
    """Fires when an entity's state changes. What changed last while areabox was away fires when it is back."""
    which = "last_updated" if attributes else "last_changed"
    async for one in _changes(ctx, entity, which, every=attributes):
        if one is None or (to in ("", one.state) and was in ("", one.old)):
            yield one


@homeassistant.action(
    "State held", stream=True, dedupe="key", sentence="{entity} is {state} for {duration}",
    sample=Held(id="light.kitchen 2026-01-01T12:00:00.000000+00:00", **LIGHT),
)  # fmt: skip
async def state_held(
    ctx: Context,
    entity: Entity,
    state: Annotated[str, Field("State", min_length=1, placeholder="on")],
    duration: Annotated[str, Field("For", format="duration", check=_lasting, placeholder="10m")] = "10m",
) -> AsyncIterator[Held | None]:
    """Fires once when an entity has kept a state for some time, also across restarts of areabox."""
    pause_s, begun_s = duration_ms(duration) / 1000, ctx.cursor.setdefault("begun", ctx.now.timestamp())
    async with ctx.session.reading("state_changed") as queue:
        found = (await ctx.session.states()).values()
        due = {one["entity_id"]: (_time_s(one) + pause_s, one) for one in found if _fits(one, entity, state)}
        yield None
        while True:
            now_s = ctx.now.timestamp()
            for at_s, one in [waiting for waiting in due.values() if waiting[0] <= now_s]:
                del due[one["entity_id"]]
                if at_s > begun_s:
                    yield Held(**_told(one, "last_changed"))
            next_s = min((at_s for at_s, _ in due.values()), default=None)
            event = await following(queue, None if next_s is None else max(next_s - ctx.now.timestamp(), 0.0))
            if event is not None:
                _kept(due, event["data"], entity, state, ctx.now.timestamp() + pause_s)


@homeassistant.action(
    "Number crosses a limit", stream=True, dedupe="key", sentence="{entity} goes above or below a limit",
    check=_limits,
    sample=Crossed(id="sensor.cellar 2026-01-01T12:00:00.000000+00:00", entity="sensor.cellar", state="4.5", old="5.1",
                   name="Cellar", attributes={"unit_of_measurement": "°C"}, value=4.5,
                   changed="2026-01-01T12:00:00.000000+00:00"),
)  # fmt: skip
async def numeric_crossed(
    ctx: Context,
    entity: Entity,
    above: Annotated[float | None, Field("Above", example=25)] = None,
    below: Annotated[float | None, Field("Below", example=30)] = None,
    attribute: Annotated[str, Field("Attribute", "Its number instead of the state's.")] = "",
) -> AsyncIterator[Crossed | None]:
    """Fires when a number comes to lie above a limit, below one, or with both between them, once each time."""
    inside = ctx.cursor.setdefault("inside", {})
    async for one in _changes(ctx, entity, "last_updated", every=True):
        if one is None:
            yield None
            continue
        value = _number(one.attributes.get(attribute) if attribute else one.state)
        if value is None:
            continue
        fits = (above is None or value > above) and (below is None or value < below)
        before = inside.get(one.entity, _was_inside(one, attribute, above, below))
        if one.entity in inside or len(inside) < ENTITIES_MAX:
            inside[one.entity] = fits
        if fits and not before:
            yield Crossed(value=value, **msgspec.structs.asdict(one))


@homeassistant.action(
    "Event", stream=True, dedupe=None, sentence="the event {type} is fired",
    sample=Fired(type="zha_event", data={"command": "on"}, time="2026-01-01T12:00:00.000000+00:00"),
)  # fmt: skip
async def event(
    ctx: Context,
    type: Annotated[str, Field("Type", pattern=r"^[a-z0-9_.]{1,100}$", placeholder="zha_event")],
    data: Annotated[dict[str, Any] | None, Field("Data", "Only with these values.")] = None,
) -> AsyncIterator[Fired | None]:
    """Fires for each event of a type on the bus; needs the token of an administrator for all but a few types."""
    async with ctx.session.reading(type) as queue:
        yield None
        while True:
            found = await following(queue)
            given = found.get("data") or {}
            if all(name in given and given[name] == value for name, value in (data or {}).items()):
                yield Fired(type=type, data=given, time=str(found.get("time_fired", "")))


@homeassistant.reaction(
    "Call a service", sentence="call {service} for {entity}", sample=Called(response={"light.kitchen": {"on": True}})
)
async def call(
    ctx: Context,
    service: Annotated[
        str, Field("Service", options=_services, pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$", placeholder="light.turn_on")
    ],
    entity: Annotated[list[str] | None, Field("Entities", options=_entities)] = None,
    data: Annotated[dict[str, Any] | None, Field("Data", "The fields that stand behind the service's name.")] = None,
    *,
    area: Annotated[list[str] | None, Field("Areas", "Ids of rooms; all that is in them.")] = None,
    respond: Annotated[bool, Field("Ask for its answer", "Of services that give one, such as a forecast.")] = False,
) -> Called:
    """Call any service; done when Home Assistant has done it."""
    domain, _, name = service.partition(".")
    target = {key: value for key, value in (("entity_id", entity), ("area_id", area)) if value}
    asked: dict[str, Any] = {"domain": domain, "service": name, "service_data": data or {}, "target": target}
    asked |= {"return_response": True} if respond else {}
    try:
        found = await ctx.session.ask("call_service", sure=False, limit_s=None, **asked)
    except Refused as error:
        raise Permanent(f"{service}: {error}{await _hint(ctx, domain, name)}") from error
    return Called((found or {}).get("response"))


@homeassistant.reaction(
    "Fire an event", sentence="fire {type}"
)  # fmt: skip
async def fire_event(
    ctx: Context,
    type: Annotated[str, Field("Type", pattern=r"^[a-z0-9_.]{1,100}$", placeholder="doorbell_pressed")],
    data: Annotated[dict[str, Any] | None, Field("Data")] = None,
) -> None:
    """Fire an event on the bus, to which automations listen; needs the token of an administrator."""
    await ctx.session.ask("fire_event", sure=False, event_type=type, event_data=data or {})


@homeassistant.reaction(
    "Set a state", sentence="set {entity} to {state}", effect="idempotent",
    sample=State(entity="sensor.areabox", state="21.5", changed="2026-01-01T12:00:00.000000+00:00"),
)  # fmt: skip
async def set_state(
    ctx: Context,
    entity: Annotated[str, Field("Entity", pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$", placeholder="sensor.areabox")],
    state: Annotated[str, Field("State", max_length=255)],
    attributes: Annotated[dict[str, Any] | None, Field("Attributes")] = None,
) -> State:
    """Set what Home Assistant shows, not the device; a new entity comes to be, until Home Assistant starts again."""
    body = {"state": state, "attributes": attributes or {}}
    found = (await ctx.http.post(f"/api/states/{entity}", json=body)).json() or {}
    return State(
        entity, str(found.get("state", state)), found.get("attributes") or {}, str(found.get("last_changed", ""))
    )


@homeassistant.reaction(
    "Read a state", sentence="read {entity}", effect="read",
    sample=State(entity="light.kitchen", state="on", changed="2026-01-01T12:00:00.000000+00:00"),
)  # fmt: skip
async def state(ctx: Context, entity: Annotated[str, Field("Entity", options=_entities)]) -> State:
    """Read the state of an entity and its attributes."""
    found = (await ctx.session.states()).get(entity)
    if found is None:
        raise Permanent(f"Home Assistant has no entity {entity}")
    return State(entity, str(found.get("state")), found.get("attributes") or {}, str(found.get("last_changed", "")))


async def _changes(ctx: Context, entity: str, which: str, *, every: bool) -> AsyncIterator[Changed | None]:
    """Yield the changes of entities, those first that came while nobody listened. None: so far all is told.

    Home Assistant dates all states anew when it starts, so that one which is as it was counts only with `every`.
    """
    async with ctx.session.reading("state_changed") as queue:
        states = {id: one for id, one in (await ctx.session.states()).items() if fnmatch.fnmatchcase(id, entity)}
        known, seen = ctx.cursor.get("seen", {}), {id: _seen(one, which) for id, one in states.items()}
        ctx.cursor["seen"] = dict(list(seen.items())[:ENTITIES_MAX])
        for id in (id for id in known if id in seen):
            if seen[id][0] != known[id][0] and (every or seen[id][1] != known[id][1]):
                yield Changed(**_told(states[id], which, known[id][1]))
        yield None
        while True:
            found = (await following(queue)).get("data") or {}
            new, old, id = found.get("new_state"), found.get("old_state"), str(found.get("entity_id"))
            if not new or not fnmatch.fnmatchcase(id, entity) or (old and _seen(new, which)[0] == _seen(old, which)[0]):
                continue
            before = str(old["state"]) if old else ctx.cursor["seen"].get(id, ("", ""))[1]
            if id in ctx.cursor["seen"] or len(ctx.cursor["seen"]) < ENTITIES_MAX:
                ctx.cursor["seen"][id] = _seen(new, which)
            if old or every or before != str(new["state"]):
                yield Changed(**_told(new, which, before))


def _told(found: dict[str, Any], which: str, old: str = "") -> dict[str, Any]:
    attributes = found.get("attributes") or {}
    return {
        "id": f"{found['entity_id']} {found.get(which) or ''}", "entity": found["entity_id"],
        "state": str(found["state"]), "old": old, "name": str(attributes.get("friendly_name") or ""),
        "attributes": attributes,
        "changed": str(found.get(which) or ""),
    }  # fmt: skip


def _kept(due: Waiting, found: dict[str, Any], entity: str, state: str, at_s: float) -> None:
    """Begin to wait for an entity that came into the state, end it for one that left it."""
    id, new, old = str(found.get("entity_id")), found.get("new_state") or {}, found.get("old_state") or {}
    if not _fits(new, entity, state):
        due.pop(id, None)
    elif old.get("state") != state and len(due) < ENTITIES_MAX:
        due[id] = (at_s, new)


def _fits(found: dict[str, Any], entity: str, state: str) -> bool:
    return found.get("state") == state and fnmatch.fnmatchcase(str(found.get("entity_id")), entity)


def _seen(found: dict[str, Any], which: str) -> tuple[str, str]:
    return str(found.get(which) or ""), str(found.get("state"))


def _time_s(found: dict[str, Any]) -> float:
    return datetime.fromisoformat(str(found.get("last_changed"))).timestamp()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _was_inside(one: Changed, attribute: str, above: float | None, below: float | None) -> bool:
    """Tell on which side a number was that is seen for the first time; what is not known was outside."""
    value = None if attribute else _number(one.old)
    return value is not None and (above is None or value > above) and (below is None or value < below)


async def _hint(ctx: Context, domain: str, name: str) -> str:
    """Say which fields a service takes."""
    inner = (await ctx.session.ask("get_services")).get(domain) or {}
    if name not in inner:
        known = ", ".join(sorted(inner)[:20])
        return f" ({domain} has {known})" if known else ""
    fields = ", ".join(inner[name].get("fields") or {})
    return f" (it takes {fields})" if fields else ""

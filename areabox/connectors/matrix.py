"""Matrix: rooms of a homeserver, by the client-server API (spec.matrix.org): messages, reactions, invitations.

Tested against a real Synapse 1.163. Encrypted rooms are not read: a message there is ciphertext.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from areabox.sdk import Connector, Context, Event, Field, Key, Option, Permanent, Text, Transient, Url

API = "/_matrix/client/v3"
POLL_S, LATE_S = 30, 30.0  # how long a server waits for news, and how much later it is taken for dead
PAGE, MISSED_MAX = 100, 500  # messages of a page, and of a gap in a room that are asked for

matrix = Connector(
    "matrix",
    "Matrix",
    about="Messages in rooms of a homeserver.",
    icon="matrix",
    docs="https://spec.matrix.org/latest/client-server-api/",
    base=lambda auth: auth.url,
    auth=Key(
        "Access token",
        help="Of an account of its own; in Element: Settings, Help & About.",
        url=Annotated[Url, Field("Homeserver", placeholder="https://matrix.example.org")],
    ),
)


class Message(Event):
    """A message in a room; `kind` is `m.text`, `m.image`, `m.notice` and the like."""

    room: str
    sender: str
    text: str = ""
    html: str = ""
    kind: str = ""
    file: str = ""  # mxc:// address of what was sent
    reply_to: str = ""
    time: int = 0  # milliseconds since 1970, by the sender's server


class Invite(Event):
    """An invitation to a room."""

    room: str
    sender: str
    name: str = ""


class Sent(msgspec.Struct):
    """What was sent: the id of its event, and its room."""

    id: str
    room: str


class Joined(msgspec.Struct):
    """The room that was joined."""

    room: str


async def _rooms(ctx: Context, q: str) -> list[Option]:
    wanted = {"timeline": {"limit": 0}, "ephemeral": _NONE, "account_data": _NONE}
    wanted |= {"state": {"types": ["m.room.name", "m.room.canonical_alias"]}}
    found = await _sync(ctx, {"room": wanted, "presence": _NONE, "account_data": _NONE}, "", 0)
    options = [Option(room, _name(state) or room) for room, state in _joined(found, "state")]
    return [one for one in options if q.lower() in f"{one.value} {one.label}".lower()]


_NONE: dict[str, Any] = {"types": []}
Room = Annotated[
    str, Field("Room", "!id, or #alias.", options=_rooms, pattern=r"^[!#]\S{1,254}$", example="!abc:example.org")
]


@matrix.test
async def test(ctx: Context) -> str:
    """Name the account by its id."""
    return await _me(ctx)


@matrix.action(
    "Message", stream=True, dedupe="key", sentence="a message arrives in {room}",
    sample=Message(id="$143273582443PhrSn", room="!abc:example.org", sender="@ann:example.org", text="Hi",
                   kind="m.text", time=1_767_268_800_000),
)  # fmt: skip
async def message(
    ctx: Context,
    room: Annotated[str, Field("Room", "Empty: any.", options=_rooms, pattern=r"^([!#]\S{1,254})?$")] = "",
    sender: Annotated[str, Field("Sender", "Only from this user.", placeholder="@ann:example.org")] = "",
    text: Annotated[str, Field("Text", "That it holds, in whatever case.")] = "",
    *,
    own: Annotated[bool, Field("My own, too", "Beware of answering yourself.")] = False,
) -> AsyncIterator[Message | None]:
    """Fires for each message in the rooms that the account has joined; what came while areabox was off fires late."""
    me, wanted = ("" if own else await _me(ctx)), (await _id_of(ctx, room) if room else "")
    timeline = {"types": ["m.room.message"], "limit": PAGE} | ({"senders": [sender]} if sender else {})
    inner: dict[str, Any] = {"timeline": timeline, "state": _NONE, "ephemeral": _NONE, "account_data": _NONE}
    inner |= {"rooms": [wanted]} if wanted else {}
    async for found in _following(ctx, {"room": inner, "presence": _NONE, "account_data": _NONE}):
        for place, _ in _joined(found, "timeline"):
            for one in await _timeline(ctx, found, place, timeline):
                made = _message(place, one)
                if made and made.sender != me and text.lower() in made.text.lower():
                    yield made
        ctx.cursor["since"] = found["next_batch"]
        yield None


@matrix.action(
    "Invitation", stream=True, dedupe="key", sentence="somebody invites to a room",
    sample=Invite(id="!abc:example.org s72594_4483", room="!abc:example.org", sender="@ann:example.org", name="Home"),
)  # fmt: skip
async def invite(
    ctx: Context, sender: Annotated[str, Field("Sender", "Only by this user.", placeholder="@ann:example.org")] = ""
) -> AsyncIterator[Invite | None]:
    """Fires when somebody invites the account to a room; *Join a room* accepts it."""
    me, none = await _me(ctx), {"types": [], "limit": 0}
    inner = {"timeline": none, "state": _NONE, "ephemeral": _NONE, "account_data": _NONE}
    async for found in _following(ctx, {"room": inner, "presence": _NONE, "account_data": _NONE}):
        for place, about in _mapping(_mapping(found, "rooms"), "invite").items():
            state = _mapping(about, "invite_state").get("events") or []
            by = next((str(one.get("sender")) for one in state if one.get("state_key") == me), "")
            if sender in ("", by):
                yield Invite(id=f"{place} {ctx.cursor['since']}", room=place, sender=by, name=_name(state))
        ctx.cursor["since"] = found["next_batch"]
        yield None


@matrix.reaction(
    "Send a message", sentence="send {text} to {room}", effect="keyed",
    sample=Sent(id="$143273582443PhrSn", room="!abc:example.org"),
)  # fmt: skip
async def send(
    ctx: Context,
    room: Room,
    text: Annotated[Text, Field("Text", min_length=1, max_length=40_000)],
    *,
    markdown: Annotated[bool, Field("Markdown", "Shown as such; HTML in it stays text.")] = True,
    notice: Annotated[bool, Field("Notice", "As of a machine: other machines do not answer it.")] = False,
    reply_to: Annotated[str, Field("Reply to", "The id of a message.", pattern=r"^(\$\S{1,254})?$")] = "",
) -> Sent:
    """Send a message to a room that the account has joined; a repeat is recognised by the server."""
    body: dict[str, Any] = {"msgtype": "m.notice" if notice else "m.text", "body": text}
    if markdown and (shown := _html(text)) != f"<p>{html.escape(text)}</p>":
        body |= {"format": "org.matrix.custom.html", "formatted_body": shown}
    if reply_to:
        body |= {"m.relates_to": {"m.in_reply_to": {"event_id": reply_to}}}
    return await _send(ctx, room, "m.room.message", body)


@matrix.reaction(
    "React to a message", sentence="react with {emoji} to {message}", effect="keyed",
    sample=Sent(id="$143273582443PhrSn", room="!abc:example.org"),
)  # fmt: skip
async def react(
    ctx: Context,
    room: Room,
    message: Annotated[str, Field("Message", "Its id.", pattern=r"^\$\S{1,254}$", example="$143273582443PhrSn")],
    emoji: Annotated[str, Field("Emoji", min_length=1, max_length=100)] = "👍",
) -> Sent:
    """React to a message by an emoji; one that is there already is no error."""
    body = {"m.relates_to": {"rel_type": "m.annotation", "event_id": message, "key": emoji}}
    return await _send(ctx, room, "m.reaction", body)


@matrix.reaction(
    "Join a room", sentence="join {room}", effect="idempotent", sample=Joined(room="!abc:example.org")
)  # fmt: skip
async def join(ctx: Context, room: Room) -> Joined:
    """Join a room that is open to the account, or that it was invited to."""
    found = (await ctx.http.post(f"{API}/join/{quote(room, safe='')}", json={})).json()
    return Joined(str(_mapping({"": found}, "").get("room_id") or room))


@matrix.reaction("Leave a room", sentence="leave {room}", effect="idempotent")
async def leave(ctx: Context, room: Room) -> None:
    """Leave a room, or refuse an invitation."""
    await ctx.http.post(f"{API}/rooms/{quote(await _id_of(ctx, room), safe='')}/leave", json={})


@matrix.reaction("Delete a message", sentence="delete {message}", effect="keyed")
async def delete(
    ctx: Context,
    room: Room,
    message: Annotated[str, Field("Message", "Its id.", pattern=r"^\$\S{1,254}$", example="$143273582443PhrSn")],
    reason: str = "",
) -> None:
    """Take a message back (redact it): one's own, or any where the account may."""
    place = quote(await _id_of(ctx, room), safe="")
    body = {"reason": reason} if reason else {}
    await ctx.http.put(f"{API}/rooms/{place}/redact/{quote(message, safe='')}/{quote(ctx.key, safe='')}", json=body)


async def _send(ctx: Context, room: str, kind: str, body: dict[str, Any]) -> Sent:
    place = await _id_of(ctx, room)
    path = f"{API}/rooms/{quote(place, safe='')}/send/{kind}/{quote(ctx.key, safe='')}"
    answer = await ctx.http.put(path, json=body, ok=(400,))
    found = _mapping({"": answer.json()}, "")
    if answer.status == 400 and found.get("errcode") != "M_DUPLICATE_ANNOTATION":
        raise Permanent(f"the homeserver refused it: {found.get('error') or answer.text[:200]}")
    return Sent(str(found.get("event_id", "")), place)


async def _id_of(ctx: Context, room: str) -> str:
    """Return the id of a room that is named by its id or alias."""
    if not room.startswith("#"):
        return room
    return str((await ctx.http.get(f"{API}/directory/room/{quote(room, safe='')}")).json()["room_id"])


async def _me(ctx: Context) -> str:
    return str((await ctx.http.get(f"{API}/account/whoami")).json()["user_id"])


async def _following(ctx: Context, wanted: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Yield what is new, from the cursor on; whoever reads it moves the cursor when it is done with it."""
    if "since" not in ctx.cursor:
        ctx.cursor["since"] = (await _sync(ctx, wanted, "", 0))["next_batch"]
    wait_s = 0  # the first answer says that all is well
    while True:
        yield await _sync(ctx, wanted, ctx.cursor["since"], wait_s)
        wait_s = POLL_S


async def _sync(ctx: Context, wanted: dict[str, Any], since: str, wait_s: int) -> dict[str, Any]:
    params = {"filter": msgspec.json.encode(wanted).decode(), "since": since or None, "timeout": wait_s * 1000}
    try:
        async with asyncio.timeout(wait_s + LATE_S):
            found = (await ctx.http.get(f"{API}/sync", params=params | {"set_presence": "offline"})).json()
    except TimeoutError:
        raise Transient(f"the homeserver gave no answer within {wait_s + LATE_S:g} s") from None
    if not isinstance(found, dict) or "next_batch" not in found:
        raise Transient("the answer is not what a homeserver says")
    return found


async def _timeline(ctx: Context, found: dict[str, Any], room: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the new events of a room, oldest first; those that the server left out are asked for."""
    part = _mapping(_mapping(_mapping(_mapping(found, "rooms"), "join"), room), "timeline")
    events = list(part.get("events") or [])
    if not part.get("limited") or not part.get("prev_batch"):
        return events
    missed: list[dict[str, Any]] = []
    params = {"dir": "b", "from": part["prev_batch"], "to": ctx.cursor["since"], "limit": PAGE}
    params["filter"] = msgspec.json.encode(wanted).decode()
    while len(missed) < MISSED_MAX:
        page = (await ctx.http.get(f"{API}/rooms/{quote(room, safe='')}/messages", params=params)).json()
        missed += page.get("chunk") or []
        if not page.get("chunk") or not page.get("end"):
            break
        params["from"] = page["end"]
    return missed[::-1] + events


def _joined(found: dict[str, Any], part: str) -> list[tuple[str, list[dict[str, Any]]]]:
    rooms = _mapping(_mapping(found, "rooms"), "join")
    return [(room, _mapping(about, part).get("events") or []) for room, about in rooms.items()]


def _mapping(found: Any, name: str) -> dict[str, Any]:
    inner = found.get(name) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else {}


def _name(state: list[dict[str, Any]]) -> str:
    names = {str(one.get("type")): _mapping(one, "content") for one in state}
    return str(
        _mapping(names, "m.room.name").get("name") or _mapping(names, "m.room.canonical_alias").get("alias") or ""
    )


def _message(room: str, found: dict[str, Any]) -> Message | None:
    content = _mapping(found, "content")
    if found.get("type") != "m.room.message" or not content.get("msgtype"):
        return None  # another one, or taken back
    return Message(
        id=str(found.get("event_id", "")), room=room, sender=str(found.get("sender", "")),
        text=str(content.get("body") or ""), html=str(content.get("formatted_body") or ""),
        kind=str(content["msgtype"]), file=str(content.get("url") or ""), time=int(found.get("origin_server_ts") or 0),
        reply_to=str(_mapping(_mapping(content, "m.relates_to"), "m.in_reply_to").get("event_id") or ""),
    )  # fmt: skip


def _html(text: str) -> str:
    """Return Markdown as HTML."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20, "breaks": True}).enable(
        ["table", "strikethrough"]
    )
    return re.sub(r">\n", ">", parser.render(text)).strip()

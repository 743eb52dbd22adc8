"""Gotify: push messages by a server of your own (gotify.net/api-docs).

Tested against a replay of its documented API.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec

from areabox.sdk import Connector, Context, Event, Field, Fields, Option, Secret, Text, Url

MISSED_MAX = 200  # messages that are asked for after a break

gotify = Connector(
    "gotify",
    "Gotify",
    about="Push messages by a server of your own.",
    icon="gotify",
    docs="https://gotify.net/docs/",
    base=lambda auth: auth.url,
    auth=Fields(
        "A server",
        url=Annotated[Url, Field("Server", placeholder="https://gotify.home")],
        token=(Annotated[Secret, Field("Application token", "For sending; it begins with A.")], ""),
        client=(Annotated[Secret, Field("Client token", "For receiving and deleting; it begins with C.")], ""),
        headers={"X-Gotify-Key": "{token}"},
    ),
)


class Message(Event):
    """A message of an application."""

    application: int
    message: str = ""
    title: str = ""
    priority: int = 0
    date: str = ""
    extras: dict[str, Any] | None = None


class Sent(msgspec.Struct):
    """A message as the server took it."""

    id: int
    application: int = 0
    date: str = ""


async def applications(ctx: Context, q: str) -> list[Option]:
    """Return the applications whose name holds a text."""
    found = (await ctx.http.get("/application", params=_client(ctx))).json() or []
    return [Option(str(one["id"]), str(one["name"])) for one in found if q.lower() in str(one["name"]).lower()]


@gotify.test
async def user(ctx: Context) -> str:
    """Return the name of the user; where there is no client token only the server can be asked."""
    if not ctx.auth.client:
        await ctx.http.get("/version")
        return str(ctx.auth.url)
    return str((await ctx.http.get("/current/user", params=_client(ctx))).json()["name"])


@gotify.reaction(
    "Send a message", sentence="send {message}", sample=Sent(id=25, application=5, date="2026-01-01T12:00:00Z")
)
async def send(
    ctx: Context,
    message: Annotated[Text, Field("Message", min_length=1)],
    *,
    title: str = "",
    priority: Annotated[
        int, Field("Priority", "From 8 on it makes a sound, 0 only stands in the list.", ge=0, le=10)
    ] = 5,
    markdown: bool = False,
    click: Annotated[str, Field("Opened by a tap", format="url")] = "",
    image: Annotated[str, Field("Picture", "Its address.", format="url")] = "",
    extras: Annotated[dict[str, Any] | None, Field("Extras", "As Gotify's documentation lists them.")] = None,
) -> Sent:
    """Push a message to everybody who listens to the application of the token."""
    shown = {"client::display": {"contentType": "text/markdown"}} if markdown else {}
    told: dict[str, Any] = {"click": {"url": click}} if click else {}
    told |= {"bigImageUrl": image} if image else {}
    more = shown | ({"client::notification": told} if told else {}) | (extras or {})
    body = {"message": message, "title": title, "priority": priority, "extras": more}
    found = (await ctx.http.post("/message", json={name: value for name, value in body.items() if value != {}})).json()
    found = found if isinstance(found, dict) else {}
    return Sent(int(found.get("id", 0)), int(found.get("appid", 0)), str(found.get("date", "")))


@gotify.reaction("Delete a message", sentence="delete the message {id}", effect="idempotent")
async def delete(ctx: Context, id: Annotated[int, Field("Id", "As sending gave it.", ge=1)]) -> None:
    """Delete a message from the server and from all clients; needs the client token."""
    await ctx.http.delete(f"/message/{id}", params=_client(ctx), ok=(404,))


@gotify.action(
    "Message", stream=True, dedupe="key", sentence="a message arrives",
    sample=Message(id="25", application=5, message="The backup is done", title="Backup", priority=5,
                   date="2026-01-01T12:00:00Z"),
)  # fmt: skip
async def message(
    ctx: Context,
    application: Annotated[str, Field("Application", "Empty: any.", options=applications, pattern=r"^\d{0,9}$")] = "",
) -> AsyncIterator[Message | None]:
    """Fires for each message that is sent to the server. What came while the line was down is asked for."""
    if "last" not in ctx.cursor:
        ctx.cursor["last"] = max((one.number for one in await _newest(ctx, 1)), default=0)
    async with ctx.http.websocket("/stream", params=_client(ctx)) as socket, aclosing(_all(ctx, socket)) as found:
        yield None  # all is well, and so far it got
        async for one in found:
            if one.number > ctx.cursor["last"] and application in ("", str(one.appid)):
                ctx.cursor["last"] = one.number
                yield one.event()


class _Raw(msgspec.Struct, rename={"number": "id"}):
    number: int
    appid: int
    message: str = ""
    title: str = ""
    priority: int = 0
    date: str = ""
    extras: dict[str, Any] | None = None

    def event(self) -> Message:
        return Message(
            id=str(self.number), application=self.appid, message=self.message, title=self.title, priority=self.priority,
            date=self.date, extras=self.extras,
        )  # fmt: skip


async def _all(ctx: Context, socket: Any) -> AsyncGenerator[_Raw, None]:
    """Yield what was missed, and then what comes."""
    for one in await _newest(ctx, MISSED_MAX):
        yield one
    async for text in socket.messages():
        yield msgspec.json.decode(text, type=_Raw)


async def _newest(ctx: Context, count: int) -> list[_Raw]:
    """Return the newest messages of the server, oldest first."""
    answer = await ctx.http.get("/message", params=_client(ctx) | {"limit": count})
    return msgspec.convert(answer.json()["messages"], list[_Raw])[::-1]


def _client(ctx: Context) -> dict[str, Any]:
    """Return what names the client; Gotify heeds it more than the header of the application."""
    return {"token": ctx.auth.client}

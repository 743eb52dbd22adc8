"""Discord: messages to a channel by its webhook (discord.com/developers/docs/resources/webhook).

Tested against a replay of its documented webhooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from areabox.sdk import Connector, Context, Field, Fields, Secret, Text, Url

SILENT, NO_PREVIEW = 1 << 12, 1 << 2  # message flags
MENTIONS: dict[str, list[str]] = {"none": [], "users": ["users"], "all": ["users", "roles", "everyone"]}

discord = Connector(
    "discord",
    "Discord",
    about="Messages to a channel.",
    icon="discord",
    docs="https://support.discord.com/hc/articles/228383668",
    base=lambda auth: auth.url,
    auth=Fields(
        "A channel's webhook",
        help="Edit channel, Integrations, Webhooks, New webhook, Copy URL.",
        url=Annotated[Url, Secret, Field("Webhook URL", placeholder="https://discord.com/api/webhooks/…")],
    ),
)


class Message(msgspec.Struct):
    """A message in a channel."""

    id: str
    channel: str = ""
    time: str = ""


SAMPLE = Message("1324000000000000000", "1323000000000000000", "2026-01-01T12:00:00.000000+00:00")
Content = Annotated[Text, Field("Message", "Markdown; <@id> mentions a user.", max_length=2000)]
Id = Annotated[str, Field("Message id", "As sending gave it.", pattern=r"^\d{1,20}$", example="1324000000000000000")]
Thread = Annotated[str, Field("Thread", "Its id, in channels with threads.", pattern=r"^\d{0,20}$")]
Color = Annotated[str, Field("Color of the card", format="color")]
Embeds = Annotated[
    list[dict[str, Any]] | None, Field("Further cards", "Embeds, as Discord documents them.", example=[])
]
Mentions = Annotated[Literal["none", "users", "all"], Field("May mention", "all: also @everyone and roles.")]


@discord.test
async def webhook(ctx: Context) -> str:
    """Return the name of the webhook."""
    return str((await ctx.http.get(ctx.auth.url)).json()["name"])


def _check(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not any(params.get(name) for name in ("message", "title", "text", "image", "fields", "embeds")):
        yield "message", "a message has a text or a card"


@discord.reaction("Send a message", sentence="send {message}", sample=SAMPLE, check=_check)
async def send(
    ctx: Context,
    message: Content = "",
    *,
    title: Annotated[str, Field("Title of a card", max_length=256)] = "",
    text: Annotated[Text, Field("Text of the card", max_length=4096)] = "",
    link: Annotated[str, Field("Link of the card", format="url")] = "",
    image: Annotated[str, Field("Picture of the card", format="url")] = "",
    color: Color = "",
    fields: Annotated[dict[str, str] | None, Field("Fields of the card", "Names and values, side by side.")] = None,
    embeds: Embeds = None,
    username: Annotated[str, Field("Shown as", max_length=80)] = "",
    avatar: Annotated[str, Field("Picture of the sender", format="url")] = "",
    thread: Thread = "",
    new_thread: Annotated[str, Field("New post", "Its title, in forum channels.", max_length=100)] = "",
    mentions: Mentions = "none",
    silent: Annotated[bool, Field("Without a notification")] = False,
    previews: Annotated[bool, Field("Previews of links")] = True,
) -> Message:
    """Post a message to the channel: a text, a card, or both."""
    flags = (SILENT if silent else 0) | (0 if previews else NO_PREVIEW)
    body = _body(message, _card(title, text, link, image, color, fields), embeds, mentions) | {
        "username": username, "avatar_url": avatar, "thread_name": new_thread, "flags": flags,
    }  # fmt: skip
    params = {"wait": "true", "thread_id": thread or None}
    answer = await ctx.http.post(
        ctx.auth.url, params=params, json={name: value for name, value in body.items() if value}
    )
    return _message(answer.json())


@discord.reaction("Edit a message", sentence="edit the message {id}", effect="idempotent", sample=SAMPLE)
async def edit(
    ctx: Context,
    id: Id,
    message: Content = "",
    *,
    title: Annotated[str, Field("Title of a card", max_length=256)] = "",
    text: Annotated[Text, Field("Text of the card", max_length=4096)] = "",
    color: Color = "",
    embeds: Embeds = None,
    thread: Thread = "",
    mentions: Mentions = "none",
) -> Message:
    """Change a message that this webhook sent; what is left empty is taken away."""
    body = _body(message, _card(title, text, "", "", color, None), embeds, mentions)
    answer = await ctx.http.patch(f"{ctx.auth.url}/messages/{id}", params={"thread_id": thread or None}, json=body)
    return _message(answer.json())


@discord.reaction("Delete a message", sentence="delete the message {id}", effect="idempotent")
async def delete(ctx: Context, id: Id, thread: Thread = "") -> None:
    """Delete a message that this webhook sent."""
    await ctx.http.delete(f"{ctx.auth.url}/messages/{id}", params={"thread_id": thread or None}, ok=(404,))


def _body(message: str, card: dict[str, Any], embeds: list[dict[str, Any]] | None, mentions: str) -> dict[str, Any]:
    cards = ([card] if card else []) + (embeds or [])
    return {"content": message, "embeds": cards, "allowed_mentions": {"parse": MENTIONS[mentions]}}


def _card(title: str, text: str, link: str, image: str, color: str, fields: dict[str, str] | None) -> dict[str, Any]:
    """Return an embed of what is given, nothing if nothing but its color is."""
    card = {
        "title": title, "description": text, "url": link, "image": {"url": image} if image else None,
        "fields": [{"name": name, "value": value, "inline": True} for name, value in (fields or {}).items()],
    }  # fmt: skip
    given: dict[str, Any] = {name: value for name, value in card.items() if value}
    return given | {"color": _number(color)} if given and color else given


def _number(color: str) -> int:
    digits = color.removeprefix("#")
    return int("".join(digit * 2 for digit in digits) if len(digits) == 3 else digits, 16)


def _message(found: Any) -> Message:
    found = found if isinstance(found, dict) else {}
    return Message(str(found.get("id", "")), str(found.get("channel_id", "")), str(found.get("timestamp", "")))

"""Telegram: messages to and from a bot of your own (core.telegram.org/bots/api).

Tested against a replay of its documented API.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors import _questions
from areabox.connectors._updates import Updates
from areabox.sdk import Connector, Context, Event, Field, Fields, Permanent, RateLimited, Secret, Text, Transient, Url

POLL_S = 50
_ANSWER = re.compile(r"[0-9a-z]{1,32}\.[A-Za-z0-9_-]{1,32}/\d{1,2}")
_WAIT = re.compile(r'"retry_after":\s*(\d{1,9})')

telegram = Connector(
    "telegram",
    "Telegram",
    about="Messages to and from a bot of your own.",
    icon="telegram",
    docs="https://core.telegram.org/bots/tutorial",
    base=lambda auth: auth.url,
    auth=Fields(
        "A bot",
        help="@BotFather makes one and gives its token.",
        token=Annotated[Secret, Field("Token")],
        url=(Annotated[Url, Field("Server", "Another one only if you run Telegram's Bot API server yourself.")],
             "https://api.telegram.org"),
    ),
)  # fmt: skip

Chat = Annotated[str, Field("Chat", "Its number, or @channel.", pattern=r"^(-?\d{1,20}|@\w{3,64})$", example="12345")]
Senders = Annotated[
    list[str] | None,
    Field("Only from", "Numbers or @names of people. Empty: anybody who finds the bot.", example=["@ann"]),
]
Number = Annotated[int, Field("Message", "Its number, as sending gave it.", ge=1)]
Caption = Annotated[Text, Field("Text", max_length=1024)]
Markup = Annotated[Literal["none", "HTML", "MarkdownV2"], Field("Markup")]


def _check_buttons(rows: list[Any] | None) -> None:
    for row in rows or ():
        for button in row if isinstance(row, list) else [row]:
            if not (isinstance(button, dict) and button.get("text") and (button.get("url") or button.get("data"))):
                raise ValueError("each button has a text, and a url to open or data to send")


Buttons = Annotated[
    list[Any] | None,
    Field("Buttons", "{text, url} or {text, data}, one a row; a list of them is a row.", check=_check_buttons,
          example=[{"text": "Open the door", "data": "open"}]),
]  # fmt: skip


class Message(Event):
    """A message to the bot, or in a group or channel that it is in."""

    message: int
    text: str
    chat: str
    chat_name: str
    sender: str
    sender_name: str
    username: str
    time: str
    reply_to: int | None = None
    file: str = ""  # Telegram's id of a photo, document, voice …
    location: dict[str, float] | None = None


class Command(Message):
    """A message that begins with a slash."""

    command: str = ""
    arguments: str = ""


class Pressed(Event):
    """A button under a message of the bot that somebody pressed."""

    data: str
    message: int
    chat: str
    sender: str
    sender_name: str
    username: str


class Answered(Event):
    """A button under a question that somebody pressed."""

    data: str
    by: str


class Sent(msgspec.Struct):
    """A message of the bot."""

    message: int
    chat: str
    time: str = ""


SAMPLE: dict[str, Any] = {
    "id": "873", "message": 42, "chat": "12345", "chat_name": "Ann", "sender": "12345", "sender_name": "Ann",
    "username": "ann", "time": "2026-01-01T12:00:00Z",
}  # fmt: skip
SENT = Sent(43, "12345", "2026-01-01T12:00:00Z")


@telegram.session
@asynccontextmanager
async def updates(auth: Any, ctx: Context) -> AsyncIterator[Updates]:
    """Give the one long poll of the bot."""
    del auth, ctx
    yield Updates()


@telegram.test
async def bot(ctx: Context) -> str:
    """Return the name of the bot."""
    return "@" + str((await _call(ctx, "getMe"))["username"])


@telegram.action(
    "Message", stream=True, dedupe="key", sentence="a message comes to the bot", sample=Message(text="Hello", **SAMPLE)
)
async def message(ctx: Context, senders: Senders = None) -> AsyncIterator[Message | None]:
    """Fires for each message that people write to the bot, commands included; also for photos, files and places."""
    async with aclosing(_read(ctx, "message", senders)) as found:
        async for id, raw in found:
            yield Message(id=id, **_message(raw)) if raw else None


@telegram.action(
    "Command", stream=True, dedupe="key", sentence="the bot is told /{command}",
    sample=Command(text="/light on", command="light", arguments="on", **SAMPLE),
)  # fmt: skip
async def command(
    ctx: Context,
    command: Annotated[str, Field("Command", "Without its slash; empty: any.", pattern=r"^[A-Za-z0-9_]{0,32}$")] = "",
    senders: Senders = None,
) -> AsyncIterator[Command | None]:
    """Fires for each message that begins with a slash: `/light on` is the command `light` with the arguments `on`."""
    async with aclosing(_read(ctx, "message", senders)) as found:
        async for id, raw in found:
            if raw is None:
                yield None
                continue
            first, _, arguments = str(raw.get("text", "")).partition(" ")
            name = first[1:].partition("@")[0].lower()
            if first.startswith("/") and command.lower() in ("", name):
                yield Command(id=id, command=name, arguments=arguments.strip(), **_message(raw))


@telegram.action(
    "Button pressed", stream=True, dedupe="key", sentence="a button is pressed",
    sample=Pressed(id="874", data="open", message=43, chat="12345", sender="12345", sender_name="Ann", username="ann"),
)  # fmt: skip
async def pressed(
    ctx: Context, data: Annotated[str, Field("Data", "Of the button; empty: any.", max_length=64)] = "",
    senders: Senders = None,
) -> AsyncIterator[Pressed | None]:  # fmt: skip
    """Fires when somebody presses a button with data under a message of the bot."""
    async with aclosing(_read(ctx, "callback_query", senders)) as found:
        async for id, raw in found:
            if raw is None:
                yield None
            elif data in ("", raw.get("data")):
                with suppress(Permanent):  # too late to stop the button's clock
                    await _call(ctx, "answerCallbackQuery", callback_query_id=raw["id"])
                under = raw.get("message") or {}
                yield Pressed(id=id, data=str(raw.get("data", "")), message=under.get("message_id", 0),
                              chat=str(under.get("chat", {}).get("id", "")), **_sender(raw))  # fmt: skip


@telegram.action(
    "Question answered", stream=True, dedupe="key", sentence="a question is answered",
    sample=Answered(id="874", data="01kdz0000000000000000000zz.bWFj/1", by="@ann"),
)  # fmt: skip
async def answered(ctx: Context) -> AsyncIterator[Answered | None]:
    """Fires when somebody presses a button under a question that an `ask` step put; the step listens by itself."""
    async with aclosing(_read(ctx, "callback_query", None)) as found:
        async for id, raw in found:
            if raw is None:
                yield None
            elif _ANSWER.fullmatch(str(raw.get("data", ""))):
                await _thank(ctx, raw)
                who = _sender(raw)
                by = f"@{who['username']}" if who["username"] else who["sender_name"]
                yield Answered(id=id, data=raw["data"], by=by)


@telegram.reaction("Send a message", sentence="write {text} to {chat}", sample=SENT)
async def send(
    ctx: Context,
    chat: Chat,
    text: Annotated[Text, Field("Text", min_length=1, max_length=4096)],
    *,
    markup: Markup = "none",
    buttons: Buttons = None,
    reply_to: Annotated[int | None, Field("Answers the message")] = None,
    thread: Annotated[int | None, Field("Topic", "Its number, in groups with topics.")] = None,
    silent: Annotated[bool, Field("Without a sound")] = False,
    previews: Annotated[bool, Field("Previews of links")] = True,
) -> Sent:
    """Write a message as the bot. People must have written to it first."""
    preview = None if previews else {"is_disabled": True}
    found = await _call(
        ctx, "sendMessage", text=text, link_preview_options=preview,
        **_common(chat, markup, buttons, reply_to, thread, silent=silent),
    )  # fmt: skip
    return _sent(found)


@telegram.reaction("Ask", sentence="ask {chat}: {question}", effect="idempotent", answers="answered", sample=SENT)
async def ask(
    ctx: Context, chat: Chat, question: _questions.Question = "", choices: _questions.Choices = None,
    *, silent: Annotated[bool, Field("Without a sound")] = False,
) -> Sent:  # fmt: skip
    """Ask in a chat: for the `via` of an `ask` step. The choices are buttons; anybody in the chat may press them.

    Telegram keeps what is pressed until areabox fetches it, so that nothing must reach areabox. It may be sent twice if
    no answer comes from Telegram; the first button that is pressed counts.
    """
    rows = [{"text": text, "data": data} for text, _, data in _questions.buttons(choices)]
    common = _common(chat, "none", rows, None, None, silent=silent)
    return _sent(await _call(ctx, "sendMessage", text=question, **common))


@telegram.reaction("Send a photo", sentence="send a photo to {chat}", sample=SENT)
async def photo(
    ctx: Context,
    chat: Chat,
    photo: Annotated[str, Field("Photo", "Its address, or Telegram's id of a file.", min_length=1)],
    text: Caption = "",
    *,
    markup: Markup = "none",
    buttons: Buttons = None,
    reply_to: Annotated[int | None, Field("Answers the message")] = None,
    thread: Annotated[int | None, Field("Topic", "Its number, in groups with topics.")] = None,
    silent: Annotated[bool, Field("Without a sound")] = False,
) -> Sent:
    """Send a photo that Telegram fetches from an address."""
    common = _common(chat, markup, buttons, reply_to, thread, silent=silent)
    return _sent(await _call(ctx, "sendPhoto", photo=photo, caption=text, **common))


@telegram.reaction("Edit a message", sentence="edit the message {message}", effect="idempotent", sample=SENT)
async def edit(
    ctx: Context, chat: Chat, message: Number, text: Annotated[Text, Field("Text", min_length=1, max_length=4096)],
    *, markup: Markup = "none", buttons: Buttons = None,
) -> Sent:  # fmt: skip
    """Change the text and buttons of a message of the bot; without buttons they go."""
    common = _common(chat, markup, buttons, None, None, silent=False)
    try:
        return _sent(await _call(ctx, "editMessageText", message_id=message, text=text, **common))
    except Permanent as error:
        if "message is not modified" not in str(error):
            raise
        return Sent(message, chat)


@telegram.reaction("Delete a message", sentence="delete the message {message}", effect="idempotent")
async def delete(ctx: Context, chat: Chat, message: Number) -> None:
    """Delete a message of the bot, or in a group where it may."""
    with suppress(_Gone):
        await _call(ctx, "deleteMessage", chat_id=chat, message_id=message)


class _Gone(Permanent):
    """The message is there no more."""


async def _call(ctx: Context, method: str, **params: Any) -> Any:
    """Call a method of the Bot API and return its result; raises what its error means."""
    body = {name: value for name, value in params.items() if value not in (None, "", False)}
    answer = await ctx.http.post(f"/bot{ctx.auth.token}/{method}", json=body, ok=(400, 409, 429))
    if answer.status == 429:
        wait = _WAIT.search(answer.text)
        raise RateLimited("Telegram asks to wait", float(wait[1]) if wait else None)
    found = answer.json()
    if not isinstance(found, dict):
        raise Transient("Telegram's answer is none of the Bot API")
    if found.get("ok"):
        return found.get("result")
    text = f"Telegram says: {found.get('description', answer.status)}"
    if answer.status == 409:
        raise Transient(text)  # another program reads this bot's updates
    raise (_Gone if "message to delete not found" in text else Permanent)(text)


async def _read(
    ctx: Context, kind: str, senders: list[str] | None
) -> AsyncGenerator[tuple[str, dict[str, Any] | None], None]:
    """Yield the id and content of each update of a kind, from when the area was stored on; first None: all is well."""
    since = ctx.cursor.setdefault("since", int(ctx.now.timestamp()))
    allowed = {sender.lower().lstrip("@") for sender in senders or ()}

    async def ask(offset: int) -> list[dict[str, Any]]:
        found = await _call(ctx, "getUpdates", offset=offset, timeout=POLL_S,
                            allowed_updates=["message", "channel_post", "callback_query"])  # fmt: skip
        return found if isinstance(found, list) else []

    yield "", None  # the cursor is kept
    async with aclosing(ctx.session.read(ask)) as found:
        async for update in found:
            raw = update.get(kind) or (update.get("channel_post") if kind == "message" else None)
            if raw is None or raw.get("date", since) < since:
                continue
            sender = raw.get("from") or {}
            if not allowed or {str(sender.get("id")), str(sender.get("username", "")).lower()} & allowed:
                yield str(update["update_id"]), raw


async def _thank(ctx: Context, raw: dict[str, Any]) -> None:
    """Stop the clock of a button and take the buttons away; what cannot be done does not matter."""
    under = raw.get("message") or {}
    with suppress(Permanent):  # too late, or deleted
        await _call(ctx, "answerCallbackQuery", callback_query_id=raw["id"])
        await _call(ctx, "editMessageReplyMarkup", chat_id=under.get("chat", {}).get("id"),
                    message_id=under.get("message_id"))  # fmt: skip


def _message(raw: dict[str, Any]) -> dict[str, Any]:
    chat = raw.get("chat", {})
    place = raw.get("location")
    return _sender(raw) | {
        "message": raw.get("message_id", 0),
        "text": str(raw.get("text") or raw.get("caption") or ""),
        "chat": str(chat.get("id", "")),
        "chat_name": str(chat.get("title") or chat.get("first_name") or chat.get("username") or ""),
        "time": _time(raw.get("date")),
        "reply_to": (raw.get("reply_to_message") or {}).get("message_id"),
        "file": _file(raw),
        "location": {"latitude": place["latitude"], "longitude": place["longitude"]} if place else None,
    }


def _sender(raw: dict[str, Any]) -> dict[str, Any]:
    sender = raw.get("from") or {}
    name = " ".join(filter(None, (sender.get("first_name"), sender.get("last_name"))))
    return {"sender": str(sender.get("id", "")), "sender_name": name, "username": str(sender.get("username", ""))}


def _file(raw: dict[str, Any]) -> str:
    if raw.get("photo"):
        return str(raw["photo"][-1].get("file_id", ""))  # the largest
    kinds = ("document", "voice", "audio", "video", "video_note", "animation", "sticker")
    return next((str(raw[kind].get("file_id", "")) for kind in kinds if raw.get(kind)), "")


def _common(
    chat: str, markup: str, buttons: list[Any] | None, reply_to: int | None, thread: int | None, *, silent: bool
) -> dict[str, Any]:
    rows = [row if isinstance(row, list) else [row] for row in buttons or ()]
    made = [[_button(button) for button in row] for row in rows]
    return {
        "chat_id": chat,
        "parse_mode": "" if markup == "none" else markup,
        "reply_markup": {"inline_keyboard": made} if made else None,
        "reply_parameters": {"message_id": reply_to} if reply_to else None,
        "message_thread_id": thread,
        "disable_notification": silent,
    }


def _button(button: dict[str, Any]) -> dict[str, str]:
    more = {"url": str(button["url"])} if button.get("url") else {"callback_data": str(button.get("data", ""))}
    return {"text": str(button.get("text", "")), **more}


def _sent(found: Any) -> Sent:
    found = found if isinstance(found, dict) else {}
    return Sent(found.get("message_id", 0), str(found.get("chat", {}).get("id", "")), _time(found.get("date")))


def _time(seconds: Any) -> str:
    if not isinstance(seconds, int):
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

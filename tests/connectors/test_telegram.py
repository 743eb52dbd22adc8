"""`telegram`, against a server on the loopback that speaks the documented Bot API: one queue for each bot, kept until confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from areabox.connectors import _updates
from areabox.errors import AuthExpired, InputError, Permanent, RateLimited, Transient
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.calls import following, label, listen, react
from tests.services.loopback import Connection, serving

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
ANN = {"id": 7, "is_bot": False, "first_name": "Ann", "last_name": "B", "username": "ann"}
CHAT = {"id": 7, "type": "private", "first_name": "Ann"}


class Telegram:
    """A bot's queue of updates, and the methods that were called."""

    def __init__(self) -> None:
        self.queue: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.came, self.polls, self.refuse = asyncio.Event(), 0, dict[str, tuple[str, dict[str, Any]]]()

    async def __call__(self, connection: Connection) -> None:
        while True:
            request = await connection.read()
            _, token, method = request.path.split("/")
            params = msgspec.json.decode(request.body)
            if method != "getUpdates":
                self.asked.append((method, params))
            status, answer = await self.answer(token, method, params)
            await connection.answer(msgspec.json.encode(answer), status, "Content-Type: application/json\r\n")

    async def answer(self, token: str, method: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if token != f"bot{TOKEN}":
            return "401 Unauthorized", {"ok": False, "error_code": 401, "description": "Unauthorized"}
        if method in self.refuse:
            return self.refuse[method]
        if method == "getUpdates":
            return "200 OK", {"ok": True, "result": await self.updates(params)}
        if method == "getMe":
            return "200 OK", {"ok": True, "result": {"id": 1, "is_bot": True, "username": "areabox_bot"}}
        if method in ("deleteMessage", "answerCallbackQuery"):
            return "200 OK", {"ok": True, "result": True}
        return "200 OK", {"ok": True, "result": {"message_id": 43, "date": 1767268800, "chat": CHAT}}

    async def updates(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """Long poll: what is below the offset is forgotten; a second poll at once is a conflict with the first."""
        self.polls += 1
        self.queue = [update for update in self.queue if update["update_id"] >= params.get("offset", 0)]
        while not self.queue:
            self.came.clear()
            await self.came.wait()
        return self.queue[:100]

    def add(self, number: int, **content: Any) -> None:
        self.queue.append({"update_id": number} | content)
        self.came.set()

    def say(self, number: int, text: str, **more: Any) -> None:
        message = {"message_id": 40 + number, "date": 1767268800, "chat": CHAT, "from": ANN, "text": text}
        self.add(number, message=message | more)


@pytest.fixture
async def bot(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setattr(_updates, "GATHER_S", 0.03)
    made: Any = Telegram()
    async with serving(made) as server:
        made.url = server.url("")
        yield made


@pytest.fixture
async def account(bot: Any, connections: Connections) -> str:
    return (await connections.create("ann", "telegram", {"url": bot.url, "token": TOKEN}, name="a")).id


async def test_a_message_is_written_with_everything(services: Services, bot: Telegram, account: str) -> None:
    assert await react(services, "telegram.send", account, chat=7, text="Hi") == {"message": 43, "chat": "7", "time": "2026-01-01T12:00:00Z"}
    buttons = [{"text": "Open", "data": "open"}, [{"text": "See", "url": "https://example.org/"}]]
    await react(
        services, "telegram.send", account, chat="@channel", text="<b>Hi</b>", markup="HTML", buttons=buttons, reply_to=41, thread=3,
        silent=True, previews=False,
    )  # fmt: skip
    assert bot.asked == [
        ("sendMessage", {"chat_id": "7", "text": "Hi"}),
        ("sendMessage", {
            "chat_id": "@channel", "text": "<b>Hi</b>", "parse_mode": "HTML", "message_thread_id": 3, "disable_notification": True,
            "reply_parameters": {"message_id": 41}, "link_preview_options": {"is_disabled": True},
            "reply_markup": {"inline_keyboard": [[{"text": "Open", "callback_data": "open"}], [{"text": "See", "url": "https://example.org/"}]]},
        }),
    ]  # fmt: skip


async def test_a_photo_is_sent_and_messages_are_edited_and_deleted(services: Services, bot: Telegram, account: str) -> None:
    await react(services, "telegram.photo", account, chat="7", photo="https://example.org/i.jpg", text="Door")
    await react(services, "telegram.edit", account, chat="7", message=43, text="Closed")
    await react(services, "telegram.delete", account, chat="7", message=43)
    assert bot.asked == [
        ("sendPhoto", {"chat_id": "7", "photo": "https://example.org/i.jpg", "caption": "Door"}),
        ("editMessageText", {"chat_id": "7", "message_id": 43, "text": "Closed"}),
        ("deleteMessage", {"chat_id": "7", "message_id": 43}),
    ]
    for method, text in (("editMessageText", "Bad Request: message is not modified"), ("deleteMessage", "Bad Request: message to delete not found")):
        bot.refuse[method] = ("400 Bad Request", {"ok": False, "error_code": 400, "description": text})
    assert (await react(services, "telegram.edit", account, chat="7", message=43, text="Closed"))["message"] == 43
    assert await react(services, "telegram.delete", account, chat="7", message=43) is None


async def test_what_telegram_refuses_is_said_in_its_words(services: Services, bot: Any, account: str, connections: Connections) -> None:
    bot.refuse["sendMessage"] = ("400 Bad Request", {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"})
    with pytest.raises(Permanent, match="Telegram says: Bad Request: chat not found"):
        await react(services, "telegram.send", account, chat="7", text="x")
    bot.refuse["sendMessage"] = ("403 Forbidden", {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"})
    with pytest.raises(Permanent, match="blocked by the user"):
        await react(services, "telegram.send", account, chat="7", text="x")
    bot.refuse["sendMessage"] = ("429 Too Many Requests", {"ok": False, "error_code": 429, "parameters": {"retry_after": 14}})
    with pytest.raises(RateLimited) as raised:
        await react(services, "telegram.send", account, chat="7", text="x")
    assert raised.value.retry_after_s == 14
    wrong = (await connections.create("ann", "telegram", {"url": bot.url, "token": "1:wrong"}, name="b")).id
    with pytest.raises(AuthExpired):
        await react(services, "telegram.send", wrong, chat="7", text="x")
    assert await label(services, account) == "@areabox_bot"
    with pytest.raises(InputError):
        await react(services, "telegram.send", account, chat="7", text="x", buttons=[{"text": "no use"}])


async def test_messages_come_with_all_their_fields(services: Services, bot: Telegram, account: str) -> None:
    async with listen(services, "telegram.message", None, account) as events:
        bot.say(1, "Hello", reply_to_message={"message_id": 12})
        assert await following(events) == {
            "id": "1", "message": 41, "text": "Hello", "chat": "7", "chat_name": "Ann", "sender": "7", "sender_name": "Ann B",
            "username": "ann", "time": "2026-01-01T12:00:00Z", "reply_to": 12, "file": "", "location": None,
        }  # fmt: skip
        bot.add(2, message={"message_id": 50, "date": 1767268800, "chat": CHAT, "from": ANN, "caption": "a photo", "photo": [{"file_id": "small"}, {"file_id": "large"}]})
        bot.add(3, channel_post={"message_id": 51, "date": 1767268800, "chat": {"id": -100, "title": "News"}, "location": {"latitude": 1.5, "longitude": 2.5, "heading": 3}})
        photo, post = [await following(events) for _ in range(2)]
        assert (photo["text"], photo["file"]) == ("a photo", "large")
        assert (post["chat_name"], post["sender"], post["location"]) == ("News", "", {"latitude": 1.5, "longitude": 2.5})


async def test_what_was_said_before_the_area_was_stored_does_not_fire(services: Services, bot: Telegram, account: str) -> None:
    bot.say(1, "old", date=1_700_000_000)
    bot.say(2, "new")
    async with listen(services, "telegram.message", None, account) as events:
        assert (await following(events))["text"] == "new"


async def test_strangers_are_not_listened_to(services: Services, bot: Telegram, account: str) -> None:
    bot.say(1, "open", **{"from": {"id": 666, "first_name": "Eve", "username": "eve"}})
    bot.say(2, "open by name")
    bot.say(3, "open by number", **{"from": {"id": 8}})
    async with listen(services, "telegram.message", None, account, senders=["@Ann", "8"]) as events:
        assert [(await following(events))["text"] for _ in range(2)] == ["open by name", "open by number"]


async def test_commands_have_arguments(services: Services, bot: Telegram, account: str) -> None:
    for number, text in enumerate(("/lamp x", "light", "/light@areabox_bot  on now ", "/LIGHT"), 1):
        bot.say(number, text)
    async with listen(services, "telegram.command", None, account, command="light") as events:
        found = [await following(events) for _ in range(2)]
    assert [(event["command"], event["arguments"]) for event in found] == [("light", "on now"), ("light", "")]


async def test_a_button_that_is_pressed_is_answered(services: Services, bot: Telegram, account: str) -> None:
    bot.add(1, callback_query={"id": "q1", "from": ANN, "data": "close", "message": {"message_id": 43, "chat": CHAT}})
    bot.add(2, callback_query={"id": "q2", "from": ANN, "data": "open", "message": {"message_id": 43, "chat": CHAT}})
    async with listen(services, "telegram.pressed", None, account, data="open") as events:
        assert await following(events) == {
            "id": "2", "data": "open", "message": 43, "chat": "7", "sender": "7", "sender_name": "Ann B", "username": "ann",
        }  # fmt: skip
    assert bot.asked == [("answerCallbackQuery", {"callback_query_id": "q2"})]


async def test_several_streams_share_one_poll_and_an_update_is_confirmed_when_all_have_stored_it(
    services: Services, bot: Telegram, account: str
) -> None:
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(listen(services, name, None, account, **params))
            for name, params in (("telegram.message", {}), ("telegram.command", {}), ("telegram.message", {"senders": ["ann"]}))
        ]
        waiting = [asyncio.create_task(following(stream)) for stream in streams]
        bot.say(1, "/a")
        assert [(await task)["text"] for task in waiting] == ["/a", "/a", "/a"]
        bot.say(2, "/b")
        first = asyncio.create_task(following(streams[0]))
        await asyncio.sleep(0.05)
        assert (bot.polls, first.done()) == (1, False)  # two have not stored the first
        second = [first, *(asyncio.create_task(following(stream)) for stream in streams[1:])]
        assert [(await task)["text"] for task in second] == ["/b", "/b", "/b"]
        assert [update["update_id"] for update in bot.queue] == [2]
        more = [asyncio.create_task(following(stream)) for stream in streams]
        async with asyncio.timeout(30):
            while bot.queue:
                await asyncio.sleep(0.005)
        bot.say(3, "/c")
        assert [(await task)["text"] for task in more] == ["/c", "/c", "/c"]


async def test_what_was_not_stored_comes_again(services: Services, bot: Telegram, account: str) -> None:
    bot.say(1, "precious")
    async with listen(services, "telegram.message", None, account) as events:
        assert (await following(events))["text"] == "precious"
        # the stream is closed before it asks for more, as when the disk is full
    async with listen(services, "telegram.message", None, account) as events:
        assert (await following(events))["text"] == "precious"


async def test_another_program_that_reads_the_bot_is_told_of(services: Services, bot: Telegram, account: str) -> None:
    bot.refuse["getUpdates"] = ("409 Conflict", {"ok": False, "error_code": 409, "description": "Conflict: terminated by other getUpdates request"})
    with pytest.raises(Transient, match="terminated by other getUpdates"):
        async with listen(services, "telegram.message", None, account) as events:
            await following(events)

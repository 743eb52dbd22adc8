"""Questions that go out with buttons: as ntfy, Telegram and mail carry them, and as Telegram's answers come back."""

from __future__ import annotations

from typing import Any

import pytest

from areabox.errors import Permanent
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from tests.connectors.calls import following, listen, react
from tests.connectors.test_telegram import ANN, CHAT, TOKEN, bot
from tests.services.web import Server, reply

__all__ = ["bot"]

PAGE = "https://box.example.org/answer/01kdz0000000000000000000zz.bWFj"
CHOICES = [{"choice": text, "url": f"{PAGE}/{n}", "data": f"{PAGE.rpartition('/')[2]}/{n}"} for n, text in enumerate(("Delete", "Keep <it>"), 1)]


async def test_ntfy_has_a_button_for_each_choice_that_answers_at_once(services: Services, server: Server, connections: Connections) -> None:
    account = (await connections.create("ann", "ntfy", {"url": server.url})).id
    server.answer = reply(200, {"id": "a", "time": 1767268800})
    await react(services, "ntfy.ask", account, topic="alerts", question="Delete it?", choices=CHOICES)
    assert server.requests[0].json == {
        "topic": "alerts", "message": "Delete it?", "priority": 4, "click": PAGE, "sequence_id": "k1", "actions": [
            {"action": "http", "label": "Delete", "url": f"{PAGE}/1", "method": "POST", "clear": True},
            {"action": "http", "label": "Keep <it>", "url": f"{PAGE}/2", "method": "POST", "clear": True},
        ],
    }  # fmt: skip


async def test_more_choices_than_ntfy_has_buttons_are_on_the_page(services: Services, server: Server, connections: Connections) -> None:
    account = (await connections.create("ann", "ntfy", {"url": server.url})).id
    many = [{"choice": str(n), "url": f"{PAGE}/{n}"} for n in range(1, 5)]
    await react(services, "ntfy.ask", account, topic="alerts", question="How many?", choices=many)
    assert server.requests[0].json["actions"] == [{"action": "view", "label": "Answer", "url": PAGE, "clear": True}]


async def test_telegram_asks_with_buttons_and_hears_who_pressed_one(services: Services, bot: Any, connections: Connections) -> None:
    account = (await connections.create("ann", "telegram", {"url": bot.url, "token": TOKEN}, name="a")).id
    await react(services, "telegram.ask", account, chat="7", question="Delete it?", choices=CHOICES)
    method, sent = bot.asked[0]
    assert method == "sendMessage"
    assert sent["reply_markup"] == {"inline_keyboard": [[{"text": one["choice"], "callback_data": one["data"]}] for one in CHOICES]}
    async with listen(services, "telegram.answered", None, account) as events:
        under = {"message_id": 43, "chat": CHAT}
        bot.add(1, callback_query={"id": "q0", "from": ANN, "data": "of another button", "message": under})
        bot.add(2, callback_query={"id": "q1", "from": ANN, "data": CHOICES[1]["data"], "message": under})
        assert await following(events) == {"id": "2", "data": CHOICES[1]["data"], "by": "@ann"}
    assert bot.asked[1:] == [
        ("answerCallbackQuery", {"callback_query_id": "q1"}),
        ("editMessageReplyMarkup", {"chat_id": 7, "message_id": 43}),
    ]


def test_telegram_tells_which_action_hears_its_buttons(catalogue: Catalogue) -> None:
    asks = {name: operation.answered_by for name in catalogue.names("reaction") if (operation := catalogue.reaction(name)) and "choices" in operation.fields}
    assert asks == {"ntfy.ask": "", "telegram.ask": "telegram.answered", "mail.ask": ""}
    for name in asks:
        operation = catalogue.reaction(name)
        assert operation is not None
        assert operation.starred({"question": "q", "choices": CHOICES}) == {"question": "q", "choices": "***"}


async def test_without_an_ask_step_nothing_is_asked(services: Services, server: Server, connections: Connections) -> None:
    account = (await connections.create("ann", "ntfy", {"url": server.url})).id
    with pytest.raises(Permanent, match="via of an ask step"):
        await react(services, "ntfy.ask", account, topic="alerts", question="Delete it?")
    assert server.requests == []

"""Asking from outside, whole: the daemon's own loops, a replay of Telegram and one of ntfy, and people who press buttons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from areabox.app import App, open_app
from areabox.connectors import _updates
from areabox.deployment.settings import load
from areabox.users.policy import Actor
from tests.connectors.test_telegram import ANN, CHAT, TOKEN, Telegram
from tests.services.loopback import serving
from tests.services.web import Server, reply

AREA = """
area: approve
when: [{webhook.received: {}}]
then:
  - ask:
      question: Delete it?
      choices: [Delete, Keep]
      via:
        - telegram.ask: {chat: "7"}
        - ntfy.ask: {topic: alerts}
    id: sure
    timeout: 1d
  - return: "{{ steps.sure.choice }} by {{ steps.sure.by }}"
"""


class Asked:
    """A run that asks by Telegram and by ntfy, on a daemon whose loops run."""

    def __init__(self, app: App, actor: Actor, bot: Telegram, push: Server) -> None:
        self.app, self.actor, self.bot, self.push = app, actor, bot, push

    async def begin(self) -> None:
        await self.app.areas.apply(self.actor, [("approve", AREA)])
        self.run = await self.app.runs.start(self.actor, "approve", {})
        await self.until(lambda: self.sent() and self.push.requests)

    def sent(self) -> list[dict[str, Any]]:
        return [params for method, params in self.bot.asked if method == "sendMessage"]

    async def until(self, there: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not there():
                await asyncio.sleep(0.01)

    async def result(self) -> Any:
        async with asyncio.timeout(30):
            while (found := await self.app.runs.get(self.actor, self.run))["ended"] is None:
                await asyncio.sleep(0.01)
        return found["result"]


@pytest.fixture
async def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    monkeypatch.setattr(_updates, "GATHER_S", 0.03)
    settings = load({"data_dir": str(tmp_path), "public_url": "https://box.example.org"}, {"AREABOX_EGRESS_ALLOW": "127.0.0.0/8"})
    bot, push = Telegram(), Server()
    push.answer = reply(200, {"id": "a", "time": 1767268800})
    await push.open()
    async with serving(bot) as server, open_app(settings, role="cli") as app:
        actor = (await app.accounts.create("owner@example.org", None, "owner", first=True)).actor()
        await app.connections.create(actor.owner, "telegram", {"url": server.url(""), "token": TOKEN}, name="bot")
        await app.connections.create(actor.owner, "ntfy", {"url": push.url}, name="push")
        await app.start()
        made = Asked(app, actor, bot, push)
        await made.begin()
        yield made
    await push.close()


async def test_a_button_in_telegram_answers_though_nobody_reaches_areabox(asked: Asked) -> None:
    (row,) = asked.sent()[0]["reply_markup"]["inline_keyboard"][1:]
    asked.bot.add(1, callback_query={"id": "q", "from": ANN, "data": row[0]["callback_data"], "message": {"message_id": 43, "chat": CHAT}})
    assert await asked.result() == "Keep by @ann"


async def test_a_button_of_ntfy_answers_and_telegram_is_listened_to_no_more(asked: Asked) -> None:
    (delete, _) = asked.push.requests[0].json["actions"]
    transport = httpx2.ASGITransport(app=asked.app.asgi, client=("198.51.100.7", 4711))
    async with httpx2.AsyncClient(transport=transport, base_url="https://box.example.org") as phone:
        answer = await phone.request(delete["method"], delete["url"])
    assert answer.status_code == 200
    assert await asked.result() == "Delete by link"
    rows = await asked.app.backend.read("select count(*) from job")
    assert rows[0][0] == 0
    await asked.app.asgi.drain()

"""`discord`, against a server on the loopback that speaks webhooks as documented."""

from __future__ import annotations

from typing import Any

import pytest

from areabox.errors import AuthExpired, InputError, Permanent, RateLimited
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from tests.connectors.calls import label, react
from tests.services.web import Server, reply

PATH = "/api/webhooks/1324/s3cret-token"
ANSWER = {"id": "1325", "channel_id": "1323", "timestamp": "2026-01-01T12:00:00.000000+00:00", "content": "hi", "type": 0}


@pytest.fixture
async def channel(connections: Connections, server: Server) -> str:
    server.answer = reply(200, ANSWER)
    return (await connections.create("ann", "discord", {"url": server.url + PATH})).id


async def test_a_message_is_posted_and_mentions_nobody(services: Services, server: Server, channel: str) -> None:
    assert await react(services, "discord.send", channel, message="hi @everyone") == {
        "id": "1325", "channel": "1323", "time": "2026-01-01T12:00:00.000000+00:00",
    }  # fmt: skip
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", PATH + "?wait=true")
    assert request.json == {"content": "hi @everyone", "allowed_mentions": {"parse": []}}


async def test_a_card_with_everything(services: Services, server: Server, channel: str) -> None:
    await react(
        services, "discord.send", channel, message="m", title="T", text="D", link="https://example.org/", image="https://example.org/i.png",
        color="#f80", fields={"A": "1"}, embeds=[{"title": "second"}], username="Areabox", avatar="https://example.org/a.png",
        thread="77", new_thread="Post", mentions="all", silent=True, previews=False,
    )  # fmt: skip
    request = server.requests[0]
    assert request.path == PATH + "?wait=true&thread_id=77"
    assert request.json == {
        "content": "m", "username": "Areabox", "avatar_url": "https://example.org/a.png", "thread_name": "Post", "flags": 4100,
        "allowed_mentions": {"parse": ["users", "roles", "everyone"]},
        "embeds": [
            {"title": "T", "description": "D", "url": "https://example.org/", "image": {"url": "https://example.org/i.png"},
             "fields": [{"name": "A", "value": "1", "inline": True}], "color": 0xFF8800},
            {"title": "second"},
        ],
    }  # fmt: skip


async def test_a_message_is_edited_and_deleted(services: Services, server: Server, channel: str) -> None:
    assert (await react(services, "discord.edit", channel, id="1325", message="now"))["id"] == "1325"
    server.answer = reply(204)
    assert await react(services, "discord.delete", channel, id="1325", thread="7") is None
    server.answer = reply(404, {"message": "Unknown Message", "code": 10008})
    assert await react(services, "discord.delete", channel, id="1325") is None
    edited, deleted, _ = server.requests
    assert (edited.method, edited.path) == ("PATCH", f"{PATH}/messages/1325")
    assert edited.json == {"content": "now", "embeds": [], "allowed_mentions": {"parse": []}}
    assert (deleted.method, deleted.path) == ("DELETE", f"{PATH}/messages/1325?thread_id=7")


async def test_what_is_refused_says_why_without_the_token(services: Services, server: Server, channel: str) -> None:
    server.answer = reply(429, {"message": "You are being rate limited.", "retry_after": 0.3, "global": False}, retry_after="1")
    with pytest.raises(RateLimited) as raised:
        await react(services, "discord.send", channel, message="x")
    assert raised.value.retry_after_s == 1
    server.answer = reply(401, {"message": "Invalid Webhook Token", "code": 50027})
    with pytest.raises((AuthExpired, RateLimited)) as refused:
        await react(services, "discord.send", channel, message="x")
    assert "s3cret" not in f"{raised.value}{refused.value}"


async def test_a_webhook_that_is_gone_fails(services: Services, server: Server, channel: str) -> None:
    server.answer = reply(404, {"message": "Unknown Webhook", "code": 10015})
    with pytest.raises(Permanent, match="Unknown Webhook"):
        await react(services, "discord.send", channel, message="x")


async def test_a_connection_is_named_after_the_webhook(services: Services, server: Server, channel: str) -> None:
    server.answer = reply(200, {"id": "1324", "type": 1, "name": "Captain Hook", "channel_id": "1323", "token": "s3cret-token"})
    assert await label(services, channel) == "Captain Hook"
    assert (server.requests[0].method, server.requests[0].path) == ("GET", PATH)


@pytest.mark.parametrize("params", [{}, {"color": "#fff"}, {"message": "x" * 2001}, {"message": "x", "color": "red"}, {"message": "x", "mentions": "some"}])
async def test_mistakes_are_found(services: Services, catalogue: Catalogue, channel: str, params: dict[str, Any]) -> None:
    operation = catalogue.reaction("discord.send")
    assert operation is not None
    assert operation.check(params)
    if "message" in params:
        with pytest.raises(InputError):
            await react(services, "discord.send", channel, **params)

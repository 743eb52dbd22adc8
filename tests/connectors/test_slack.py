"""`slack`, against a server on the loopback that speaks incoming webhooks as documented."""

from __future__ import annotations

import pytest

from areabox.errors import Permanent
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from tests.connectors.calls import label, react
from tests.services.web import Server, reply

PATH = "/services/T000/B000/s3cret"


@pytest.fixture
async def channel(connections: Connections, server: Server) -> str:
    server.answer = reply(200, b"ok")
    return (await connections.create("ann", "slack", {"url": server.url + PATH})).id


async def test_a_text_is_posted(services: Services, server: Server, channel: str) -> None:
    assert await react(services, "slack.send", channel, text="*hi* & <https://example.org|you>") is None
    request = server.requests[0]
    assert (request.method, request.path, request.headers["content-type"]) == ("POST", PATH, "application/json")
    assert request.json == {"text": "*hi* & <https://example.org|you>"}


async def test_a_message_with_everything(services: Services, server: Server, channel: str) -> None:
    own = {"type": "divider"}
    await react(
        services, "slack.send", channel, text="a < b", title="T", image="https://example.org/i.png", buttons={"Open": "https://example.org/"},
        blocks=[own], thread="1503435956.000247", escape=True, previews=False,
    )  # fmt: skip
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "T"}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "a &lt; b"}},
        {"type": "image", "image_url": "https://example.org/i.png", "alt_text": "T"},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": "https://example.org/"}]},
        own,
    ]
    sent = {"text": "a &lt; b", "thread_ts": "1503435956.000247", "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
    assert server.requests[0].json == sent
    await react(services, "slack.send", channel, text="t", color="#f00")
    assert server.requests[1].json == {"attachments": [{"color": "#f00", "text": "t"}]}
    await react(services, "slack.send", channel, text="t", title="T", color="#f00")
    assert server.requests[2].json == {"attachments": [{"color": "#f00", "blocks": [blocks[0], {"type": "section", "text": {"type": "mrkdwn", "text": "t"}}]}]}


@pytest.mark.parametrize(("status", "text"), [(403, "action_prohibited"), (404, "channel_not_found"), (410, "channel_is_archived"), (400, "invalid_blocks")])
async def test_what_is_refused_says_why(services: Services, server: Server, channel: str, status: int, text: str) -> None:
    server.answer = reply(status, text.encode())
    with pytest.raises(Permanent, match=text) as raised:
        await react(services, "slack.send", channel, text="x")
    assert "s3cret" not in str(raised.value)


async def test_a_connection_is_tried_without_posting(services: Services, server: Server, channel: str) -> None:
    server.answer = reply(400, b"no_text")
    assert await label(services, channel) == ""
    assert server.requests[0].json == {}
    server.answer = reply(404, b"no_service")
    with pytest.raises(Permanent, match="no_service"):
        await label(services, channel)


def test_an_empty_message_is_found_when_the_area_is_stored(catalogue: Catalogue) -> None:
    operation = catalogue.reaction("slack.send")
    assert operation is not None
    assert [problem.pointer for problem in operation.check({"color": "#fff"})] == ["/text"]
    assert operation.check({"title": "x"}) == []

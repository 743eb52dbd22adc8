"""The whole way: a dropped-in connector, a service on the loopback that delivers, and an area that listens."""

from __future__ import annotations

import hashlib
import hmac
import json

import httpx2
import pytest

from areabox.app import open_app
from areabox.deployment.settings import load
from tests.services.web import Server, reply

HUB = '''
"""A service that lists issues, and delivers them where it was asked to."""

from collections.abc import AsyncIterator, Iterator

from areabox.sdk import Connector, Context, Delivery, Event, Key, convert, echo_query, hmac_sha256

hub = Connector("hub", "Hub", about="Issues.", base="BASE", auth=Key())


class Issue(Event):
    title: str


@hub.test
async def who(ctx: Context) -> str:
    """Say who."""
    return (await ctx.http.get("/user")).json()["login"]


@hub.webhook(
    verify=hmac_sha256("X-Signature", prefix="sha256="), delivery_id="X-Delivery", handshake=echo_query("challenge"),
)
async def hook(ctx: Context, repo: str) -> int:
    asked = {"url": ctx.url, "secret": ctx.secret, "events": ctx.events}
    return (await ctx.http.post(f"/{repo}/hooks", json=asked)).json()["id"]


@hook.unsubscribe
async def end(ctx: Context, repo: str) -> None:
    await ctx.http.delete(f"/{repo}/hooks/{ctx.state}", ok=(404,))


@hub.action("New issue", poll="10m", sentence="an issue is opened in {repo}", sample=Issue(id="1", title="It broke"))
async def new_issue(ctx: Context, repo: str) -> AsyncIterator[Issue]:
    """Fires for each issue."""
    for issue in (await ctx.http.get(f"/{repo}/issues", conditional=True)).json() or []:
        yield convert(issue, Issue)


@new_issue.webhook(hook, "issues")
def opened(delivery: Delivery, repo: str) -> Iterator[Issue]:
    if delivery.json["action"] == "opened":
        yield convert(delivery.json["issue"], Issue)
'''
AREA = """
area: issues
when:
  - hub.new_issue: {repo: box}
    connection: mine
then:
  - set: {title: "{{ trigger.title }}"}
"""


class Hub(Server):
    """The service: a list of issues, and the hooks that it was given."""

    def __init__(self):
        super().__init__()
        self.issues, self.hooks, self.numbers = [{"id": "1", "title": "old"}], {}, iter(range(7, 100))
        self.answer = self.reply

    def reply(self, request):
        if request.headers.get("authorization") != "Bearer right":
            return reply(401)
        if request.method == "POST":
            self.hooks[id := next(self.numbers)] = request.json
            return reply(201, {"id": id})
        if request.method == "DELETE":
            return reply(204 if self.hooks.pop(int(request.path.rpartition("/")[2]), None) else 404)
        return reply(200, {"login": "ann"} if request.path == "/user" else self.issues)

    async def deliver(self, client, number, issue, name="d1", secret=None):
        """Deliver an issue as the service does."""
        hook = self.hooks[number]
        body = json.dumps({"action": "opened", "issue": issue}).encode()
        signature = hmac.new((secret or hook["secret"]).encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Signature": f"sha256={signature}", "X-Delivery": name}
        return await client.post(hook["url"], content=body, headers=headers)


@pytest.fixture
async def hub():
    hub = Hub()
    await hub.open()
    yield hub
    await hub.close()


def settings_of(tmp_path, public_url="https://box.example.org"):
    flags = {"data_dir": str(tmp_path), "timezone": "UTC", "egress_allow": "127.0.0.1/32"}
    return load(flags | ({"public_url": public_url} if public_url else {}), environ={})


async def look(app, clock, ms=0):
    clock.advance(ms)
    for _ in range(3):
        await app.actions.poller.tick()
        await app.actions.poller.settle()
        await app.actions.pushes.tick()


async def test_from_the_subscription_to_the_run_and_back(tmp_path, clock, hub):
    folder = tmp_path / "connectors"
    folder.mkdir()
    (folder / "hub.py").write_text(HUB.replace("BASE", hub.url))
    async with open_app(settings_of(tmp_path), role="cli", clock=clock) as app:
        account = await app.accounts.create("owner@example.org", None, "owner", first=True)
        await app.connections.create(account.id, "hub", {"key": "right"}, name="mine")
        await app.areas.apply(account.actor(), [("issues", AREA)])
        await look(app, clock)
        ((number, hook),) = hub.hooks.items()
        assert hook["events"] == ["issues"]
        assert hook["url"].startswith("https://box.example.org/hooks/")
        transport = httpx2.ASGITransport(app=app.asgi)
        async with httpx2.AsyncClient(transport=transport) as client:
            assert (await client.get(f"{hook['url']}?challenge=abc")).text == "abc"
            new = {"id": "2", "title": "new"}
            assert (await hub.deliver(client, number, new, secret="guess")).status_code == 401
            first, again = await hub.deliver(client, number, new), await hub.deliver(client, number, new)
            assert (first.status_code, again.status_code, again.json()["event"]) == (202, 202, None)
            hub.issues.append(new)
            await look(app, clock, 7_200_000)
            events = await app.backend.read("select id, payload from event")
            assert [json.loads(row["payload"])["title"] for row in events] == ["new"]
            assert first.json()["event"] == events[0]["id"]
            rows = [dict(row) for row in await app.backend.read("select * from push")]
            assert hook["secret"] not in str(rows)
            await app.areas.delete(account.actor(), "issues")
            await app.actions._look(rows[0]["subscription"], "poll")
            await look(app, clock)
            assert hub.hooks == {}
            assert (await client.post(hook["url"])).status_code == 404


async def test_the_next_process_without_a_public_address_ends_it_and_polls(tmp_path, clock, hub):
    folder = tmp_path / "connectors"
    folder.mkdir()
    (folder / "hub.py").write_text(HUB.replace("BASE", hub.url))
    async with open_app(settings_of(tmp_path), role="cli", clock=clock) as app:
        account = await app.accounts.create("owner@example.org", None, "owner", first=True)
        await app.connections.create(account.id, "hub", {"key": "right"}, name="mine")
        await app.areas.apply(account.actor(), [("issues", AREA)])
        await look(app, clock)
        assert len(hub.hooks) == 1
    async with open_app(settings_of(tmp_path, public_url=None), role="cli", clock=clock) as app:
        await look(app, clock)
        assert hub.hooks == {}
        hub.issues.append({"id": "2", "title": "new"})
        await look(app, clock, 660_000)
        assert len(await app.backend.read("select id from event")) == 1

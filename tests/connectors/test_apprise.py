"""`apprise`, with Apprise itself in its helper process, and its json:// service at a server on the loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from areabox.errors import Permanent, Transient, Uncertain
from areabox.services.calls import Services
from areabox.services.connections import Connections
from areabox.services.helper import Helper, apprise_helper
from areabox.services.host import House
from tests.connectors.brokers import until
from tests.connectors.calls import label, react
from tests.services.web import Server, reply

pytestmark = pytest.mark.skipif(importlib.util.find_spec("apprise") is None, reason="apprise is not installed")


@pytest.fixture
async def helper(services: Services, backend: Any, clock: Any) -> AsyncIterator[Helper]:
    made = Helper(apprise_helper(idle_s=20))
    services._house = House(backend, clock, apprise=made)
    yield made
    await made.close()


async def connected(connections: Connections, url: str, name: str = "a") -> str:
    return (await connections.create("ann", "apprise", {"url": url}, name=name)).id


async def test_notifications_go_out_by_a_process_of_their_own(services: Services, server: Server, connections: Connections, helper: Helper) -> None:
    account = await connected(connections, server.url.replace("http:", "json:") + "/hook")
    assert not helper.runs
    assert await label(services, account) == "JSON"
    assert server.requests == []
    assert await react(services, "apprise.notify", account, message="Hi é\n{{", title="Door", kind="warning") == {"service": "JSON"}
    (request,) = server.requests
    assert request.path == "/hook"
    assert {name: request.json[name] for name in ("title", "message", "type")} == {"title": "Door", "message": "Hi é\n{{", "type": "warning"}
    process = helper._process
    many = await asyncio.gather(*(react(services, "apprise.notify", account, message=str(n)) for n in range(8)))
    assert many == [{"service": "JSON"}] * 8
    assert helper._process is process
    assert "apprise" not in sys.modules  # here, that is
    await fails(services, server, connections, account)


async def fails(services: Services, server: Server, connections: Connections, account: str) -> None:
    server.answer = reply(500)
    with pytest.raises(Transient, match="Apprise could not deliver it"):
        await react(services, "apprise.notify", account, message="x")
    with pytest.raises(Permanent, match="http or https"):
        await react(services, "apprise.notify", account, message="x", attach=["/etc/passwd"])
    wrong = await connected(connections, "nothing://at all", "wrong")
    with pytest.raises(Permanent, match="does not understand this address"):
        await label(services, wrong)


async def test_it_is_off_unless_an_admin_switches_it_on(services: Services, connections: Connections) -> None:
    account = await connected(connections, "json://127.0.0.1/")
    with pytest.raises(Permanent, match="an admin can set `apprise = true`"):
        await react(services, "apprise.notify", account, message="x")


SLOW = "import sys, json, time\nfor line in sys.stdin:\n    id = json.loads(line)['id']\n    %s\n"


async def test_a_helper_ends_when_it_is_idle_and_is_started_anew() -> None:
    helper = Helper(apprise_helper(idle_s=0.05))
    for _ in range(2):
        answer = await helper.ask({"url": "json://127.0.0.1/", "check": True}, 30)
        assert (answer["ok"], answer["service"]) == (True, "JSON")
        await until(lambda: not helper.runs)
    await helper.close()


@pytest.mark.parametrize(
    ("does", "error", "said"),
    [
        ("print(json.dumps({'id': id, 'begun': True}), flush=True); time.sleep(600)", Uncertain, "no end within"),
        ("time.sleep(600)", Transient, "no end within"),
        ("print(json.dumps({'id': id, 'begun': True}), flush=True); sys.exit()", Uncertain, "ended meanwhile"),
        ("sys.exit()", Transient, "ends as soon as it is started"),
        ("print('odd', flush=True)", Transient, "ends as soon as it is started"),
    ],
)
async def test_what_a_helper_did_not_end_is_told_by_how_far_it_got(does: str, error: type[Exception], said: str) -> None:
    helper = Helper([sys.executable, "-I", "-c", SLOW % does])
    with pytest.raises(error, match=said):
        await helper.ask({}, 1.5)
    await helper.close()
    assert not helper.runs


async def test_a_helper_that_is_not_there_is_told_of() -> None:
    with pytest.raises(Permanent, match="cannot be started"):
        await Helper(["/nowhere/at/all"]).ask({}, 1)


async def test_answers_find_their_requests_in_any_order() -> None:
    twisted = "kept = globals().setdefault('kept', []); kept.append(id)\n    if len(kept) == 3:\n        for one in reversed(kept): print(json.dumps({'id': one, 'n': one}), flush=True)"
    helper = Helper([sys.executable, "-I", "-c", SLOW % twisted])
    found = await asyncio.gather(*(helper.ask({}, 30) for _ in range(3)))
    assert [one["n"] for one in found] == [one["id"] for one in found] == [1, 2, 3]
    await helper.close()



"""`matrix`, against a real Synapse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from areabox.errors import AuthExpired, Permanent
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.brokers import free_port
from tests.connectors.calls import following, label, listen, react
from tests.connectors.servers import ask, program, running

API = "/_matrix/client/v3"


class Home:
    """A homeserver, and its people."""

    def __init__(self, url: str) -> None:
        self.url, self.tokens = url, dict[str, str]()
        for name in ("ann", "box"):
            body = {"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}}
            self.tokens[name] = ask("POST", f"{url}{API}/register", body)["access_token"]

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> Any:
        return await asyncio.to_thread(ask, method, f"{self.url}{API}{path}", body, token=self.tokens[who])

    async def room(self, **options: Any) -> str:
        return (await self.ask("ann", "POST", "/createRoom", options))["room_id"]

    async def say(self, room: str, text: str, number: int = 0, who: str = "ann") -> str:
        body = {"msgtype": "m.text", "body": text}
        return (await self.ask(who, "PUT", f"/rooms/{room}/send/m.room.message/{who}{number}{text}".replace(" ", "_"), body))["event_id"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    python = program("synapse", "synapse_homeserver").replace("synapse_homeserver", "python")
    folder, port = tmp_path_factory.mktemp("synapse"), free_port()
    fast = {"per_second": 10_000, "burst_count": 10_000}
    settings = {
        "server_name": "home.example.org", "report_stats": False, "pid_file": str(folder / "pid"),
        "listeners": [{"port": port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]}],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "home.db")}}, "media_store_path": str(folder / "media"),
        "signing_key": "ed25519 test EbRKXl06TWMwaFPxmYGjdXqWb1GBsFnhfzPEWbhYEGY", "macaroon_secret_key": "made up", "form_secret": "made up",
        "enable_registration": True, "enable_registration_without_verification": True, "trusted_key_servers": [],
        "rc_message": fast, "rc_registration": fast, "rc_invites": {"per_room": fast, "per_user": fast, "per_issuer": fast},
        "rc_joins": {"local": fast, "remote": fast}, "bcrypt_rounds": 4,
    }  # fmt: skip
    config = folder / "homeserver.yaml"
    config.write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{port}"
    with running(python, "-m", "synapse.app.homeserver", "--config-path", str(config), folder=folder, url=f"{url}/_matrix/client/versions"):
        yield Home(url)


@pytest.fixture
async def account(home: Home, connections: Connections) -> str:
    return (await connections.create("ann", "matrix", {"url": home.url, "key": home.tokens["box"]}, name="m")).id


async def test_invited_joined_and_a_message_is_answered(services: Services, home: Home, account: str) -> None:
    assert await label(services, account) == "@box:home.example.org"
    invitations: dict[str, Any] = {}
    async with listen(services, "matrix.invite", invitations, account) as events:
        assert not await anext(events)  # all is well
        room = await home.room(name="Kitchen", invite=["@box:home.example.org"])
        found = await following(events)
        assert found == {"id": found["id"], "room": room, "sender": "@ann:home.example.org", "name": "Kitchen"}
    assert await react(services, "matrix.join", account, room=room) == {"room": room}
    async with listen(services, "matrix.message", {}, account, room=room, text="LIGHT") as events:
        assert not await anext(events)
        await home.say(room, "the door")
        sent = await home.say(room, "a light")
        assert (found := await following(events)) == {
            "id": sent, "room": room, "sender": "@ann:home.example.org", "text": "a light", "html": "", "kind": "m.text", "file": "",
            "time": found["time"], "reply_to": "",
        }  # fmt: skip
    reply = await react(services, "matrix.send", account, room=room, text="**on** <b>", reply_to=sent)
    again = await react(services, "matrix.send", account, room=room, text="**on** <b>", reply_to=sent)
    assert reply == again  # the same key: the same message
    event = await home.ask("ann", "GET", f"/rooms/{room}/event/{reply['id']}")
    assert event["content"]["formatted_body"] == "<p><strong>on</strong> &lt;b&gt;</p>"
    assert event["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": sent}}
    for key in ("k1", "k2"):  # the second is there already
        params = {"room": room, "message": sent, "emoji": "👍"}
        await services.react("matrix.react", params, owner="ann", connection=account, key=key, attempt=1, timeout_s=30)
    assert await react(services, "matrix.delete", account, room=room, message=reply["id"]) is None
    assert await react(services, "matrix.leave", account, room=room) is None


async def test_what_came_while_nobody_listened_is_caught_up_with_more_than_a_page_of_it(services: Services, home: Home, account: str) -> None:
    room = await home.room(invite=["@box:home.example.org"], room_alias_name="hall")
    await react(services, "matrix.join", account, room="#hall:home.example.org")
    cursor: dict[str, Any] = {}
    async with listen(services, "matrix.message", cursor, account, room="#hall:home.example.org") as events:
        assert not await anext(events)
    wanted = [f"message {number}" for number in range(130)]
    for number, text in enumerate(wanted):
        await home.say(room, text, number)
    await home.say(room, "mine", who="box")
    async with listen(services, "matrix.message", cursor, account, room=room) as events:
        assert [(await following(events))["text"] for _ in wanted] == wanted


async def test_rooms_are_offered_by_name(services: Services, home: Home, account: str) -> None:
    room = await home.room(name="Garage", invite=["@box:home.example.org"])
    await react(services, "matrix.join", account, room=room)
    found = await services.options("reaction", "matrix.send", "room", {}, owner="ann", connection=account, q="garage")
    assert [(one.value, one.label) for one in found] == [(room, "Garage")]


async def test_a_wrong_token_and_a_room_of_others_say_so(services: Services, home: Home, account: str, connections: Connections) -> None:
    wrong = (await connections.create("ann", "matrix", {"url": home.url, "key": "syt_wrong"}, name="w")).id
    with pytest.raises(AuthExpired):
        await label(services, wrong)
    room = await home.room(name="Secret")
    with pytest.raises(Permanent, match="403"):
        await react(services, "matrix.send", account, room=room, text="x")

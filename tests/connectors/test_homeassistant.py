"""`homeassistant`, against a real Home Assistant 2024.3.3, which is onboarded by its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from areabox.clock import SystemClock
from areabox.connectors import _hass
from areabox.errors import AuthExpired, Permanent, Transient, Uncertain
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.brokers import free_port
from tests.connectors.calls import following, label, listen, react
from tests.connectors.servers import ask, program, running

CONFIG = """\
homeassistant:
  name: The house
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
websocket_api:
onboarding:
input_boolean:
  lamp:
    name: Lamp
  door:
  tap:
input_number:
  level: {{min: 0, max: 100, initial: 10}}
"""


class Home:
    """A home, and the token of its owner."""

    def __init__(self, url: str) -> None:
        self.url, client = url, f"{url}/"
        person = {"client_id": client, "name": "Ann", "username": "ann", "password": "correct horse", "language": "en"}
        code = ask("POST", f"{url}/api/onboarding/users", person)["auth_code"]
        asked = {"grant_type": "authorization_code", "code": code, "client_id": client}
        self.token = ask("POST", f"{url}/auth/token", asked, form=True)["access_token"]

    async def post(self, path: str, body: Any) -> Any:
        return await asyncio.to_thread(ask, "POST", f"{self.url}/api/{path}", body, token=self.token)

    async def turn(self, name: str, to: str) -> None:
        await self.post(f"services/input_boolean/turn_{to}", {"entity_id": f"input_boolean.{name}"})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    hass = program("homeassistant", "hass")
    folder, port = tmp_path_factory.mktemp("homeassistant"), free_port()
    (folder / "configuration.yaml").write_text(CONFIG.format(port=port))
    url = f"http://127.0.0.1:{port}"
    with running(hass, "-c", str(folder), "--skip-pip", folder=folder, url=f"{url}/api/onboarding"):
        yield Home(url)


@pytest.fixture
def clock() -> SystemClock:
    """The time that Home Assistant has, too."""
    return SystemClock()


@pytest.fixture
async def account(home: Home, connections: Connections) -> str:
    return (await connections.create("ann", "homeassistant", {"url": home.url, "token": home.token}, name="h")).id


async def test_a_change_is_told_and_those_of_before_are_not(services: Services, home: Home, account: str) -> None:
    assert await label(services, account) == "The house"
    async with listen(services, "homeassistant.state_changed", {}, account, entity="input_boolean.lamp", to="on") as events:
        assert not await anext(events)
        await home.turn("door", "on")
        await home.turn("lamp", "on")
        found = await following(events)
        assert found == {
            "id": f"input_boolean.lamp {found['changed']}", "entity": "input_boolean.lamp", "state": "on", "old": "off", "name": "Lamp",
            "attributes": found["attributes"], "changed": found["changed"],
        }  # fmt: skip
    await home.turn("lamp", "off")
    await home.turn("door", "off")


async def test_what_changed_while_nobody_listened_is_told_what_is_as_it_was_is_not(services: Services, home: Home, account: str) -> None:
    cursor: dict[str, Any] = {}
    async with listen(services, "homeassistant.state_changed", cursor, account, entity="input_boolean.*") as events:
        assert not await anext(events)
    await home.turn("lamp", "on")
    for to in ("on", "off"):
        await home.turn("door", to)
    async with listen(services, "homeassistant.state_changed", cursor, account, entity="input_boolean.*") as events:
        found = await following(events)
        assert (found["entity"], found["old"], found["state"]) == ("input_boolean.lamp", "off", "on")
        await home.turn("lamp", "off")
        assert (await following(events))["state"] == "off"


async def test_a_state_that_is_held_fires_once_and_one_that_is_left_does_not(services: Services, home: Home, account: str) -> None:
    params = {"entity": "input_boolean.*", "state": "on", "duration": "1s"}
    async with listen(services, "homeassistant.state_held", {}, account, **params) as events:
        assert not await anext(events)
        await home.turn("tap", "on")
        await home.turn("tap", "off")
        await home.turn("lamp", "on")
        assert (await following(events))["entity"] == "input_boolean.lamp"
    await home.turn("lamp", "off")


async def test_a_number_fires_when_it_crosses_the_limit_not_while_it_stays_there(services: Services, home: Home, account: str) -> None:
    async def level(value: float) -> None:
        await home.post("services/input_number/set_value", {"entity_id": "input_number.level", "value": value})

    async with listen(services, "homeassistant.numeric_crossed", {}, account, entity="input_number.level", above=50) as events:
        assert not await anext(events)
        for value in (60, 70, 40, 80):
            await level(value)
        assert [(await following(events))["value"] for _ in range(2)] == [60.0, 80.0]


async def test_events_are_told_and_fired_over_one_socket(services: Services, home: Home, account: str) -> None:
    async with listen(services, "homeassistant.event", {}, account, type="doorbell", data={"door": 1}) as events:
        assert not await anext(events)
        async with listen(services, "homeassistant.event", {}, account, type="doorbell") as others:
            assert not await anext(others)
            for door in (2, 1):
                await react(services, "homeassistant.fire_event", account, type="doorbell", data={"door": door})
            assert (await following(events))["data"] == {"door": 1}
            assert [(await following(others))["data"]["door"] for _ in range(2)] == [2, 1]
    assert len(services._sessions._open) == 1


async def test_services_are_called_and_states_set_and_read(services: Services, home: Home, account: str) -> None:
    called = await react(services, "homeassistant.call", account, service="input_boolean.turn_on", entity=["input_boolean.lamp"])
    assert called == {"response": None}
    assert (await react(services, "homeassistant.state", account, entity="input_boolean.lamp"))["state"] == "on"
    await home.turn("lamp", "off")
    made = await react(services, "homeassistant.set_state", account, entity="sensor.areabox", state="21.5", attributes={"unit_of_measurement": "°C"})
    assert (made["state"], made["attributes"]) == ("21.5", {"unit_of_measurement": "°C"})


async def test_what_home_assistant_refuses_says_what_it_would_take(services: Services, home: Home, account: str) -> None:
    with pytest.raises(Permanent, match=r"input_number.set_value: .*\(it takes value\)"):
        await react(services, "homeassistant.call", account, service="input_number.set_value", entity=["input_number.level"], data={"x": 1})
    with pytest.raises(Permanent, match="input_boolean has reload, toggle"):
        await react(services, "homeassistant.call", account, service="input_boolean.fly")
    with pytest.raises(Permanent, match=r"no entity light\.none"):
        await react(services, "homeassistant.state", account, entity="light.none")


async def test_services_and_entities_are_offered_with_their_names(services: Services, home: Home, account: str) -> None:
    async def offered(field: str, q: str) -> list[tuple[str, str]]:
        found = await services.options("reaction", "homeassistant.call", field, {}, owner="ann", connection=account, q=q)
        return [(one.value, one.label) for one in found]

    assert await offered("service", "input_number.set_value") == [("input_number.set_value", "Set: value")]
    assert await offered("entity", "lamp") == [("input_boolean.lamp", "Lamp")]


async def test_a_wrong_token_says_so(services: Services, home: Home, connections: Connections) -> None:
    wrong = (await connections.create("ann", "homeassistant", {"url": home.url, "token": "wrong"}, name="w")).id
    with pytest.raises(AuthExpired, match="refuses the token"):
        await label(services, wrong)


async def test_a_call_that_nobody_answered_is_uncertain_and_what_is_read_is_asked_for_again() -> None:
    link = _hass.Link(SimpleNamespace(send=_sent))
    waiting = [asyncio.create_task(link.ask("call_service", sure=False)), asyncio.create_task(link.states())]
    async with asyncio.timeout(30):
        await asyncio.sleep(0)
        link.end(Transient("the line is down"))
        with pytest.raises(Uncertain, match="it may have been done"):
            await waiting[0]
        with pytest.raises(Transient, match="the line is down"):
            await waiting[1]
        with pytest.raises(Transient):  # nothing was sent
            await link.ask("call_service", sure=False)


async def _sent(text: str) -> None:
    """Take what is sent, and say nothing."""

"""`mqtt`, against Mosquitto: nothing is lost that is acknowledged, and one socket serves all."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import aiomqtt
import pytest

from areabox.actions.subscriptions import Wanted
from areabox.connectors import _broker, _topics
from areabox.errors import AuthExpired, InputError, Permanent, Transient
from tests.connectors.brokers import Daemon, free_port, program, until

CONFIG = """
user root
persistence true
persistence_location {folder}/
listener {port} 127.0.0.1
{more}
"""


def mosquitto(folder: Path, more: str = "allow_anonymous true", port: int = 0) -> Daemon:
    port = port or free_port()
    config = folder / "mosquitto.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, more=more))
    return Daemon(port, program("mosquitto"), "-c", str(config), "-v", log=folder / "mosquitto.log")


@pytest.fixture
def broker(tmp_path):
    made = mosquitto(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def home(house, broker, tmp_path):
    """A house with a connection to the broker, and a client that is not ours."""
    connection = await house.connections.create("u1", "mqtt", {"host": "127.0.0.1", "port": broker.port})

    async def area(id, topic="home/#", action="mqtt.message", **params):
        want = Wanted(place="m", action=action, params={"topic": topic, **params}, connection=connection.id)
        return (await house.world.area(id, want))[0]

    async def payloads(count, seconds=10.0):
        async def there():
            return len(await house.world.payloads()) >= count

        with contextlib.suppress(TimeoutError):
            await until(there, seconds)
        return await house.world.payloads()

    async def subscribed(count=1):
        return await until(lambda: log().count("Received SUBSCRIBE from areabox-") >= count)

    def log():
        return (tmp_path / "mosquitto.log").read_text()

    return SimpleNamespace(
        house=house, world=house.world, connection=connection, broker=broker, area=area, payloads=payloads,
        subscribed=subscribed, log=log, react=house.react,
    )  # fmt: skip


def client(home, **options):
    return aiomqtt.Client("127.0.0.1", home.broker.port, **options)


async def test_a_message_is_an_event_with_the_fields_that_scripts_rely_on(home):
    await home.area("a", "home/+/temperature")
    await home.house.awake()
    await home.subscribed()
    async with client(home) as other:
        await other.publish("home/kitchen/temperature", '{"celsius": 21.5}', 1)
        await other.publish("home/kitchen/humidity", "55", 1)
        await other.publish("home/bath/temperature", "warm", 0)
        await other.publish("home/bath/temperature", b"\xff\x00", 1)
    nothing = {"json": None, "retained": False, "base64": ""}
    assert await home.payloads(3) == [
        nothing | {"topic": "home/kitchen/temperature", "payload": '{"celsius": 21.5}', "json": {"celsius": 21.5}},
        nothing | {"topic": "home/bath/temperature", "payload": "warm"},
        nothing | {"topic": "home/bath/temperature", "payload": "\ufffd\x00", "base64": "/wA="},
    ]


async def test_topics_that_overlap_fire_once_each_over_one_socket(home):
    for id, topic in (("a", "home/#"), ("b", "home/+/door"), ("c", "home/hall/door"), ("d", "other/#")):
        await home.area(id, topic)
    await home.house.awake()
    await home.subscribed(4)
    async with client(home) as other:
        await other.publish("home/hall/door", "open", 1)
        await other.publish("home/hall/lamp", "on", 1)
        await other.publish("other/end", "end", 1)
    found = [payload["topic"] for payload in await home.payloads(5)]
    assert sorted(found) == ["home/hall/door"] * 3 + ["home/hall/lamp", "other/end"]
    assert home.log().count(f"as areabox-{home.connection.id}") == 1


async def test_a_thousand_messages_survive_a_broker_that_is_restarted(home):
    await home.area("a", "home/#")
    await home.house.awake()
    await home.subscribed()
    world, total = home.world, 1000

    async def send(numbers):
        left = list(numbers)
        while left:
            with contextlib.suppress(aiomqtt.MqttError):
                async with client(home) as other:
                    while left:
                        await other.publish("home/n", str(left[0]), 1)
                        left.pop(0)
            await asyncio.sleep(0.02)

    async def tend():
        while True:
            world.clock.advance(1_000)
            await home.house.listener.tick()
            await asyncio.sleep(0.02)

    tending, sending = asyncio.create_task(tend()), asyncio.create_task(send(range(total)))
    await home.payloads(total // 3)
    await asyncio.to_thread(home.broker.stop)
    await asyncio.to_thread(home.broker.start)
    await asyncio.wait_for(sending, 30)

    async def all_there():
        return len({payload["payload"] for payload in await world.payloads()}) == total

    await until(all_there, 20)
    tending.cancel()
    assert await world.count("run") == await world.count("event")
    assert await world.count("event") <= 2 * total  # what the broker had sent and not heard of may come twice, no more


async def test_what_is_sent_while_areabox_is_away_is_kept_by_the_broker(home):
    await home.area("a", "home/#")
    await home.area("b", "home/+/door")
    await home.house.awake()
    await home.subscribed(2)
    await home.house.asleep()
    async with client(home) as other:
        for n in range(50):
            await other.publish("home/hall/door", str(n), 1)
    await home.house.awake()
    found = [payload["payload"] for payload in await home.payloads(100)]
    assert sorted(found) == sorted([str(n) for n in range(50)] * 2)


async def test_a_message_is_acknowledged_only_when_it_is_on_disk(home):
    await home.area("a", "home/#")
    await home.house.awake()
    await home.subscribed()
    reached = asyncio.Event()

    async def never(unit):
        reached.set()
        await asyncio.Event().wait()

    home.world.backend.before_commit = never
    async with client(home) as other:
        await other.publish("home/door", "open", 1)
    await asyncio.wait_for(reached.wait(), 30)
    assert "Received PUBACK from areabox-" not in home.log()
    await home.house.asleep()
    assert await home.world.payloads() == []
    await home.house.awake()
    assert [payload["payload"] for payload in await home.payloads(1)] == ["open"]
    await until(lambda: "Received PUBACK from areabox-" in home.log())


async def test_a_stream_that_is_opened_again_gets_what_it_left(home):
    await home.area("a", "home/#")
    await home.area("z", "other/#")  # keeps the socket open
    listener = await home.house.awake()
    await home.subscribed(2)
    reached = asyncio.Event()

    async def never(unit):
        reached.set()
        await asyncio.Event().wait()

    home.world.backend.before_commit = never
    async with client(home) as other:
        for n in range(3):
            await other.publish("home/door", str(n), 1)
    await asyncio.wait_for(reached.wait(), 30)
    await home.world.switch("a", on=False)
    await listener.tick()
    await home.world.switch("a", on=True)
    await listener.tick()
    assert [payload["payload"] for payload in await home.payloads(3)] == ["0", "1", "2"]
    await until(lambda: home.log().count("Received PUBACK from areabox-") == 3)


async def test_a_topic_that_an_area_of_the_past_wanted_is_given_up(home, monkeypatch):
    await home.area("a", "home/+/door")
    await home.area("b", "other/#")
    await home.house.awake()
    await home.subscribed(2)
    await home.house.asleep()
    await home.world.switch("a", on=False)
    async with client(home) as other:
        for n in range(30):
            await other.publish("home/hall/door", str(n), 1)
        await other.publish("other/x", "wanted", 1)
    monkeypatch.setattr(_broker, "PARKED_S", 0.2)
    monkeypatch.setattr(_broker, "TICK_S", 0.1)
    await home.house.awake()
    assert [payload["payload"] for payload in await home.payloads(1)] == ["wanted"]
    await until(lambda: "\thome/+/door\n" in home.log().partition("Received UNSUBSCRIBE")[2])


@pytest.mark.parametrize("filter", ["a/b/c", "a/+/c", "+/+/+", "#", "a/#", "a/b/c/#", "+/b/#"])
def test_the_filter_of_a_message_is_told_by_its_number(filter):
    assert _topics.filter_of("a/b/c", _topics.number(filter)) == filter
    assert _topics.filter_of("x/y/z", _topics.number("a/b/c")) is None


async def test_retained_messages_fire_only_if_they_are_asked_for(home):
    async with client(home) as other:
        await other.publish("home/mode", "away", 1, retain=True)
    await home.area("a", "home/#")
    await home.house.awake()
    await home.subscribed()
    async with client(home) as other:
        await other.publish("home/mode", "here", 1, retain=True)
    assert [(p["payload"], p["retained"]) for p in await home.payloads(1)] == [("here", False)]
    await home.area("b", "home/mode", retained=True)
    await home.house.listener.tick()
    assert [(p["payload"], p["retained"]) for p in await home.payloads(2)] == [("here", False), ("here", True)]


async def test_silence_fires_once_until_something_is_heard(home):
    await home.area("a", "sensors/+", "mqtt.silent", after="1s")
    await home.area("b", "sensors/attic", "mqtt.silent", after="1s")
    await home.house.awake()
    await home.subscribed(2)
    async with client(home) as other:
        await other.publish("sensors/cellar", "1", 1)
    found = await home.payloads(2, 5)
    assert {(p["topic"], bool(p["last"])) for p in found} == {("sensors/attic", False), ("sensors/cellar", True)}
    await asyncio.sleep(1.2)
    assert len(await home.world.payloads()) == 2


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_is_published_arrives(home, qos):
    await home.house.awake()
    async with client(home) as other:
        await other.subscribe("lamp/#", 2)
        sent = await home.react("mqtt.publish", home.connection, topic="lamp/set", payload={"on": True}, qos=qos)
        got = await anext(aiter(other.messages))
    assert sent == {"topic": "lamp/set", "size": 11}
    assert (str(got.topic), got.payload, got.qos, got.retain) == ("lamp/set", b'{"on":true}', qos, False)


async def test_a_published_message_is_retained_and_forgotten(home):
    await home.house.awake()
    for text, kept in (("on", [b"on"]), ("", [])):
        await home.react("mqtt.publish", home.connection, topic="lamp/set", payload=text, retain=True)
        async with client(home) as other:
            await other.subscribe("lamp/#")
            await other.subscribe("end/#")
            await other.publish("end/x", "end")
            found = [(await anext(other.messages)).payload for _ in [*kept, "end"]]
        assert found == [*kept, b"end"]


def test_the_quality_of_service_says_what_a_repeat_means(known):
    operation = known.reaction("mqtt.publish")
    assert [operation.effect_of({"topic": "a", "qos": qos}) for qos in (0, 1, 2)] == ["once", "idempotent", "once"]
    assert operation.effect_of({"topic": "a"}) == "idempotent"


@pytest.mark.parametrize(
    ("action", "bad"),
    [("mqtt.message", "home/#/x"), ("mqtt.message", "home/a+"), ("mqtt.message", ""), ("mqtt.message", "$share/g"),
     ("mqtt.silent", "a#")],
)  # fmt: skip
def test_a_topic_that_is_none_is_told_when_the_area_is_stored(known, action, bad):
    assert [problem.pointer for problem in known.action(action).check({"topic": bad})] == ["/topic"]


@pytest.mark.parametrize("good", ["#", "+", "+/+", "/", "a//b", "home/+/x/#", "$SYS/#", "$share/group/home/#"])
def test_a_topic_may_have_wildcards(known, good):
    assert known.action("mqtt.message").check({"topic": good}) == []


async def test_a_message_is_sent_to_one_topic(home):
    await home.house.awake()
    with pytest.raises(InputError, match="without \\+ and #"):
        await home.react("mqtt.publish", home.connection, topic="lamp/+")


async def test_a_connection_is_tried_out_and_named(home):
    await home.house.awake()
    assert (await home.house.connections.test("u1", "mqtt")).account == f"127.0.0.1:{home.broker.port}"
    await asyncio.to_thread(home.broker.stop)
    tried = await home.house.connections.test("u1", "mqtt")
    assert tried.state == "dead" or tried.account  # an open socket may not know yet
    with pytest.raises(Transient):
        for _ in range(3):
            await home.react("mqtt.publish", home.connection, topic="a")
    home.broker.start()
    await home.react("mqtt.publish", home.connection, topic="a")


async def test_a_wrong_password_needs_a_person(house, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run([program("mosquitto_passwd"), "-b", str(passwords), "ann", "correct horse"], check=True)
    passwords.chmod(0o644)
    acl = tmp_path / "acl"
    acl.write_text("user ann\ntopic readwrite home/#\n")
    broker = mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}\nacl_file {acl}")
    broker.start()
    try:
        await house.awake()
        at = {"host": "127.0.0.1", "port": broker.port, "username": "ann"}
        wrong = await house.connections.create("u1", "mqtt", at | {"password": "wrong battery"}, name="wrong")
        with pytest.raises(AuthExpired, match="refuses"):
            await house.react("mqtt.publish", wrong, topic="home/x")
        right = await house.connections.create("u1", "mqtt", at | {"password": "correct horse"}, name="right")
        await house.react("mqtt.publish", right, topic="home/x")
        assert (await house.connections.test("u1", "right")).account == f"ann at 127.0.0.1:{broker.port}"
        with pytest.raises(Permanent, match=r"refuses a message to other/x: Not authorized"):
            await house.react("mqtt.publish", right, topic="other/x")
    finally:
        broker.stop()


async def test_a_broker_with_a_certificate_of_its_own_is_trusted_by_it(house, tmp_path, certificate):
    (tmp_path / "cert.pem").write_bytes(certificate[0])
    (tmp_path / "key.pem").write_bytes(certificate[1])
    broker = mosquitto(tmp_path, f"allow_anonymous true\ncertfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem")
    broker.start()
    try:
        await house.awake()
        at = {"host": "home.example.org", "port": broker.port, "tls": True}
        stranger = await house.connections.create("u1", "mqtt", at, name="stranger")
        with pytest.raises(Transient, match=r"no secure connection to home\.example\.org"):
            await house.react("mqtt.publish", stranger, topic="a")
        known = at | {"certificate": certificate[0].decode()}
        friend = await house.connections.create("u1", "mqtt", known, name="friend")
        await house.react("mqtt.publish", friend, topic="a")
    finally:
        broker.stop(signal.SIGKILL)


async def test_a_broker_that_knows_no_mqtt_5_is_spoken_to_as_it_knows(house, tmp_path):
    broker = mosquitto(tmp_path, "allow_anonymous true")
    broker.start()
    spoken = []

    async def between(reader, writer):
        """Refuse MQTT 5 as Mosquitto 1.5 does, and let 3.1.1 through."""
        head = await reader.readexactly(2)
        rest = await reader.readexactly(head[1])
        spoken.append(rest[6])
        if rest[6] != 4:
            writer.write(b"\x20\x02\x00\x01")
            writer.close()
            return
        up, down = await asyncio.open_connection("127.0.0.1", broker.port)
        down.write(head + rest)

        async def copy(source, target):
            while data := await source.read(4096):
                target.write(data)
            target.close()

        await asyncio.gather(copy(reader, down), copy(up, writer), return_exceptions=True)

    server = await asyncio.start_server(between, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        await house.awake()
        connection = await house.connections.create("u1", "mqtt", {"host": "127.0.0.1", "port": port})
        await house.world.area(
            "a", Wanted(place="m", action="mqtt.message", params={"topic": "home/#"}, connection=connection.id)
        )
        await house.listener.tick()
        await until(lambda: "Received SUBSCRIBE" in (tmp_path / "mosquitto.log").read_text())
        await house.react("mqtt.publish", connection, topic="home/x", payload="1")

        async def there():
            return await house.world.payloads()

        assert [payload["payload"] for payload in await until(there)] == ["1"]
        assert spoken == [5, 4]
    finally:
        await house.asleep()
        server.close()
        broker.stop()


async def test_a_broker_at_home_is_dialled_only_for_who_may(house, broker):
    connection = await house.connections.create("u1", "mqtt", {"host": "10.255.255.1"})
    await house.awake()
    with pytest.raises(Permanent, match="nobody typed this host"):
        await house.react("mqtt.publish", connection, topic="a")

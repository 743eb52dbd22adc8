"""`amqp`, against RabbitMQ: a message is taken when it is stored, and what is published is confirmed."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from areabox.actions.subscriptions import Wanted
from areabox.errors import AuthExpired, Permanent, Transient
from tests.connectors.brokers import until
from tests.connectors.calls import label
from tests.connectors.peers import Rabbit

pika = pytest.importorskip("aio_pika")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Rabbit(tmp_path_factory.mktemp("rabbit"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
async def home(house, shared):
    """A house with a connection to the broker, a channel that is not ours, and a queue `orders` that is empty."""
    auth = {"host": "127.0.0.1", "port": shared.port, "username": "guest", "password": "guest"}
    connection = await house.connections.create("u1", "amqp", auth)
    other = await pika.connect(port=shared.port)
    channel = await other.channel()
    orders = await channel.declare_queue("orders", durable=True)
    await orders.purge()

    async def area(id, **params):
        params = {"queue": "orders", **params}
        return (
            await house.world.area(id, Wanted(place="m", action="amqp.message", params=params, connection=connection.id))
        )[0]

    async def events(count):
        async def there():
            return len(await house.world.payloads()) >= count

        with contextlib.suppress(TimeoutError):
            await until(there, 30)
        return await house.world.payloads()

    async def send(body, key="orders", **properties):
        await channel.default_exchange.publish(pika.Message(body, **properties), key)

    async def left(queue="orders"):
        return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count

    async def react(name, /, step="k", **params):
        return await house.react(name, connection, step, **params)

    async with other:
        yield SimpleNamespace(
            house=house, connection=connection, channel=channel, area=area, events=events, send=send, left=left,
            react=react, orders=orders, server=shared,
        )  # fmt: skip


async def test_a_message_is_an_event_with_all_that_it_says(home):
    await home.area("a")
    await home.house.awake()
    await home.send(
        b'{"item": "lamp"}', message_id="m1", headers={"n": 1, "raw": bytearray(b"x"), "list": [1, "y"]},
        content_type="application/json", correlation_id="c1", reply_to="answers",
    )  # fmt: skip
    await home.send(b"\xff", message_id="m2")
    found = await home.events(2)
    assert found[0] == {
        "id": "m1", "queue": "orders", "exchange": "", "routing_key": "orders", "text": '{"item": "lamp"}',
        "json": {"item": "lamp"}, "base64": "", "headers": {"n": 1, "raw": "x", "list": [1, "y"]},
        "content_type": "application/json", "correlation_id": "c1", "reply_to": "answers", "redelivered": False,
    }  # fmt: skip
    assert (found[1]["text"], found[1]["base64"], found[1]["json"]) == ("�", "/w==", None)


async def test_a_message_leaves_the_queue_only_when_it_is_on_disk(home):
    await home.area("a")
    await home.house.awake()
    broken = True

    async def full(unit):
        if broken:
            raise Transient("no room")

    home.house.world.backend.before_commit = full
    await home.send(b"lamp", message_id="m1")
    await until(home.house.errors)
    await home.house.asleep()
    assert await home.left() == 1
    broken = False
    await home.house.awake()
    (found,) = await home.events(1)
    assert (found["text"], found["redelivered"]) == ("lamp", True)

    async def taken():
        return await home.left() == 0

    await until(taken)


async def test_the_same_message_id_fires_once_and_messages_without_one_each_time(home):
    await home.area("a")
    await home.house.awake()
    for _ in range(2):
        await home.send(b"with", message_id="m1")
        await home.send(b"without")
    await home.send(b"last")
    assert sorted(event["text"] for event in await home.events(4)) == ["last", "with", "without", "without"]


async def test_a_queue_of_its_own_is_made_and_fed_by_an_exchange(home):
    await home.channel.declare_exchange("shop", "topic", durable=True)
    await home.area("a", queue="mine", declare=True, exchange="shop", routing_key="order.*")
    await home.house.awake()

    async def bound():
        with contextlib.suppress(Permanent):  # no queue takes it yet
            return await home.react("amqp.publish", exchange="shop", routing_key="order.new", text={"n": 1})

    await until(bound)
    (found,) = await home.events(1)
    assert (found["id"], found["exchange"], found["routing_key"], found["json"]) == ("k", "shop", "order.new", {"n": 1})


async def test_what_no_queue_takes_fails_unless_it_need_not_arrive(home):
    await home.house.awake()
    with pytest.raises(Permanent, match="no queue takes"):
        await home.react("amqp.publish", routing_key="nobody", text="x")
    assert await home.react("amqp.publish", routing_key="nobody", text="x", must_arrive=False) == {
        "message_id": "k", "size": 1,
    }  # fmt: skip
    with pytest.raises(Permanent, match="no exchange"):
        await home.react("amqp.publish", exchange="none", routing_key="x", text="x")


async def test_what_is_published_is_persistent_and_known_by_the_step(home):
    await home.house.awake()
    await home.react("amqp.publish", "step-1", routing_key="orders", text="hello", headers={"a": [1]})
    found = await home.orders.get(timeout=10)
    assert (found.body, found.message_id, found.delivery_mode, found.content_type, found.headers) == (
        b"hello", "step-1", 2, "text/plain", {"a": [1]},
    )  # fmt: skip
    await found.ack()


async def test_a_queue_that_is_not_there_and_a_password_that_is_wrong_are_told(home):
    await home.area("a", queue="absent")
    await home.house.awake()
    assert await label(home.house.services, home.connection.id) == f"guest at 127.0.0.1:{home.server.port}/"
    (why,) = await until(home.house.errors)
    assert "no queue 'absent'" in why
    wrong = {"host": "127.0.0.1", "port": home.server.port, "username": "guest", "password": "wrong"}
    other = await home.house.connections.create("u1", "amqp", wrong)
    with pytest.raises(AuthExpired, match="user name or password"):
        await home.house.react("amqp.publish", other, routing_key="orders", text="x")

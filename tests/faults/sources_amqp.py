"""RabbitMQ as a source: a durable queue, persistent messages, each known by its `message_id`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.connectors.peers import Rabbit


class Amqp(Rabbit):
    service, doubles, secrets = "amqp", 0, ("guest",)
    id, path = "{{ trigger.json.id }}", "$.json.id"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.auth = {"host": "127.0.0.1", "port": self.port, "username": "guest"}
        self.trigger = {"amqp.message": {"queue": "orders", "declare": True, "prefetch": 20}}

    async def send(self, numbers: Sequence[int]) -> None:
        import aio_pika

        async with await aio_pika.connect(port=self.port, timeout=10) as other, other.channel() as channel:
            await channel.declare_queue("orders", durable=True)
            for number in numbers:
                content = b'{"id": %d}' % number
                made = aio_pika.Message(content, message_id=f"m{number}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(made, "orders", timeout=10)

"""Mosquitto as a source: QoS 1, which may come twice when areabox is killed, as MQTT says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.connectors.brokers import Daemon, free_port, program


class Mqtt(Daemon):
    service, doubles, secrets = "mqtt", 200, ("",)
    id, path = "{{ trigger.json.id }}", "$.json.id"

    def __init__(self, folder: Path) -> None:
        port, config = free_port(), folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
        )
        super().__init__(port, program("mosquitto"), "-c", str(config), log=folder / "mosquitto.log")
        self.auth = {"host": "127.0.0.1", "port": port}
        self.trigger = {"mqtt.message": {"topic": "home/#"}}
        self.sent: set[int] = set()

    async def send(self, numbers: Sequence[int]) -> None:
        import aiomqtt

        try:
            async with aiomqtt.Client("127.0.0.1", self.port, timeout=10) as other:
                for number in numbers:
                    if number not in self.sent:
                        await other.publish("home/door", b'{"id": %d}' % number, qos=1)
                        self.sent.add(number)
        except aiomqtt.MqttError as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        self.stop()

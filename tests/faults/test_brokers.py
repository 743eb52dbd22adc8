"""G9. Messages that come while their broker is restarted and areabox is killed: each is stored, and acted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import sources
from tests.faults.conftest import House
from tests.faults.sources_amqp import Amqp
from tests.faults.sources_mqtt import Mqtt


@pytest.mark.parametrize("kind", [Amqp, Mqtt], ids=lambda kind: kind.service)
async def test_no_message_is_lost_when_its_source_is_restarted_and_areabox_is_killed(
    house: House, tmp_path: Path, kind: type
) -> None:
    if kind is Amqp:
        pytest.importorskip("aio_pika")
    folder = tmp_path / "source"
    folder.mkdir()
    source = kind(folder)
    try:
        source.start()
        await sources.check(house, source)
    finally:
        source.close()

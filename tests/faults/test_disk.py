"""G9. The disk is full at any moment: nothing is corrupt, nothing acknowledged is lost, senders are told, and it heals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.faults.conftest import House
from tests.faults.daemon import FULL, Sink, hook, tell, until
from tests.support import any_machine

MOMENTS = 50 if FULL else 1
SIZE_MIB = 320 if FULL else 64
HEALED_S = any_machine(15.0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "areabox-test", str(folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        pytest.skip("there is no mount(8) here to make a small disk with")
    if done.returncode:
        pytest.skip(f"only root may mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)


def fill(filler: Path) -> None:
    """Take all room that there is, to the last page."""
    with filler.open("ab") as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)


class Sender:
    """Sends without a pause, whatever it is told, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: dict[int, int] = {}
        self.last = 0
        self.stopped = False

    async def send(self, url: str) -> None:
        async with httpx2.AsyncClient() as client:
            while not self.stopped:
                id = len(self.told)
                self.told[id] = 0
                self.last = self.told[id] = (await client.post(url, json={"id": id, "pad": "x" * 500}, timeout=30)).status_code
                await asyncio.sleep(0.01)


async def test_a_full_disk_is_told_and_survived_at_any_moment(small: Path, tmp_path: Path, house: House) -> None:
    chance, sender, slowest = random.Random(5), Sender(), 0.0
    async with Sink() as sink:
        daemon = house(small)
        daemon.log = tmp_path / "daemon.log"
        await asyncio.to_thread(daemon.start)
        pid = daemon.process.pid if daemon.process else 0
        url = (await asyncio.to_thread(daemon.apply, hook("a", {"wait": "200ms"}, tell(sink.url))))["a"]
        senders = [asyncio.create_task(sender.send(url)) for _ in range(4)]
        for _ in range(MOMENTS):
            await asyncio.sleep(chance.uniform(0.1, 1.0))
            assert sender.last == 202
            await asyncio.to_thread(fill, small / "filler")
            await until(lambda: sender.last == 507, 30, "somebody is told")
            assert not await asyncio.to_thread(daemon.ready)
            await asyncio.sleep(chance.uniform(0, 1.0))
            (small / "filler").unlink()
            slowest = max(slowest, await until(lambda: sender.last == 202, HEALED_S, "it heals"))
        await until(daemon.ready, HEALED_S, "it is ready")
        sender.stopped = True
        await asyncio.gather(*senders)
        acknowledged = {id for id, status in sender.told.items() if status == 202}
        begin = time.monotonic()
        await until(lambda: acknowledged <= set(sink.keys), 60, "all that was acknowledged is done")
        took = time.monotonic() - begin
        assert daemon.process is not None
        assert daemon.process.pid == pid
        assert daemon.process.poll() is None
        await asyncio.to_thread(daemon.kill)
        sound = daemon.rows("pragma integrity_check")
        false = [id for id in sink.keys if sender.told[id] != 202]
    print(
        f"\nG9: full {MOMENTS} times: told {dict(Counter(sender.told.values()))}, 0 acknowledged lost, {len(false)} refused and done all the same, "
        f"healed within {slowest:.1f} s, all done {took:.1f} s later, integrity {sound[0][0]}"
    )
    assert set(sender.told.values()) == {202, 507}
    assert sound == [("ok",)]
    assert not false
    assert all(len(set(keys)) == 1 for keys in sink.keys.values())


async def test_it_does_not_start_on_a_full_disk_as_if_nothing_were_wrong(small: Path, tmp_path: Path, house: House) -> None:
    daemon = house(small)
    daemon.log = tmp_path / "daemon.log"
    await asyncio.to_thread(fill, small / "filler")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (small / "more").write_bytes(bytes(8192))
    daemon.spawn()
    with contextlib.suppress(AssertionError):  # it may also stay, and say that it is not ready
        await until(lambda: daemon.process is None or daemon.process.poll() is not None, 2, "it gives up")
    assert not await asyncio.to_thread(daemon.ready)
    (small / "filler").unlink()
    (small / "more").unlink(missing_ok=True)
    if daemon.process is not None and daemon.process.poll() is not None:
        assert daemon.process.returncode in (1, 78), daemon.log.read_text()[-2000:]
        await asyncio.to_thread(daemon.start)
    await until(daemon.ready, HEALED_S, "it is ready once there is room")
    await asyncio.to_thread(daemon.kill)
    assert daemon.rows("pragma integrity_check") == [("ok",)]

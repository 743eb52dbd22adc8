"""The stream of what happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from areabox.app import App
from areabox.gateway import live as module
from areabox.gateway.live import Live
from areabox.gateway.problems import RefusedError
from areabox.users.policy import Actor

ALICE = Actor("alice", "alice@example.org", "owner")
BOB = Actor("bob", "bob@example.org", "viewer")


@pytest.fixture
async def live(app: App) -> AsyncIterator[Live]:
    made = Live(app.backend, app.clock)
    yield made
    await made.close()


async def event(stream: AsyncIterator[bytes]) -> dict[str, str]:
    async with asyncio.timeout(30):
        text = (await anext(stream)).decode()
    return dict(line.split(": ", 1) for line in text.strip().split("\n") if not line.startswith(":"))


async def opened(live: Live, actor: Actor = ALICE, topics: str = "", last_id: str = "") -> AsyncIterator[bytes]:
    stream = live.watch(actor, frozenset(topics.split(",")) - {""}, last_id)
    assert "retry" in await event(stream)
    await asyncio.sleep(0)  # let the pump subscribe
    return stream


async def test_everybody_hears_of_their_own(app: App, live: Live) -> None:
    alice, bob = await opened(live), await opened(live, BOB)
    await app.backend.publish("run", id="r1", owner="bob", state="done")
    await app.backend.publish("run", id="r2", owner="alice", state="done")
    assert '"r2"' in (await event(alice))["data"]
    heard = await event(bob)
    assert heard["event"] == "run"
    assert heard["data"] == '{"topic":"run","id":"r1","state":"done"}'


async def test_only_the_topics_that_are_asked_for_and_allowed(app: App, live: Live) -> None:
    narrow = Actor("alice", "alice@example.org", "owner", frozenset({"areas:read"}))
    all_topics, runs = await opened(live, narrow), await opened(live, topics="run,nothing")
    await app.backend.publish("event", id="e1", owner="alice")
    await app.backend.publish("area", id="a1", owner="alice")
    await app.backend.publish("run", id="r1", owner="alice")
    assert (await event(all_topics))["event"] == "area"
    assert (await event(runs))["event"] == "run"


async def test_whoever_comes_back_gets_what_was_missed(app: App, live: Live) -> None:
    stream = await opened(live)
    for n in range(3):
        await app.backend.publish("run", id=f"r{n}", owner="alice")
    first = await event(stream)
    again = await opened(live, last_id=first["id"])
    assert '"r1"' in (await event(again))["data"]
    assert '"r2"' in (await event(again))["data"]


async def test_a_page_goes_on_from_where_it_was_read(app: App, live: Live) -> None:
    position = live.position()
    await asyncio.sleep(0)
    await app.backend.publish("run", id="r1", owner="alice")
    await asyncio.sleep(0.01)
    stream = await opened(live, last_id=position)
    assert '"r1"' in (await event(stream))["data"]


@pytest.mark.parametrize("last_id", ["another-process-17", "x", "-5", "0"])
async def test_whoever_was_away_for_too_long_is_told_to_read_again(live: Live, last_id: str) -> None:
    stream = await opened(live, last_id=last_id)
    assert (await event(stream))["event"] == "resync"


async def test_what_is_not_kept_any_more_is_told_too(app: App, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_kept", type(live._kept)(maxlen=2))
    stream = await opened(live)
    for n in range(5):
        await app.backend.publish("run", id=f"r{n}", owner="alice")
    first = await event(stream)
    again = await opened(live, last_id=first["id"])
    assert (await event(again))["event"] == "resync"


async def test_a_slow_client_loses_the_oldest_and_nothing_grows(app: App, live: Live) -> None:
    stream = await opened(live)
    for n in range(module.BACKLOG + 200):
        await app.backend.publish("run", id=str(n), owner="alice")
        if n % 100 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert '"id":"0"' not in (await event(stream))["data"]


async def test_silence_is_filled_with_comments(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 0.01)
    stream = await opened(live)
    assert await anext(stream) == b": still here\n\n"


async def test_all_are_told_before_the_daemon_stops(live: Live) -> None:
    stream = await opened(live)
    await live.close()
    assert (await event(stream))["event"] == "bye"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    with pytest.raises(RefusedError):
        live.watch(ALICE, frozenset(), "")


async def test_not_everybody_can_watch_at_once(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCHERS_MAX", 1)
    await opened(live)
    with pytest.raises(RefusedError, match="too many"):
        live.watch(ALICE, frozenset(), "")


async def test_the_stream_comes_over_http(running: App, tokens: dict[str, str], hello: Any, owner: Any) -> None:
    answers: asyncio.Queue[Any] = asyncio.Queue()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http", "method": "GET", "path": "/api/v1/stream", "raw_path": b"/api/v1/stream", "query_string": b"topics=run",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {tokens['owner']}".encode())],
        "client": ("198.51.100.7", 1), "scheme": "http", "state": {}, "root_path": "", "server": ("localhost", 80),
        "http_version": "1.1",
    }  # fmt: skip
    task = asyncio.create_task(running.asgi(scope, receive, answers.put))  # type: ignore[arg-type]
    start = await answers.get()
    headers = dict(start["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-accel-buffering"] == b"no"
    assert (await answers.get())["body"].startswith(b"retry:")
    await asyncio.sleep(0.01)
    await owner.post("/api/v1/areas/hello/runs", json={})
    async with asyncio.timeout(30):
        assert b"event: run" in (await answers.get())["body"]
    gone.set()
    async with asyncio.timeout(30):
        await task

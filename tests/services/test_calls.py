"""How is a connector called?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest

from areabox.database.sqlite import SqliteBackend
from areabox.errors import (
    AuthExpired,
    InputError,
    MissingScope,
    NotAllowedError,
    Permanent,
    RateLimited,
    Skip,
    Transient,
    Uncertain,
)
from areabox.sdk import (
    Connector,
    Context,
    Delivery,
    Event,
    Field,
    Fields,
    Limits,
    Option,
    Secret,
    Url,
    echo_query,
    hmac_sha256,
    shared_token,
)
from areabox.services.calling import ConnectorBug
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from tests.services.web import Server, reply
from tests.support import FakeClock

CANARY = "canary-5ecret"
SHA256 = hmac_sha256("X-Signature")


class Said(Event):
    text: str


async def choices(ctx: Context, room: str, q: str) -> list[Option]:
    names = (await ctx.http.get(f"/rooms/{room}")).json()
    return [Option(name) for name in names if q in name]


class Demo:
    """A connector whose reactions do what a test says."""

    def __init__(self) -> None:
        self.connector = c = Connector(
            "demo", "Demo", about="For tests.", base=lambda auth: auth.url,
            auth=Fields(url=Url, token=Annotated[Secret, Field("Token")], bearer="token"),
        )  # fmt: skip
        self.does: Any = None
        self.sessions: list[str] = []

        @c.test
        async def who(ctx: Context) -> str:
            return str((await ctx.http.get("/me")).json()["name"])

        for effect in ("once", "keyed", "idempotent"):

            async def act(ctx: Context, text: str = "", room: Annotated[str, Field("Room", options=choices)] = "") -> Any:
                """Do it."""
                return await self.does(ctx, text)

            act.__name__ = effect
            c.reaction("Act", sentence="act", effect=effect)(act)  # type: ignore[arg-type]

        @c.action("Said", poll="5m", sentence="{feed} says", sample=Said(id="1", text="hi"))
        async def said(ctx: Context, feed: str = "") -> AsyncIterator[Said]:
            """Fires."""
            async with aclosing(self.does(ctx, feed)) as items:
                async for item in items:
                    yield item

        @c.action(
            "Told", hook=lambda params: SHA256 if params.get("signed") else None, sentence="told",
            sample=Said(text="hi"), handshake=echo_query("challenge"),
        )  # fmt: skip
        def told(delivery: Delivery, *, signed: bool = False) -> Iterator[Said]:
            """Fires."""
            for text in delivery.json["texts"]:
                yield Said(text=text)


@pytest.fixture
def demo(catalogue: Catalogue) -> Demo:
    made = Demo()
    catalogue.add(made.connector, source="test")
    return made


@pytest.fixture
async def connection(connections: Connections, demo: Demo, server: Server) -> str:
    return (await connections.create("ann", "demo", {"url": server.url, "token": CANARY})).id


async def react(services: Services, name: str, connection: str | None, **more: Any) -> Any:
    options = {"owner": "ann", "key": "k1", "attempt": 2, "timeout_s": 30.0} | more
    return await services.react(f"demo.{name}", options.pop("params", {}), connection=connection, **options)


async def poll(services: Services, connection: str | None, cursor: dict[str, Any] | None = None) -> list[Any]:
    return [
        event async for event in services.poll(
            "demo.said", {"feed": "f"}, owner="ann", connection=connection, cursor={} if cursor is None else cursor
        )
    ]  # fmt: skip


async def test_a_reaction_gets_its_context_and_gives_json(
    services: Services, demo: Demo, connection: str, server: Server, clock: FakeClock
) -> None:
    async def does(ctx: Context, text: str) -> Any:
        assert (ctx.key, ctx.attempt, ctx.auth.url) == ("k1", 2, server.url)
        assert ctx.now.timestamp() * 1000 == clock.now
        assert ctx.host is None
        assert ctx.client_id == f"areabox-{connection}"
        return Said(text=text + (await ctx.http.post("/a")).text)

    demo.does = does
    assert await react(services, "once", connection, params={"text": 5}) == {"id": "", "text": '5{"ok":true}'}
    assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"


async def test_parameters_that_do_not_fit_are_the_areas_fault(services: Services, demo: Demo) -> None:
    with pytest.raises(InputError, match="there is no txt here; did you mean text"):
        await react(services, "once", None, params={"txt": ""})


async def test_what_is_not_there_any_more_is_named(services: Services, demo: Demo) -> None:
    with pytest.raises(Permanent, match=r"there is no reaction demo\.gone any more"):
        await react(services, "gone", None)
    with pytest.raises(Permanent, match=r"there is no action demo\.gone any more"):
        _ = [e async for e in services.poll("demo.gone", {}, owner="ann", connection=None, cursor={})]


@pytest.mark.parametrize("error", [Skip("nothing new"), MissingScope("more", ("repo",)), Permanent("no")])
async def test_errors_with_a_decision_come_through(services: Services, demo: Demo, error: Exception) -> None:
    async def does(ctx: Context, text: str) -> None:
        raise error

    demo.does = does
    with pytest.raises(type(error)) as raised:
        await react(services, "once", None)
    assert raised.value is error


async def test_any_other_error_is_a_bug_of_the_connector(
    services: Services, demo: Demo, caplog: pytest.LogCaptureFixture
) -> None:
    async def does(ctx: Context, text: str) -> Any:
        return {}[text]

    demo.does = does
    with pytest.raises(ConnectorBug, match=r"the connector demo\.once failed, not you: KeyError"):
        await react(services, "once", None)
    assert "does" in str(caplog.records[0].exc_text or caplog.text)


async def test_an_output_that_is_no_json_is_one_too(services: Services, demo: Demo) -> None:
    async def does(ctx: Context, text: str) -> Any:
        return object()

    demo.does = does
    with pytest.raises(ConnectorBug):
        await react(services, "once", None)


@pytest.mark.parametrize(("effect", "kind"), [("once", Uncertain), ("keyed", Transient), ("idempotent", Transient)])
async def test_a_timeout_after_sending_is_in_doubt_unless_a_repeat_is_harmless(
    services: Services, demo: Demo, connection: str, server: Server, effect: str, kind: type[Exception]
) -> None:
    async def does(ctx: Context, text: str) -> None:
        await ctx.http.post("/")

    demo.does, server.answer = does, lambda request: None
    with pytest.raises(kind):
        await react(services, effect, connection, timeout_s=0.1)


@pytest.mark.parametrize(
    ("effect", "method", "kind"),
    [("once", None, Uncertain), ("once", "GET", Transient), ("once", "POST", Uncertain), ("keyed", None, Transient)],
)
async def test_what_does_not_end_is_in_doubt_if_it_may_have_changed_something(
    services: Services, demo: Demo, connection: str, effect: str, method: str | None, kind: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def does(ctx: Context, text: str) -> None:
        if method is not None:
            await ctx.http.request(method, "/")
        await asyncio.Event().wait()

    monkeypatch.setattr("areabox.services.calls.GRACE_S", 0.0)
    demo.does = does
    with pytest.raises(kind, match="no end within"):
        await react(services, effect, connection, timeout_s=0.2)


async def test_secrets_stay_out_of_results_and_errors(
    services: Services, demo: Demo, connection: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def does(ctx: Context, text: str) -> Any:
        return (await ctx.http.get("/echo")).json()

    demo.does = does
    server.answer = lambda request: reply(200, {"headers": [request.headers["authorization"]]})
    assert await react(services, "once", connection) == {"headers": ["Bearer ***"]}
    server.answer = lambda request: reply(400, request.headers["authorization"].encode())
    with pytest.raises(Permanent) as failed:
        await react(services, "once", connection)
    assert CANARY not in str(failed.value)
    assert CANARY not in caplog.text


async def test_a_refused_connection_is_dead_and_is_not_tried_again(
    services: Services, demo: Demo, connections: Connections, connection: str, server: Server
) -> None:
    async def does(ctx: Context, text: str) -> None:
        await ctx.http.post("/")

    demo.does, server.answer = does, reply(401)
    for _ in range(2):
        with pytest.raises(AuthExpired):
            await react(services, "once", connection)
    assert len(server.requests) == 1
    assert (await connections.get("ann", "demo")).state == "dead"
    await connections.update("ann", "demo", values={"token": "new-5ecret"})
    server.answer = reply(200)
    await react(services, "once", connection)
    assert server.requests[-1].headers["authorization"] == "Bearer new-5ecret"


async def test_nobody_uses_a_connection_of_another_owner_or_service(
    services: Services, demo: Demo, connection: str, catalogue: Catalogue
) -> None:
    with pytest.raises(Permanent, match="no connection to demo of the area's owner"):
        await react(services, "once", connection, owner="bob")
    with pytest.raises(Permanent, match="no connection to http"):
        await services.react(
            "http.request", {"url": "https://example.org"}, owner="ann", connection=connection, key="k", attempt=1,
            timeout_s=30,
        )  # fmt: skip


async def test_a_poll_yields_events_and_changes_its_cursor(services: Services, demo: Demo, connection: str) -> None:
    async def does(ctx: Context, feed: str) -> AsyncIterator[Said]:
        ctx.cursor["seen"] = ctx.cursor.get("seen", 0) + 1
        yield Said(id="1", text=feed)
        yield Said(id="2", text=CANARY)

    demo.does = does
    cursor: dict[str, Any] = {"seen": 1}
    assert await poll(services, connection, cursor) == [{"id": "1", "text": "f"}, {"id": "2", "text": "***"}]
    assert cursor == {"seen": 2}


@pytest.mark.parametrize(("raised", "kind"), [(Transient("later"), Transient), (ValueError("x"), ConnectorBug)])
async def test_what_a_poll_yielded_before_it_failed_has_come(
    services: Services, demo: Demo, raised: Exception, kind: type[Exception]
) -> None:
    async def does(ctx: Context, feed: str) -> AsyncIterator[Said]:
        yield Said(id="1", text="a")
        raise raised

    demo.does = does
    events = services.poll("demo.said", {}, owner="ann", connection=None, cursor={})
    assert (await anext(events))["id"] == "1"
    with pytest.raises(kind):
        await anext(events)


async def test_a_stream_that_nobody_reads_any_more_is_closed(services: Services, demo: Demo) -> None:
    closed = asyncio.Event()

    async def does(ctx: Context, feed: str) -> AsyncIterator[Said]:
        try:
            while True:
                yield Said(text="a")
        finally:
            closed.set()

    demo.does = does
    stream = services.listen("demo.said", {}, owner="ann", connection=None, cursor={})
    assert await anext(stream) == {"id": "", "text": "a"}
    await stream.aclose()  # type: ignore[attr-defined]
    assert closed.is_set()


async def test_a_delivery_is_verified_before_it_is_looked_at(services: Services, demo: Demo) -> None:
    plain = Delivery(json={"texts": ["a", "b"]})
    assert services.delivery("demo.told", {}, plain, None) == [{"id": "", "text": "a"}, {"id": "", "text": "b"}]
    with pytest.raises(NotAllowedError, match="signature"):
        services.delivery("demo.told", {"signed": True}, Delivery(json=None, body=b"x"), "secret")
    with pytest.raises(ConnectorBug):
        services.delivery("demo.told", {}, Delivery(json=None), None)


async def test_a_handshake_is_answered_and_other_deliveries_are_none(services: Services, demo: Demo) -> None:
    assert services.handshake("demo.told", Delivery(query={"challenge": "abc"})) == "abc"
    assert services.handshake("demo.told", Delivery()) is None
    assert services.handshake("demo.said", Delivery()) is None


async def test_what_is_polled_may_be_pushed_too(services: Services, demo: Demo) -> None:
    async def subscribe(ctx: Context) -> int:
        return 1

    action = demo.connector.actions["said"]
    hook = demo.connector.webhook(verify=shared_token("X-Token"), delivery_id="X-Delivery")(subscribe)

    @action.webhook(hook, "said")
    def parse(delivery: Delivery, feed: str) -> Iterator[Said]:
        yield Said(id=delivery.json["id"], text=feed)

    delivery = Delivery(headers={"x-token": "secret"}, json={"id": "7"})
    assert services.delivery("demo.said", {"feed": "f"}, delivery, "secret") == [{"id": "7", "text": "f"}]
    with pytest.raises(NotAllowedError):
        services.delivery("demo.said", {"feed": "f"}, delivery, "other")


async def test_pushes_are_asked_for_and_ended_again(
    services: Services, demo: Demo, connection: str, server: Server
) -> None:
    async def subscribe(ctx: Context, feed: str) -> Any:
        told = {"url": ctx.url, "secret": ctx.secret, "events": ctx.events, "feed": feed}
        return (await ctx.http.post("/hooks", json=told)).json()["id"]

    async def end(ctx: Context, feed: str) -> None:
        await ctx.http.delete(f"/hooks/{ctx.state}", ok=(404,))

    hook = demo.connector.webhook(verify=shared_token("X-Token"))(subscribe)
    options: dict[str, Any] = {"owner": "ann", "connection": connection}
    with pytest.raises(Permanent, match="is not delivered by its service"):
        await services.subscribe("demo.said", {"feed": "f"}, url="u", secret="s", **options)
    demo.connector.actions["said"].webhook(hook, "said", "sung")(lambda delivery, feed: iter(()))
    server.answer = reply(201, {"id": 99})
    state = await services.subscribe("demo.said", {"feed": "f"}, url="https://box/hooks/1", secret="s", **options)
    assert state == 99
    assert server.requests[0].json == {
        "url": "https://box/hooks/1", "secret": "s", "events": ["said", "sung"], "feed": "f",
    }  # fmt: skip
    await services.unsubscribe("demo.said", {"feed": "f"}, state=state, **options)
    hook.unsubscribe(end)
    server.answer = reply(404)
    await services.unsubscribe("demo.said", {"feed": "f"}, state=state, **options)
    assert [(request.method, request.path) for request in server.requests[1:]] == [("DELETE", "/hooks/99")]


async def test_a_service_is_not_asked_more_often_than_its_connector_says(
    services: Services, demo: Demo, connection: str, server: Server, clock: FakeClock
) -> None:
    async def does(ctx: Context, text: str) -> None:
        await ctx.http.get("/")

    demo.connector.limits, demo.does = Limits("2/m", concurrency=1), does
    await asyncio.gather(*(react(services, "once", connection) for _ in range(2)))
    with pytest.raises(RateLimited, match="asked 2 times in 60 s at most") as limited:
        await react(services, "once", connection)
    assert limited.value.retry_after_s == 30
    clock.advance(30_000)
    await react(services, "once", connection)
    assert len(server.requests) == 3


async def test_a_connector_that_is_dropped_in_is_loaded_at_the_next_tick(
    services: Services, catalogue: Catalogue, tmp_path: Path
) -> None:
    catalogue._folder = tmp_path
    (tmp_path / "lamp.py").write_text(
        'from areabox.sdk import Connector\nlamp = Connector("lamp", "Lamp")\n'
        '@lamp.reaction("Switch on", sentence="on")\nasync def on(ctx) -> str:\n    "Switch it on."\n    return "on"\n'
    )
    assert await services.tick() == 2.0
    assert await services.react("lamp.on", {}, owner="a", connection=None, key="k", attempt=1, timeout_s=30) == "on"


async def test_a_connection_is_tested_by_its_connector(
    services: Services, connections: Connections, connection: str, server: Server
) -> None:
    server.answer = reply(200, {"name": "ann@example.org"})
    assert (await connections.test("ann", "demo")).account == "ann@example.org"
    server.answer = reply(401)
    assert (await connections.test("ann", "demo")).state == "dead"


async def test_a_field_gets_its_choices_from_the_service(
    services: Services, demo: Demo, connection: str, server: Server
) -> None:
    server.answer = reply(200, ["lamp", "clock", "lock"])
    found = await services.options("reaction", "demo.once", "room", {"room": "hall"}, owner="ann",
                                   connection=connection, q="lo")  # fmt: skip
    assert [option.value for option in found] == ["clock", "lock"]
    assert server.requests[0].path == "/rooms/hall"
    with pytest.raises(InputError, match="has no choices"):
        await services.options("reaction", "demo.once", "text", {}, owner="ann")


async def test_addresses_typed_in_a_trigger_may_be_at_home_if_their_owner_is_trusted(
    services: Services, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[frozenset[str]] = []

    class Egress:
        async def request(self, *_: Any, literal_hosts: frozenset[str], **__: Any) -> Any:
            asked.append(literal_hosts)
            raise Transient("no")

    async def does(ctx: Context, feed: str) -> AsyncIterator[Said]:
        await ctx.http.get(feed)
        yield Said(text="")

    async def trusted(owner: str) -> bool:
        return owner == "ann"

    demo.does = does
    monkeypatch.setattr(services, "_egress", Egress())
    monkeypatch.setattr(services._connections, "trusted", trusted)
    for owner in ("ann", "bob"):
        with pytest.raises(Transient):
            await anext(
                services.poll("demo.said", {"feed": "http://nas.local:5000/a"}, owner=owner, connection=None, cursor={})
            )
    assert asked == [{"nas.local"}, frozenset()]


async def test_only_areaboxs_own_connectors_get_the_house(services: Services, catalogue: Catalogue) -> None:
    def pretender(origin: Any) -> list[Any]:
        found: list[Any] = []
        connector = Connector(f"p_{origin}", "Pretender", builtin=True)

        @connector.reaction("Ask", sentence="ask")
        async def ask(ctx: Context) -> None:
            """Ask."""
            found.append(ctx.host)

        catalogue.add(connector, origin=origin, source=f"test {origin}")
        return found

    hosts = {origin: pretender(origin) for origin in ("builtin", "file", "package")}
    for origin in hosts:
        await services.react(f"p_{origin}.ask", {}, owner="ann", connection=None, key="k", attempt=1, timeout_s=30)
    assert {origin: found[0] is not None for origin, found in hosts.items()} == {
        "builtin": True, "file": False, "package": False,
    }  # fmt: skip


async def test_a_session_is_shared_by_all_calls_of_a_connection(
    services: Services, demo: Demo, connection: str, connections: Connections
) -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def session(auth: Any, ctx: Context) -> AsyncIterator[str]:
        opened.append(auth.token)
        yield f"client {len(opened)}"

    async def does(ctx: Context, text: str) -> Any:
        if text:
            raise Transient(text)
        return ctx.session

    demo.connector.open_session, demo.does = session, does
    assert await asyncio.gather(*(react(services, "once", connection) for _ in range(3))) == ["client 1"] * 3
    with pytest.raises(Transient):
        await react(services, "once", connection, params={"text": "broken pipe"})
    assert await react(services, "once", connection) == "client 2"
    await connections.update("ann", "demo", values={"token": "new-5ecret"})
    assert await react(services, "once", connection) == "client 3"
    assert opened == [CANARY, CANARY, "new-5ecret"]


async def test_the_log_of_a_connector_bears_its_name(
    services: Services, demo: Demo, caplog: pytest.LogCaptureFixture, backend: SqliteBackend
) -> None:
    async def does(ctx: Context, text: str) -> None:
        ctx.log.info("hello")

    demo.does = does
    with caplog.at_level(logging.INFO, "areabox.connectors"):
        await react(services, "once", None)
    assert caplog.record_tuples == [("areabox.connectors.demo", logging.INFO, "hello")]

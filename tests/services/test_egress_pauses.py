"""What hosts ask for: a pause that everybody keeps, and to be left alone when they do not answer."""

from __future__ import annotations

import pytest

from areabox.errors import RateLimited
from areabox.services.limits import HostPaused
from areabox.services.wire import NoAnswer
from tests.services.loopback import Connection, Script, echo, opened, raw, serving


def refusing(status: str, retry_after: str | None) -> Script:
    async def script(connection: Connection) -> None:
        while True:
            await connection.read()
            await connection.answer(b"", status, f"Retry-After: {retry_after}\r\n" if retry_after else "")

    return script


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_host_that_asks_for_a_pause_gets_it_from_everybody(clock, status):
    async with serving(refusing(status, "120")) as server, opened(clock) as egress:
        assert (await egress.request("GET", server.url("/a"))).status_code == int(status[:3])
        with pytest.raises(HostPaused, match="asked for a pause; it is asked again in 120 s") as caught:
            await egress.request("GET", server.url("/b"))
        assert isinstance(caught.value, RateLimited)
        assert caught.value.retry_after_s == 120
        clock.advance(119_000)
        with pytest.raises(HostPaused):
            await egress.request("GET", server.url("/b"))
        clock.advance(2_000)
        await egress.request("GET", server.url("/b"))
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("1000000000", 86_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("1.5", 1.5),
        ("inf", 86_400),
    ],
)
async def test_odd_pauses_are_understood(clock, text, seconds):
    async with serving(refusing("429 No", text)) as server, opened(clock) as egress:
        await egress.request("GET", server.url())
        with pytest.raises(HostPaused) as caught:
            await egress.request("GET", server.url())
        assert caught.value.retry_after_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", [None, "0", "-5", "soon", "nan", "Thu, 01 Jan 1970 00:00:00 GMT", "-1e400", "Mon, 99 Foo 2026"]
)
async def test_what_asks_for_no_pause_gets_none(clock, text):
    async with serving(refusing("429 No", text)) as server, opened(clock) as egress:
        await egress.request("GET", server.url())
        await egress.request("GET", server.url())
        assert len(server.requests) == 2


async def test_a_connector_can_tell_of_a_pause_that_the_host_put_in_its_own_words(clock):
    async with serving(echo) as server, opened(clock) as egress:
        egress.pause(server.url("/anything"), 30)
        with pytest.raises(HostPaused):
            await egress.request("GET", server.url())


async def test_a_pause_is_kept_even_with_all_limits_off(clock):
    async with serving(refusing("429 No", "60")) as server, opened(clock, limits_off=True) as egress:
        await egress.request("GET", server.url())
        with pytest.raises(HostPaused):
            await egress.request("GET", server.url())


async def test_a_host_that_never_answers_is_left_alone_for_a_while(clock):
    async with serving(raw(b"")) as server, opened(clock) as egress:
        for _ in range(5):
            with pytest.raises(NoAnswer):
                await egress.request("GET", server.url())
        with pytest.raises(HostPaused, match="did not answer 5 times in a row"):
            await egress.request("GET", server.url())
        clock.advance(6_000)
        with pytest.raises(NoAnswer):
            await egress.request("GET", server.url())
        assert server.connections == 6

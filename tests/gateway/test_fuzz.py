"""Whatever is sent, areabox answers with a problem and not with a failure of its own."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import httpx2
import pytest

from areabox.gateway.http import routes
from areabox.gateway.routes import Route

NASTY: tuple[Any, ...] = (
    None, True, -1, 2**63, 2**64, 1e308, 0.1, "", "\x00", "\ud800", "ä" * 300, "x" * 70_000, "../../etc/passwd",
    "{{ 7 * 7 }}", "' or 1=1 --", [], {}, [[]], {"": ""}, ["all"], {"a": {"b": None}}, "https://example.org", "30d",
)  # fmt: skip
SEGMENTS = (
    "x",
    "%00",
    "%ff",
    "..",
    "%2e%2e%2f",
    "a%20b",
    "ä",
    "'%20or%201=1",
    "~",
    "0" * 26,
    "9" * 400,
    "-1",
    "1e3",
    "%F0%9F%8E%89",
)
QUERIES = (
    "limit=-1", "limit=0", "limit=99999999999999999999", "limit=1e9", "limit=", "after=%00", "after=%ff", "after=~", "q=%25",
    "state=nothing", "area=%00", "wait=-1", "wait=nan", "wait=inf", "wait=1e400", "wait=99999", "user=%00", "action=%ff", "topics=,,",
    "&".join(f"a{n}=1" for n in range(100)), "%", "a=%zz", "ignored=maybe", "unseen=1", "limit=2&limit=3",
)  # fmt: skip
FUZZED = [route for route in routes() if route.path != "/api/v1/stream"]


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_that_is_sent_makes_it_fail(seed: int, owner: httpx2.AsyncClient, hello: Any) -> None:
    random = Random(seed)
    for route in FUZZED:
        for _ in range(12):
            await attempt(owner, route, random)


async def attempt(client: httpx2.AsyncClient, route: Route, random: Random) -> None:
    path = re.sub(r"{\w+}", lambda _: random.choice((*SEGMENTS, "hello", "s1")), route.path)
    body: dict[str, Any] = {"content": b""}
    if route.method != "GET":
        fields = ("name", "text", "email", "role", "password", "scopes", "expires", "trigger", "from", "as", "choice", "service",
                  "values", "documents", "action", "payload", "area", "when", "then", "disabled", "current")  # fmt: skip
        value: Any = {random.choice(fields): random.choice(NASTY) for _ in range(random.randrange(6))}
        value = random.choice((value, value, value, random.choice(NASTY)))
        body = {"content": encoded(value)}
    answer = await client.request(
        route.method,
        f"{path}?{random.choice(QUERIES)}",
        headers={"Content-Type": random.choice(list(route.accepts))},
        **body,
    )
    # a connector that cannot be reached, and a disk without room, are not failures of ours
    assert answer.status_code < 500, (route.method, answer.url, body, answer.text)
    if answer.status_code >= 400 and not route.page:
        assert answer.headers["content-type"] == "application/problem+json", (answer.url, answer.text)


def encoded(value: Any) -> bytes:
    import json

    return json.dumps(value).encode("utf-8", "surrogatepass")

"""Every connector keeps the contract: areabox's own, and one that is dropped into a data directory."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from areabox.sdk import Connector, Context, Event, Field, Fields, Key, Secret, Url
from areabox.services import kit
from areabox.services.catalogue import Catalogue
from tests.support import FakeClock

ROOT = Path(__file__).parent.parent.parent
OWN = [service.connector for service in Catalogue.discover().services()]
DOCUMENTED = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "connectors.md").read_text(), re.DOTALL)


async def details(connector: Connector) -> dict[str, str]:
    return {problem.pointer: problem.detail for problem in await kit.examine(connector, FakeClock())}


@pytest.mark.parametrize("connector", OWN, ids=lambda connector: connector.id)
async def test_an_own_connector_keeps_the_contract(connector: Connector) -> None:
    assert await details(connector) == {}


async def test_the_example_of_the_documentation_is_dropped_in_and_keeps_it_too(tmp_path: Path) -> None:
    folder = tmp_path / "connectors"
    folder.mkdir()
    for number, text in enumerate(text for text in DOCUMENTED if "= Connector(" in text):
        (folder / f"example_{number}.py").write_text(text)
    catalogue = Catalogue.discover(tmp_path)
    assert catalogue.errors() == []
    dropped = [service for service in catalogue.services() if service.origin == "file"]
    assert "wled" in {service.id for service in dropped}
    for service in dropped:
        assert await details(service.connector) == {}


def test_the_check_runs_by_itself_too() -> None:
    assert kit.check(OWN[0]) == []


def test_discovering_connectors_loads_no_heavy_library() -> None:
    program = (
        "import sys; from areabox.services.catalogue import Catalogue; assert not Catalogue.discover().errors(); "
        "print([m for m in ('feedparser', 'paho', 'imap_tools', 'aiosmtplib', 'litestar', 'apscheduler', 'sqlite_utils', 'nh3', 'jinja2', 'selectolax', 'watchfiles') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "[]\n"


class Thing(Event):
    name: str


def connector(**options: Any) -> Connector:
    return Connector("bad", "Bad one", **({"about": "It breaks rules."} | options))


async def test_words_are_checked() -> None:
    bad = Connector("bad", "B", auth=Fields(url=Url, api_key=str))

    @bad.reaction("Do it", sentence="do {what}")
    async def do(ctx: Context, password: str = "") -> dict[str, Any]:
        """Do."""
        return {}

    assert await details(bad) == {
        "/about": "say in a few words what the service is",
        "/name": "a name has 3 to 60 characters",
        "/test": "there is no @connector.test, so a connection cannot be tried out",
        "/auth/fields/api_key": "it looks like a secret and is not marked as one",
        "/reactions/do": "the sentence names what, which is no field",
        "/reactions/do/password": "it looks like a secret and is not marked as one",
        "/reactions/do/sample": "a reaction that gives something has a sample of it",
    }


async def test_what_cannot_even_be_declared_is_told() -> None:
    bad = connector()

    @bad.reaction("Do it", sentence="do")
    async def do(ctx: Context, *args: str) -> None:
        """Do."""

    assert await details(bad) == {"": "args: a form has no place for any number of values"}


async def test_samples_are_checked() -> None:
    bad = connector()

    @bad.action("Untyped", sentence="it happens", poll="5m", sample={"id": "1"})
    async def untyped(ctx: Context) -> AsyncIterator[dict[str, str]]:
        """Fires."""
        yield {}

    @bad.action("Nameless", sentence="it happens", poll="5m", sample=Thing(name="x"))
    async def nameless(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        yield Thing(name="")

    assert await details(bad) == {
        "/actions/untyped/sample": "an action yields a subclass of Event, and its sample is one",
        "/actions/nameless/sample": "what is polled has an id, by which it is known",
    }


async def test_a_pattern_needs_an_example() -> None:
    bad = connector()

    @bad.reaction("Do it", sentence="do {repo}")
    async def do(ctx: Context, repo: Annotated[str, Field("Repo", pattern=r"^\w+/\w+$")]) -> None:
        """Do."""

    found = await details(bad)
    assert found["/reactions/do"].endswith("give Field(example=…)")


async def test_errors_that_are_swallowed_or_turned_are_found() -> None:
    bad = connector(base="https://example.org")

    @bad.reaction("Swallow", sentence="do")
    async def swallow(ctx: Context) -> None:
        """Do."""
        await ctx.http.post("/", ok="all")

    @bad.reaction("Turn", sentence="do")
    async def turn(ctx: Context) -> None:
        """Do."""
        try:
            await ctx.http.post("/")
        except Exception as error:
            raise RuntimeError("oh") from error

    found = [(p.pointer, p.detail) for p in await kit.examine(bad, FakeClock())]
    assert ("/reactions/swallow", "500: no error came of it") in found
    assert ("/reactions/turn", "500: it raised RuntimeError: oh") in found


async def test_a_page_instead_of_json_must_not_be_a_bug() -> None:
    bad = connector(base="https://example.org")

    @bad.action("Thing", sentence="it happens", poll="5m", sample=Thing(id="1", name="x"))
    async def thing(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        answer = await ctx.http.get("/")
        yield Thing(id="1", name=answer.text.split("<name>")[1])

    assert "HTML instead of JSON: it raised IndexError" in "".join((await details(bad)).values())


async def test_a_keyed_effect_sends_its_key() -> None:
    bad = connector(base="https://example.org")

    @bad.reaction("Do it", sentence="do", effect="keyed")
    async def do(ctx: Context) -> None:
        """Do."""
        await ctx.http.post("/")

    assert (await details(bad))["/reactions/do"] == "it is declared keyed, and never sends ctx.key"


async def test_secrets_that_go_astray_are_found() -> None:
    bad = connector(base="https://api.example.org", auth=Key())

    @bad.test
    async def who(ctx: Context) -> str:
        return ""

    @bad.reaction("Send away", sentence="do")
    async def send(ctx: Context) -> None:
        """Do."""
        await ctx.http.post("https://elsewhere.example.org/", json={"k": ctx.auth.key})

    @bad.reaction("Log", sentence="do")
    async def tell(ctx: Context) -> None:
        """Do."""
        ctx.log.warning("using %s", ctx.auth.key)
        await ctx.http.post("/")

    found = {(p.pointer, p.detail.partition(": ")[2]) for p in await kit.examine(bad, FakeClock())}
    away = "a secret is sent to https://elsewhere.example.org/, which is none of the service's hosts"
    assert ("/reactions/send", away) in found
    assert ("/reactions/tell", "the log holds a secret") in found


async def test_a_good_connector_with_every_sort_of_field_has_no_problems() -> None:
    good = connector(base=lambda auth: auth.url, auth=Fields(url=Url, token=Annotated[Secret, Field()], bearer="token"))

    @good.test
    async def who(ctx: Context) -> str:
        return str((await ctx.http.get("/me")).json()["name"])

    @good.reaction("Do it", sentence="do {a}", effect="idempotent", sample={"ok": True})
    async def do(
        ctx: Context, a: str, n: Annotated[int, Field(ge=5)] = 5, *, x: float | None = None, on: bool = False,
        many: list[str] | None = None, more: dict[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Do."""
        await ctx.http.put("/", json={"a": a})
        return {"ok": True}

    assert await details(good) == {}

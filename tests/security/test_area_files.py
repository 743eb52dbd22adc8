"""G24: an area file from a stranger does nothing before its owner switches it on, and never uses what belongs to others."""

from __future__ import annotations

import copy
import sys
from random import Random
from typing import Any

import pytest
import yaml

from areabox.app import App
from areabox.errors import AreaboxError
from areabox.users.accounts import Account
from areabox.users.policy import Actor
from tests.security.figures import amount, figure

MUTANTS = amount(150, 5_000)
VICTIM_SECRET = "the victim's own key"

BASE: list[dict[str, Any]] = [
    {"area": "feed", "name": "Feed", "when": [{"rss.new_entry": {"feed": "http://127.0.0.1:9/feed"}, "every": "1m"}],
     "then": [{"http.request": {"url": "http://127.0.0.1:9/{{ trigger.title }}", "json": "{{ trigger }}"}, "connection": "victims"},
              {"store.set": {"key": "k", "value": "{{ steps.s1 }}"}}]},
    {"area": "clock", "name": "Clock", "when": [{"schedule.every": {"every": "1s"}}, {"schedule.cron": {"cron": "* * * * *"}}],
     "then": [{"each": "[1, 2]", "then": [{"notify.user": {"title": "{{ item }}"}}]}, {"call": "feed", "with": {"a": 1}}]},
    {"area": "hook", "name": "Hook", "when": [{"webhook.received": {"verify": "hmac", "secret": "s3cret-s3cret"}}],
     "then": [{"if": "trigger.json.a == 1", "then": [{"http.request": {"url": "{{ trigger.json.url }}"}}], "else": [{"stop": "skipped"}]},
              {"wait": "1h"}, {"return": "{{ trigger }}"}]},
    {"area": "loop", "name": "Loop", "when": [{"area.ended": {"area": "loop"}}], "then": [{"call": "loop"}]},
]  # fmt: skip
_PIECES: list[Any] = [
    None, True, -1, 10**30, "", "{{ 7*7 }}", "{{ ''.__class__.__mro__ }}", "{% for i in range(99999) %}x{% endfor %}", "file:///etc/passwd",
    "http://169.254.169.254/latest", "../../etc/passwd", "victims", "; rm -rf /", "!!python/object/apply:os.system [id]", ["x"] * 50, {"$sealed": "AAAA"}, "***",
    {"store.set": {"key": "owned", "value": 1}}, {"connection": "victims"}, "1s", "0s", {"http.request": {"url": "http://127.0.0.1:9/"}}, "a" * 70_000, {"a": {"b": {"c": []}}},
]  # fmt: skip
_KEYS = ["connection", "enabled", "owner", "id", "version", "then", "when", "every", "key", "mode", "$ref", "<<", "__proto__", "call", "http.request", "lan", "subscriptions"]


def mutant(number: int, victim: str) -> dict[str, Any]:
    """Return a document with one to four places changed to something hostile; `victim` is an id of somebody else's."""
    random = Random(number)
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(random.choice(BASE)))
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        places = list(_places(document))
        holder, key = random.choice(places)
        kind = random.choice([0, 1, 2, 3, 3, 3, 4])
        piece = copy.deepcopy(random.choice([*_PIECES, victim]))
        if kind == 0 and isinstance(holder, dict):
            holder[random.choice(_KEYS)] = piece
        elif kind == 1:
            other, name = random.choice(places)
            holder[key] = yaml.safe_load(yaml.safe_dump(other[name]))
        elif kind == 2 and isinstance(holder, dict) and len(holder) > 1:
            del holder[key]
        elif kind == 3 and isinstance(holder[key], str):
            holder[key] = holder[key][: random.randrange(len(holder[key]) + 1)] + str(piece)[:200]
        else:
            holder[key] = piece
    return document


def _places(value: Any) -> Any:
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    for key, inner in items:
        yield value, key
        yield from _places(inner)


class Witness:
    """Counts what the process tries to do meanwhile: connections, programs, files that are opened outside."""

    def __init__(self) -> None:
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self.hear)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event in ("socket.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.getaddrinfo", "compile", "exec", "import"):
            if event in ("compile", "exec", "import"):
                return  # libraries are loaded at their first use
            self.seen.append(f"{event} {args!r}"[:200])


async def counts(app: App) -> dict[str, int]:
    """Return what there is of everything that an effect would leave behind."""
    tables = ("run", "event", "job", "step", "stored", "effect", "notice", "seen", "slot", "collected", "once")
    found = {table: int((await app.backend.read(_COUNT[table]))[0][0]) for table in tables}
    found["active"] = int((await app.backend.read("select count(*) from subscription where active = 1"))[0][0])
    return found


_COUNT = {
    table: f"select count(*) from {table}"
    for table in ("run", "event", "job", "step", "stored", "effect", "notice", "seen", "slot", "collected", "once")
}


@pytest.fixture
async def victims(app: App, accounts: dict[str, Account]) -> str:
    """Return the id of a connection that the owner has, and nobody else."""
    values = {"site": "http://127.0.0.1:9", "key": VICTIM_SECRET}
    made = await app.connections.create(accounts["owner"].id, "http", values, name="victims", auth="token")
    return made.id


async def test_a_strangers_file_does_nothing_before_it_is_switched_on(running: App, accounts: dict[str, Account], victims: str) -> None:
    editor = accounts["editor"]
    actor = Actor(editor.id, editor.email, "editor")
    witness, before = Witness(), await counts(running)
    witness.on, stored, refused = True, 0, 0
    for number in range(MUTANTS):
        document = {**mutant(number, victims), "enabled": False}
        text = yaml.safe_dump(document, allow_unicode=True)
        for plan in (True, False):
            try:
                await running.areas.apply(actor, [("mutant.yaml", text)], plan=plan)
            except AreaboxError:
                refused += not plan
            else:
                stored += not plan
    witness.on = False
    foreign = await running.backend.read("select count(*) from subscription where connection is not null")
    figure("G24", f"{MUTANTS:,} mutants ({stored:,} taken, {refused:,} refused): {len(witness.seen)} effects, {foreign[0][0]} foreign connections")
    assert await counts(running) == before
    assert witness.seen == []
    assert foreign[0][0] == 0
    assert stored > MUTANTS * 0.03
    assert refused > MUTANTS * 0.1


@pytest.mark.parametrize("named", ["by name", "by id"])
async def test_a_run_does_not_find_the_connection_of_another(named: str, running: App, accounts: dict[str, Account], victims: str, monkeypatch: Any) -> None:
    """Even when it is switched on and runs: the connection is looked for among the owner's own."""
    opened: list[str] = []
    genuine = running.connections.account

    async def account(id: str) -> Any:
        opened.append(id)
        return await genuine(id)

    monkeypatch.setattr(running.connections, "account", account)
    editor = accounts["editor"]
    actor = Actor(editor.id, editor.email, "editor")
    name = "victims" if named == "by name" else victims
    document = {"area": "thief", "name": "Thief", "when": [{"area.called": {}}],
                "then": [{"http.request": {"url": "http://127.0.0.1:9/", "method": "GET"}, "connection": name, "retry": {"attempts": 1}}]}  # fmt: skip
    await running.areas.put(actor, None, document)
    run = await running.runs.start(actor, "thief", {}, dry=False)
    await running.runs.wait(run, 5)
    found = await running.runs.get(actor, run)
    assert found["state"] == "failed"
    assert "no connection" in str(found["steps"][0]["error"])
    assert opened == []

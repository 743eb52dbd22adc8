"""G19: a secret that went in comes out nowhere: not in answers, history, logs, exports, metrics, nor in a file on the disk."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import logging
import re
import sqlite3
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from areabox.app import App, open_app
from areabox.clock import SystemClock
from areabox.deployment import copies
from areabox.deployment.settings import Settings, load
from areabox.gateway.http import routes
from areabox.monitoring import logs
from areabox.users.policy import Actor
from tests.security.canaries import Gossip, canary, hits, install, shapes
from tests.security.figures import figure

KINDS = ("bearer", "password", "header", "leaky", "hook-token", "hook-hmac", "hook-leaky", "step", "login", "wrong")
STATUSES = (200, 307, 400, 403, 404, 422, 401)  # the last one ends the connection, and its run is held
OWNER = "owner@example.org"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load({"data_dir": str(tmp_path / "data"), "egress_allow": "127.0.0.0/8", "rate_limits": "off"}, {})
    made.data_dir.mkdir(mode=0o700)
    install(made.data_dir)
    return made


@pytest.fixture
async def gossip() -> AsyncIterator[Gossip]:
    made = Gossip()
    await made.open()
    yield made
    made.close()


class House:
    """A running areabox, everything that it says on any way, and the secrets that it was told."""

    def __init__(self, app: App, log: io.StringIO) -> None:
        self.app, self.log = app, log
        self.secrets = {kind: canary(kind) for kind in KINDS}
        self.said: list[tuple[str, str]] = []
        self.told: list[str] = []  # the live stream
        transport = httpx2.ASGITransport(app=app.asgi, client=("198.51.100.7", 4711), raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(base_url="http://localhost", transport=transport)

    async def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        answer = await self.client.request(method, path, **more)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items() if name != "set-cookie")
        self.said.append((f"{method} {path} → {answer.status_code}", f"{head}\n{answer.text}"))
        return answer

    async def listen(self, actor: Actor) -> None:
        async for piece in self.app.asgi.live.watch(actor, frozenset(), ""):  # type: ignore[attr-defined]
            self.told.append(piece.decode())


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    root, log = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    async with open_app(settings, role="cli", clock=SystemClock()) as app:
        logs.setup(level="debug", scrub=app.connections.scrubber.text, stream=log)
        await app.start()
        made = House(app, log)
        yield made
        await made.client.aclose()
        await app.asgi.drain()  # type: ignore[attr-defined]
    root.handlers[:], root.level = before
    root.setLevel(before[1])


async def enter(house: House) -> None:
    """Set the house up by its one-time token, log in, make an API token: each is a secret from now on."""
    secrets = house.secrets
    secrets["setup"] = await house.app.setup_token() or ""
    fields = {"email": OWNER, "password": secrets["login"]}
    assert (await house.ask("POST", "/setup", data={"token": "wrong", **fields})).status_code == 422
    assert (await house.client.post("/setup", data={"token": secrets["setup"], **fields})).status_code == 303
    house.client.cookies.clear()
    await house.ask("POST", "/login", data={"email": OWNER, "password": secrets["wrong"]})
    entered = await house.client.post("/login", data=fields)
    secrets["session"] = re.split("[=;]", entered.headers["set-cookie"])[1]
    house.client.cookies.clear()
    account = await house.app.accounts.get(OWNER)
    _, first = await house.app.tokens.create(account.id, OWNER, "first", ["all"])
    house.client.headers["Authorization"] = f"Bearer {first}"
    made = await house.client.post("/api/v1/tokens", json={"name": "second"}, headers={"Idempotency-Key": "make-it-once"})
    again = await house.client.post("/api/v1/tokens", json={"name": "second"}, headers={"Idempotency-Key": "make-it-once"})
    secrets["token"], secrets["made token"] = first, made.json()["token"]
    assert secrets["made token"] not in again.text
    await house.ask("GET", "/api/v1/me", headers={"Authorization": f"Bearer {first[:-1]}x"})
    await house.ask("GET", f"/api/v1/runs?token={first}")


async def connect(house: House, gossip: Gossip) -> None:
    secrets, url = house.secrets, gossip.url
    for name, service, auth, values in (
        ("bearer", "http", "token", {"site": url, "key": secrets["bearer"]}),
        ("basic", "http", "basic", {"site": url, "username": "ann", "password": secrets["password"]}),
        ("header", "http", "header", {"site": url, "header": "X-Canary", "value": secrets["header"]}),
        ("leaky", "leaky", None, {"url": url, "token": secrets["leaky"]}),
    ):
        body = {"service": service, "name": name, "auth": auth, "values": values}
        made = await house.ask("POST", "/api/v1/connections", json=body)
        assert made.status_code == 201, made.text
        await house.ask("POST", f"/api/v1/connections/{name}/test")
        await house.ask("PATCH", f"/api/v1/connections/{name}", json={"name": name})
        bad = {**body, "name": "bad", "values": {**values, "nonsense": 1, "site": "ftp://x", "url": 5}}
        assert (await house.ask("POST", "/api/v1/connections", json=bad)).status_code == 422
    await house.ask("GET", "/api/v1/services/leaky/reactions/leaky.do/options/pick?connection=leaky")


def area(slug: str, when: dict[str, Any], *then: dict[str, Any]) -> dict[str, Any]:
    return {"area": slug, "name": slug, "when": [when], "then": list(then)}


async def act(house: House) -> None:
    """Let every connection be used, well and badly, by runs, polls and deliveries."""
    secrets = house.secrets
    for name in ("bearer", "basic", "header"):
        for status in STATUSES:
            step = {"http.request": {"url": f"{house.url}/{status}/{name}", "method": "GET"}, "connection": name}  # type: ignore[attr-defined]
            await put(house, area(f"{name}-{status}", {"area.called": {}}, step, {"return": "{{ steps.s1 }}"}))
            await house.ask("POST", f"/api/v1/areas/{name}-{status}/runs?wait={0.2 if status == 401 else 5}", json={})
    for how in ("200", "crash", "400", "500", "401"):
        step = {"leaky.do": {"how": how, "own": secrets["step"]}, "connection": "leaky"}
        await put(house, area(f"leaky-{how}", {"area.called": {}}, step, {"store.set": {"key": "told", "value": "{{ steps.s1 }}"}}))
        await house.ask("POST", f"/api/v1/areas/leaky-{how}/runs?wait={0.2 if how in ('401', '500') else 5}", json={})
        await house.ask("POST", "/api/v1/connections/leaky/test")
    for how in ("200", "201", "404"):
        await put(house, area(f"said-{how}", {"leaky.said": {"how": how}, "connection": "leaky"}, {"notify.user": {"title": "{{ trigger.text }}"}}))
    await deliver(house)


async def put(house: House, document: dict[str, Any]) -> dict[str, Any]:
    answer = await house.ask("PUT", f"/api/v1/areas/{document['area']}", json=document)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def deliver(house: House) -> None:
    secrets, body = house.secrets, b'{"n": 1}'
    for kind, params, headers in (
        ("hook-token", {"webhook.received": {"verify": "token"}}, {"Authorization": f"Bearer {secrets['hook-token']}"}),
        ("hook-hmac", {"webhook.received": {"verify": "hmac"}}, {"X-Hub-Signature-256": "sha256=" + _sign(secrets["hook-hmac"], body)}),
        ("hook-leaky", {"leaky.told": {}}, {"X-Sign": _sign(secrets["hook-leaky"], body)}),
    ):  # fmt: skip
        ((action, more),) = params.items()
        trigger: dict[str, Any] = {action: {**more, "secret": secrets[kind]}}
        if action == "leaky.told":
            trigger["connection"] = "leaky"
        document = area(kind, trigger, {"return": "{{ trigger }}"})
        found = await put(house, document)
        url = str(found["subscriptions"][0]["url"])
        path = url[url.index("/hooks/") :]
        assert (await house.ask("POST", path, content=body, headers=headers)).status_code == 202
        await house.ask("POST", path, content=body, headers={"Authorization": f"Bearer {secrets['wrong']}"})
        for cookie in ("areabox", "__Host-areabox"):  # a person's browser sends it along
            await house.ask("POST", path, content=body, headers={**headers, "Cookie": f"a=b; {cookie}={secrets['session']}; c=d"})
        if kind == "hook-leaky":
            await house.ask("POST", path, content=b'"crash"', headers={"X-Sign": _sign(secrets[kind], b'"crash"')})
        wrong = {**document, "area": "wrong", "then": [{"nonsense.do": {"key": 1}}]}
        assert (await house.ask("POST", "/api/v1/areas", json=wrong)).status_code == 422
        await house.ask("PATCH", f"/api/v1/areas/{kind}", json={"name": "renamed"})
        text = _yaml(document | {"name": "again"})
        for plan in (True, False):
            await house.ask("POST", "/api/v1/apply", json={"documents": [{"name": "a.yaml", "text": text}], "plan": plan})


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(document, allow_unicode=True))


def _sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def settle(house: House) -> None:
    """Wait until the polls have come twice: the first only looks."""
    for _ in range(2):
        house.app.actions.poller.changed()
        await asyncio.sleep(0.3)
        await house.app.actions.poller.settle()
    for _ in range(100):
        if not await house.app.backend.read("select 1 from job where state = 'ready' or begun is not null limit 1"):
            return
        await asyncio.sleep(0.05)


async def read_everything(house: House) -> None:
    """Ask for every address there is, with the ids that there are."""
    ids: dict[str, list[str]] = {"{area}": [], "{number}": ["1", "2"], "{id}": ["leaky"]}
    for path in ("runs", "events", "tokens", "notices"):
        after = ""
        for _ in range(10):
            listed = (await house.ask("GET", f"/api/v1/{path}?limit=200{after}")).json()
            ids[path] = [*ids.get(path, []), *(one["id"] for one in listed["items"])]
            if not listed.get("next"):
                break
            after = f"&after={listed['next']}"
    ids["{area}"] = [one["area"] for one in (await house.ask("GET", "/api/v1/areas?limit=200")).json()["items"]]
    for route in routes():
        if route.method != "GET" or route.path in ("/api/v1/stream", "/static/{name}"):
            continue
        values = next((ids[name] for name in ("runs", "events", "tokens", "notices") if f"/{name}/" in route.path), None)
        for value in values or (ids["{area}"] if "{area}" in route.path else ids["{id}"]):
            path = re.sub(r"{(area|id)}", value, route.path)
            for number in ids["{number}"] if "{number}" in path else [""]:
                await house.ask("GET", re.sub(r"{\w+}", number or value, path))
    for slug in ids["{area}"]:
        await house.ask("GET", f"/api/v1/areas/{slug}", headers={"Accept": "application/yaml"})


def on_disk(folder: Path) -> dict[str, bytes]:
    """Return every file but the key, and what is compressed in the database once more as it was."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "areabox.key" and path.suffix != ".py"}
    for path in [*folder.rglob("*.db"), *folder.rglob("*.copy")]:
        with sqlite3.connect(path) as database:
            for number, (data,) in enumerate(database.execute("select data from blob")):
                found[f"{path} blob {number}"] = zlib.decompress(data)
    return found


async def test_no_secret_comes_out_anywhere(house: House, gossip: Gossip, settings: Settings, tmp_path: Path) -> None:
    house.url = gossip.url  # type: ignore[attr-defined]
    await enter(house)
    account = await house.app.accounts.get(OWNER)
    listener = asyncio.create_task(house.listen(Actor(account.id, OWNER, "owner")))
    await connect(house, gossip)
    await act(house)
    await settle(house)
    await read_everything(house)
    house.log.write("")
    listener.cancel()
    key = base64.b64decode((settings.data_dir / "areabox.key").read_text().strip().rpartition(":")[2])
    house.secrets["master key"] = key.hex()
    while_open = on_disk(settings.data_dir)
    await asyncio.to_thread(copies.backup, settings, tmp_path / "plain.copy", passphrase="", overwrite=False)
    await asyncio.to_thread(copies.backup, settings, tmp_path / "key.copy", passphrase=canary("phrase"), overwrite=False)
    house.secrets["phrase"] = canary("phrase")
    # Was there anything to hide? Each secret was used: the server heard it, and the house knows it.
    for kind in ("bearer", "header", "leaky"):
        assert house.secrets[kind] in gossip.heard
    assert len(house.told) > 20
    assert "the connector leaky.do failed" in house.log.getvalue()
    states = {row["state"] for row in await house.app.backend.read("select distinct state from run")}
    assert {"done", "failed"} <= states
    places: dict[str, bytes | str] = {f"answer: {name}": text for name, text in house.said}
    places |= {"log": house.log.getvalue(), "live": "\n".join(house.told)}
    places |= {f"open {name}": data for name, data in while_open.items()} | on_disk(tmp_path)
    leaks = {f"{found} in {place}" for place, data in places.items() for found in hits(data, house.secrets)}
    size = sum(len(data) for data in places.values())
    count = sum(len(every) for secret in house.secrets.values() for every in shapes(secret).values())
    figure("G19", f"{len(house.secrets)} secrets in 5 encodings ({count} texts), {len(places):,} places, {size / 2**20:.1f} MiB: {len(leaks)} hits")
    assert sorted(leaks) == []

"""The pages of the audit log and of areabox itself."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from areabox.app import App
from areabox.users.accounts import Account
from tests.gateway.conftest import Connect
from tests.support import FakeClock


@pytest.fixture
async def browser(app: App, accounts: dict[str, Account], connect: Connect) -> httpx2.AsyncClient:
    value = await app.sessions.start(accounts["owner"])
    return connect(Cookie=f"areabox={value}", Sec_Fetch_Site="same-origin", Accept="text/html")


async def test_the_log_shows_who_changed_what_to_what(browser: httpx2.AsyncClient, owner: httpx2.AsyncClient, connect: Connect, tokens: dict[str, str]) -> None:
    await owner.patch("/api/v1/users/editor@example.org", json={"role": "viewer"})
    await connect(tokens["viewer"]).post("/api/v1/apply", json={"documents": []})
    page = (await browser.get("/admin/audit")).text
    for text in ("user.change", "editor@example.org", "<td>editor</td><td>viewer</td>", "not allowed", "area.apply", "198.51.100.7"):
        assert text in page
    assert "area.apply" not in (await browser.get("/admin/audit?verb=user")).text.partition("Entries")[2]
    assert "Nothing fits this search." in (await browser.get("/admin/audit?actor=nobody@example.org")).text


async def test_the_log_is_checked_and_exported_from_its_page(browser: httpx2.AsyncClient, owner: httpx2.AsyncClient, app: App) -> None:
    from tests.users.test_audit import unguarded

    await owner.patch("/api/v1/users/editor@example.org", json={"role": "viewer"})
    assert "The log is whole: 1 entries" in (await browser.get("/admin/audit?check=yes")).text
    assert "/api/v1/audit/export?verb=user" in (await browser.get("/admin/audit?verb=user")).text
    await unguarded(app.backend, "update audit set actor = 'x' where seq = 1")
    assert "The log was changed: entry 1 was changed" in (await browser.get("/admin/audit?check=yes")).text


async def test_a_long_log_is_followed_page_by_page(browser: httpx2.AsyncClient, app: App) -> None:
    for n in range(60):
        await app.audit.record("a", "b", "test", f"thing-{n}")
    first = (await browser.get("/admin/audit?verb=test")).text
    assert "thing-59" in first
    assert "thing-9<" not in first
    link = first.rpartition('<a href="/admin/audit?')[2].partition('"')[0].replace("&amp;", "&")
    second = (await browser.get(f"/admin/audit?{link}")).text
    assert "thing-9" in second
    assert "Older entries" not in second


async def test_a_wrong_time_is_told_on_the_page(browser: httpx2.AsyncClient) -> None:
    answer = await browser.get("/admin/audit?since=yesterday")
    assert answer.status_code == 200
    assert "since must be a time" in answer.text


async def test_the_system_page_shows_health_settings_listeners_and_limits(browser: httpx2.AsyncClient, running: App) -> None:
    page = (await browser.get("/admin/system")).text
    for text in ("database", "works", "<code>rate_limits</code>", "pages, API and webhooks", "each token", "1200 at once", "10 in 15 min"):
        assert text in page, text


async def test_maintenance_and_pause_are_switched_there_and_recorded(browser: httpx2.AsyncClient, owner: httpx2.AsyncClient, running: App) -> None:
    assert (await browser.post("/admin/system/maintenance", data={"on": "yes", "message": "back at noon"})).headers["location"] == "/admin/system"
    assert "back at noon" in (await browser.get("/admin/system")).text
    refused = await browser.get("/")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "120")
    assert (await browser.post("/admin/system/maintenance", data={"on": "no"})).status_code == 303
    assert (await browser.post("/admin/system/pause", data={"on": "yes"})).status_code == 303
    assert running.paused
    assert "Paused" in (await browser.get("/admin/system")).text
    await browser.post("/admin/system/pause", data={"on": "no"})
    verbs = [entry["verb"] for entry in (await owner.get("/api/v1/audit?verb=system")).json()["items"]]
    assert verbs == ["system.pause", "system.pause", "system.maintenance", "system.maintenance"]


@pytest.mark.parametrize("role", ["editor", "viewer"])
async def test_only_administrators_see_them(role: str, app: App, accounts: dict[str, Account], connect: Connect, clock: FakeClock) -> None:
    value = await app.sessions.start(accounts[role])
    client: Any = connect(Cookie=f"areabox={value}", Sec_Fetch_Site="same-origin", Accept="text/html")
    for path in ("/admin/audit", "/admin/system"):
        assert (await client.get(path)).status_code == 403
    assert (await client.post("/admin/system/pause", data={"on": "yes"})).status_code == 403

"""Pages below a path: whatever they load, link to and post to lies below it, too."""

from __future__ import annotations

import shutil
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.faults.daemon import PASSWORD, Daemon, hook

pytestmark = [pytest.mark.filterwarnings("ignore")]  # of the browser's driver


def test_a_browser_stays_below_the_path(tmp_path: Any) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    daemon = Daemon(tmp_path)
    home = daemon.environ["AREABOX_PUBLIC_URL"] = f"http://127.0.0.1:{daemon.port}/box"
    daemon.own()
    asked: list[str] = []
    bad: list[str] = []
    try:
        daemon.start()
        daemon.apply(hook("hello", {"return": 1}))
        with httpx2.Client(base_url=home) as client:
            answer = client.post("/login", data={"email": "owner@example.org", "password": PASSWORD}, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.headers["location"] == "/box/"
        name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            context = browser.new_context()
            context.add_cookies([{"name": name, "value": value, "url": home}])
            page = context.new_page()
            page.on("request", lambda request: asked.append(urlsplit(request.url).path))
            page.on("response", lambda response: bad.append(response.url) if response.status >= 400 else None)
            page.goto(f"{home}/", wait_until="load")
            page.click("a[href='/box/areas/hello']")
            page.wait_for_url(f"{home}/areas/hello")
            page.click("form[action='/box/areas/hello/disable'] button")
            page.wait_for_load_state("load")
            links = page.evaluate("[...document.querySelectorAll('a[href^=\"/\"],form[action^=\"/\"],link[href^=\"/\"],script[src^=\"/\"]')].map((e) => e.getAttribute('href') || e.getAttribute('action') || e.getAttribute('src'))")
            browser.close()
        assert daemon.rows("select enabled from area where slug = 'hello'") == [(0,)]
        assert [path for path in links if not path.startswith("/box/")] == []
        assert [path for path in asked if not path.startswith("/box/")] == []
        assert bad == []
    finally:
        daemon.kill()

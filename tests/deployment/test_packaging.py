"""What `packaging/` holds for other programs fits them, and says of areabox what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from areabox.deployment.settings import known

PACKAGING = Path(__file__).parent.parent.parent / "packaging"
DOCUMENT = (PACKAGING.parent / "docs" / "gateway.md").read_text(encoding="utf-8")
# What the open-source Kong 3 knows (https://developer.konghq.com/plugins/, /gateway/entities/).
PLUGINS = {"rate-limiting", "request-size-limiting", "request-transformer", "correlation-id", "basic-auth", "ip-restriction"}
SERVICE = {"name", "host", "port", "protocol", "connect_timeout", "write_timeout", "read_timeout", "retries", "routes", "plugins"}
ROUTE = {"name", "paths", "methods", "strip_path", "preserve_host", "request_buffering", "response_buffering", "plugins"}


@pytest.fixture(scope="module")
def kong() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PACKAGING / "kong" / "kong.yml").read_text(encoding="utf-8"))
    return found


def test_kong_knows_all_that_its_file_says(kong: dict[str, Any]) -> None:
    assert kong["_format_version"] == "3.0"
    assert set(kong) <= {"_format_version", "upstreams", "services", "plugins"}
    [service], [upstream] = kong["services"], kong["upstreams"]
    assert set(service) <= SERVICE
    assert service["host"] == upstream["name"]
    for route in service["routes"]:
        assert set(route) <= ROUTE, route["name"]
        assert route["strip_path"] is False
        assert all(path.startswith(("/", "~/")) for path in route["paths"])
    named = [plugin["name"] for plugin in [*kong["plugins"], *(plugin for route in service["routes"] for plugin in route.get("plugins", []))]]
    assert set(named) <= PLUGINS


def test_kong_repeats_nothing_and_waits_for_the_live_page(kong: dict[str, Any]) -> None:
    from areabox.gateway.live import LASTS_S

    [service] = kong["services"]
    assert service["retries"] == 0
    assert service["read_timeout"] > LASTS_S * 1000
    assert kong["upstreams"][0]["healthchecks"]["active"]["http_path"] == "/ready"


def test_deliveries_pass_kong_without_anybodys_name(kong: dict[str, Any]) -> None:
    hooks = next(route for route in kong["services"][0]["routes"] if route["name"] == "hooks")
    assert not any(plugin["name"] == "basic-auth" for plugin in hooks["plugins"])
    transformer = next(plugin for plugin in hooks["plugins"] if plugin["name"] == "request-transformer")
    assert "X-Consumer-Username" in transformer["config"]["remove"]["headers"]


def test_the_document_names_settings_that_exist() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: = |`)", DOCUMENT)) | set(re.findall(r"(?m)^([a-z_]+) = ", DOCUMENT))
    foreign = {"took_ms", "chain", "read_timeout", "response_buffering", "real_ip_header", "real_ip_recursive", "trusted_ips"}
    assert named - foreign <= set(known())


@pytest.mark.parametrize("policy", ["token", "user", "address", "hook"])
def test_the_document_says_the_limits_that_hold(policy: str) -> None:
    from areabox.gateway.limits import POLICIES

    found = POLICIES[policy]
    assert f"| {found.quota:,} | {found.window_s} s |" in DOCUMENT

"""What the doctor finds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx2
import pytest

from areabox.database.migrate import migrate
from areabox.deployment import check
from areabox.deployment.check import FAILED, NOTE, OK, WARNING, Finding, examine, worst
from areabox.deployment.settings import load


@pytest.fixture
def settings(tmp_path: Path):
    data = tmp_path / "data"
    return load({}, {"AREABOX_DATA_DIR": str(data), "XDG_CONFIG_HOME": str(tmp_path / "config")})


@pytest.fixture
def made(settings):
    """A data directory as the first start leaves it."""
    settings.data_dir.mkdir(mode=0o700)
    connection = sqlite3.connect(settings.database_path, isolation_level=None)
    migrate(connection, settings.database_path, 0)
    connection.close()
    key = settings.data_dir / "areabox.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    return settings


async def found(settings) -> dict[str, Finding]:
    return {finding.about: finding async for finding in examine(settings)}


async def test_before_the_first_start_all_is_well(settings):
    findings = await found(settings)
    assert findings["data directory"].state == NOTE
    assert findings["daemon"].state == NOTE
    assert worst(list(findings.values())) in {OK, NOTE, WARNING}


async def test_a_sound_database_is_said_to_be_sound(made):
    findings = await found(made)
    assert findings["database"].state == OK
    assert findings["integrity"].state == OK
    assert findings["key"].state == OK
    assert "schema" not in findings


async def test_a_key_that_others_may_read_is_a_warning_with_advice(made):
    key = made.data_dir / "areabox.key"
    key.chmod(0o644)
    finding = (await found(made))["key"]
    assert (finding.state, finding.advice) == (WARNING, f"chmod 600 {key}")


async def test_a_data_directory_that_others_may_read_is_a_warning(made):
    made.data_dir.chmod(0o755)
    assert (await found(made))["data directory"].state == WARNING


async def test_a_missing_key_is_a_failure(made):
    (made.data_dir / "areabox.key").unlink()
    assert (await found(made))["key"].state == FAILED


async def test_a_damaged_database_is_a_failure_that_names_the_way_out(made):
    path = made.database_path
    content = bytearray(path.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    path.write_bytes(content)
    findings = await found(made)
    broken = findings.get("integrity") or findings["database"]
    assert broken.state == FAILED
    assert "restore" in broken.advice


async def test_a_file_that_is_no_database_is_a_failure(made):
    made.database_path.write_text("hello " * 1000)
    assert (await found(made))["database"].state == FAILED


async def test_a_disk_without_room_is_a_failure(made, monkeypatch):
    monkeypatch.setattr(check, "FREE_FAILED_BYTES", 2**62)
    assert (await found(made))["disk"].state == FAILED


async def test_a_public_address_that_is_not_ours_is_a_warning(tmp_path):
    environ = {
        "AREABOX_DATA_DIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "AREABOX_PUBLIC_URL": "http://127.0.0.1:1",
    }
    finding = (await found(load({}, environ)))["public address"]
    assert finding.state == WARNING
    assert "does not answer" in finding.detail


def test_the_gravest_state_decides():
    assert worst([Finding("a", OK, ""), Finding("b", FAILED, ""), Finding("c", WARNING, "")]) == FAILED
    assert worst([]) == OK


def test_the_state_of_the_database_counts_its_rows(made):
    status = check.database_status(made.database_path)
    assert status["pending"] == []
    assert status["rows"]["run"] == 0
    assert check.pending(made.database_path) == []


@pytest.fixture
async def running(made, monkeypatch):
    """What a daemon on the data directory says, by path; it answers over its socket."""
    says = {"/health": {}, "/ready": {}, "/api/v1/system": {}} | {
        f"/api/v1/{name}": {"items": []} for name in ("areas", "connections")
    }

    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=says[request.url.path])

    monkeypatch.setattr(check, "answers", lambda path: True)
    monkeypatch.setattr(check.httpx2, "AsyncHTTPTransport", lambda uds: httpx2.MockTransport(answer))
    return says


async def test_what_a_running_daemon_knows_is_told(made, running):
    assert (await found(made))["daemon"].state == OK
    running["/api/v1/system"] = {
        "facts": {"paused": True},
        "connector_errors": [{"source": "lamp.py", "message": "SyntaxError"}],
    }
    running["/api/v1/areas"] = {
        "items": [{"area": "news", "subscriptions": [{"action": "rss.new_entry", "error": "404"}, {"action": "a.b"}]}]
    }
    running["/api/v1/connections"] = {"items": [{"name": "home", "state": "dead", "error": "401"}, {"state": "ok"}]}
    findings = await found(made)
    told = {about: finding.detail for about, finding in findings.items() if finding.state == WARNING}
    assert told == {
        "paused": "nothing runs by itself, as after a restore",
        "connector": "lamp.py: SyntaxError",
        "area news": "rss.new_entry: 404",
        "connection home": "401",
    }

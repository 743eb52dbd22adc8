"""The whole of it: the real daemon in a process of its own, the real command line, the exact forms that scripts use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

HELLO = """
area: hello
when:
  - webhook.received: {}
then:
  - store.increment: {key: visitors}
    id: count
  - return: {n: "{{ steps.count.value }}", who: "{{ trigger.json.name }}"}
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run the command line in a process of its own; returns (code, stdout, stderr)."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AREABOX_")}
    environ |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "AREABOX_DATA_DIR": str(tmp_path / "data")}

    def call(*arguments: str, stdin: str = "", **more: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "areabox", *arguments]
        answer = subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=environ | more, check=False, timeout=60
        )
        return answer.returncode, answer.stdout, answer.stderr

    call.environ = environ
    return call


@pytest.fixture
def daemon(run):
    """The daemon on a free port; yields its process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "areabox", "serve", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=run.environ,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line.startswith("areabox listens on http://127.0.0.1:"), process.stderr.read()
        yield process, line.split()[3].rstrip(";"), line
    finally:
        process.kill()
        process.communicate()


def test_from_nothing_to_a_first_run(run, daemon, tmp_path):
    process, address, line = daemon
    token_file = tmp_path / "data" / "setup-token"
    assert token_file.read_text().strip() in line
    assert token_file.stat().st_mode & 0o077 == 0

    assert run("user", "add", "o@example.org", "--role", "owner", "--password-stdin", stdin="correct horse battery\n")[0] == 0
    token = run("token", "add", "ci", "--user", "o@example.org", "--scopes", "all", "--expires", "90d")[1].strip()
    assert token.startswith("abx_")

    (tmp_path / "hello.yaml").write_text(HELLO)
    code, out, err = run("apply", str(tmp_path / "hello.yaml"), "--json")
    assert code == 0, err
    [change] = json.loads(out)
    assert (change["area"], change["change"]) == ("hello", "created")
    url = change["subscriptions"][0]["url"]
    assert url.startswith(f"{address}/hooks/")

    request = urllib.request.Request(url, b'{"name": "Ada"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 202

    code, out, err = run("area", "run", "hello", "--trigger", '{"json": {"name": "Bo"}}', "--wait", "30s", "--json")
    assert code == 0, err
    assert json.loads(out)["result"]["who"] == "Bo"

    here = run("run", "list", "--json")
    there = run("run", "list", "--json", AREABOX_URL=address, AREABOX_TOKEN=token)
    assert here == there
    assert len(json.loads(here[1])["items"]) == 2

    assert run("check", "--health")[0] == 0
    assert run("area", "show", "nothing")[0] == 4
    assert run("area", "list", AREABOX_URL=address, AREABOX_TOKEN="abx_wrong")[0] == 77

    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert not (tmp_path / "data" / "areabox.sock").exists()
    assert run("check", "--health")[0] == 1


def test_without_a_daemon_the_commands_work_on_the_file(run, tmp_path):
    code, _, err = run("user", "add", "o@example.org", "--role", "owner", "--password-stdin", stdin="correct horse battery\n")
    assert code == 0, err
    (tmp_path / "hello.yaml").write_text(HELLO)
    assert run("apply", str(tmp_path))[0] == 0
    assert json.loads(run("apply", str(tmp_path), "--json")[1])[0]["change"] == "unchanged"
    assert "area: hello" in run("export")[1]
    code, out, _ = run("area", "run", "hello", "--trigger", '{"json": {"name": "Bo"}}', "--wait", "20s", "--json")
    assert (code, json.loads(out)["result"]) == (0, {"n": 1, "who": "Bo"})
    assert run("area", "test", "hello", "--trigger", '{"json": {"name": "Bo"}}')[0] == 0
    assert run("apply", "-", stdin="area: broken\nwhen: []\n")[0] == 65
    code, _, err = run("apply", "-", "--prune", stdin="# nothing\n")
    assert (code, "it holds no area" in err) == (65, True)
    code, _, err = run("area", "test", "hello")
    assert (code, "the example event of webhook.received" in err) == (1, True)  # whose JSON has no name
    assert run("area", "rm", "hello", "--yes")[0] == 0
    assert json.loads(run("area", "list", "--json")[1])["items"] == []


def test_a_second_daemon_on_the_same_data_is_refused(run, daemon):
    code, out, err = run("serve", "--port", "0")
    assert (code, out) == (78, "")
    assert str(daemon[0].pid) in err


def test_a_port_in_use_is_refused_before_anything_is_made(run, daemon, tmp_path):
    port = daemon[1].rpartition(":")[2]
    code, _, err = run("serve", "--port", port, "--data-dir", str(tmp_path / "second"))
    assert code == 78
    assert f"port {port} on 127.0.0.1 cannot be used" in err
    assert not (tmp_path / "second").exists()


def test_a_backup_with_a_passphrase_restores_everything_elsewhere(run, tmp_path):
    run("user", "add", "o@example.org", "--role", "owner", "--password-stdin", stdin="correct horse battery\n")
    (tmp_path / "hello.yaml").write_text(HELLO)
    run("apply", str(tmp_path / "hello.yaml"))
    copy, phrase = str(tmp_path / "copy.db"), {"AREABOX_PASSPHRASE": "a phrase to remember"}
    code, _, err = run("backup", copy, **phrase)
    assert code == 0, err
    assert Path(copy).stat().st_mode & 0o077 == 0
    assert run("restore", copy, "--check", **phrase)[0] == 0

    elsewhere = str(tmp_path / "elsewhere")
    code, _, err = run("restore", copy, "--data-dir", elsewhere, **phrase)
    assert code == 0, err
    assert (tmp_path / "elsewhere" / "areabox.key").read_bytes() == (tmp_path / "data" / "areabox.key").read_bytes()
    assert json.loads(run("area", "list", "--json", "--data-dir", elsewhere)[1])["items"][0]["area"] == "hello"
    code, out, err = run("resume", "--json", "--data-dir", elsewhere)
    assert (code, json.loads(out)["facts"]["paused"]) == (0, False), err
    assert run("restore", copy, "--check", AREABOX_PASSPHRASE="another phrase")[0] == 65
    assert "under a passphrase" in run("restore", copy, "--data-dir", str(tmp_path / "third"))[2]
    assert run("db", "status", "--data-dir", elsewhere)[0] == 0


def test_who_restores_without_the_key_is_told_where_it_belongs(run, tmp_path):
    run("user", "add", "o@example.org", "--role", "owner", "--password-stdin", stdin="correct horse battery\n")
    copy, elsewhere = str(tmp_path / "copy.db"), tmp_path / "elsewhere"
    assert run("backup", copy)[0] == 0
    code, _, err = run("restore", copy, "--data-dir", str(elsewhere))
    assert code == 0
    assert f"put that at {elsewhere / 'areabox.key'} before the first start" in err
    assert "need the key" not in run("restore", copy, "--overwrite", "--yes")[2]


def test_what_is_no_backup_is_refused(run, tmp_path):
    (tmp_path / "note.db").write_text("no database")
    assert run("restore", str(tmp_path / "note.db"))[0] == 65
    assert run("restore", str(tmp_path / "nowhere.db"))[0] == 4

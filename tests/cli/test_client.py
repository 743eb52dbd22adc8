"""The way to the API, and what its refusals become."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from pathlib import Path

import pytest
import uvicorn

from areabox.deployment.local import local
from areabox.deployment.sockets import tcp, unix, unix_path

EMPTY = {"items": [], "next": None}


@pytest.fixture
def listening(api):
    """Serve the fake API on sockets, from another thread, until the test ends."""
    stops = []

    def start(sock, app=api.asgi):
        config = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
        thread.start()
        stops.append((server, thread))

    yield start
    for server, thread in stops:
        server.should_exit = True
        thread.join(5)


def test_without_a_daemon_the_data_directory_is_opened_in_this_process(areabox, api):
    api.on("GET /areas", EMPTY)
    assert areabox("area", "list").code == 0
    assert api.opened == ["cli"]
    assert api.last["local"] is True


def test_a_running_daemon_is_asked_over_its_socket(areabox, api, data_dir, listening):
    data_dir.mkdir()
    api.on("GET /areas", EMPTY)
    listening(unix(unix_path(data_dir)), local(api.asgi))
    assert areabox("area", "list").code == 0
    assert api.opened == []
    assert api.last["local"] is True


def test_an_address_and_a_token_reach_another_machine(areabox, api, listening):
    api.on("GET /areas", EMPTY)
    (sock,) = tcp("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    listening(sock)
    assert areabox("area", "list", "--url", url, "--token", "abx_1").code == 0
    assert api.last["headers"]["authorization"] == "Bearer abx_1"
    assert api.last["local"] is False


def test_all_three_ways_give_the_same_output(areabox, api, data_dir, listening):
    api.on("GET /areas", {"items": [], "next": None})
    here = areabox("area", "list", "--json")
    (sock,) = tcp("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    listening(sock)
    there = areabox("area", "list", "--json", "--url", url)
    data_dir.mkdir()
    listening(unix(unix_path(data_dir)), local(api.asgi))
    assert here == there == areabox("area", "list", "--json")


def test_an_address_that_does_not_answer_is_69(areabox):
    (sock,) = tcp("127.0.0.1", 0)
    port = sock.getsockname()[1]
    sock.close()
    result = areabox("area", "list", "--url", f"http://127.0.0.1:{port}")
    assert result.code == 69
    assert f"http://127.0.0.1:{port} does not answer" in result.err


def test_a_data_directory_held_by_a_mute_process_is_78(areabox, data_dir, monkeypatch):
    monkeypatch.setattr("areabox.cli.client._STARTING_TRIES", 1)
    monkeypatch.setattr("areabox.cli.client._STARTING_PAUSE_S", 0)
    data_dir.mkdir()
    with Path(data_dir / "areabox.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = areabox("area", "list")
    assert result.code == 78
    assert "is in use by an areabox that does not answer" in result.err


@pytest.mark.parametrize(
    ("status", "code"), [(401, 77), (403, 77), (404, 4), (409, 1), (412, 1), (422, 65), (400, 65), (500, 1), (507, 1)]
)
def test_every_refusal_has_its_exit_code(areabox, api, status, code):
    api.on("GET /runs/x", {"title": "No", "detail": "because of this"}, status)
    result = areabox("run", "show", "x")
    assert result.code == code
    assert result.err == "areabox: because of this\n"
    assert result.out == ""


@pytest.mark.parametrize(("status", "says"), [(502, "502 Bad Gateway"), (404, "404 Not Found"), (200, "200 OK")])
def test_another_server_in_its_place_is_69(areabox, api, status, says):
    api.on("GET /runs/x", "<html>", status)
    result = areabox("run", "show", "x")
    assert result.code == 69
    assert result.err == f"areabox: no areabox answers at http://localhost: it says {says}\n"


def test_who_has_no_token_is_told_how_to_give_one(areabox, api, listening):
    api.on("GET /areas", {"title": "Unauthorized", "detail": "log in"}, 401)
    (sock,) = tcp("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    listening(sock)
    result = areabox("area", "list", "--url", url)
    assert result.code == 77
    assert "--token or AREABOX_TOKEN" in result.err
    assert areabox("area", "list", "--url", url, "--token", "abx_1").err == "areabox: log in\n"


def test_the_address_may_stand_before_the_command(areabox, api, listening):
    api.on("GET /areas", EMPTY)
    (sock,) = tcp("127.0.0.1", 0)
    listening(sock)
    where = ("--url", f"http://127.0.0.1:{sock.getsockname()[1]}", "--token", "abx_1")
    assert areabox(*where, "area", "list").code == 0
    assert api.last["headers"]["authorization"] == "Bearer abx_1"
    result = areabox(*where, "db", "status")
    assert result.code == 2
    assert "works on this machine only" in result.err


def test_nobody_acts_as_another_account_on_another_machine(areabox, api):
    result = areabox("area", "list", "--as", "b@example.org", "--url", "http://127.0.0.1:1")
    assert result.code == 2
    assert api.asked == []


def test_every_problem_of_a_document_is_shown(areabox, api, tmp_path):
    (tmp_path / "a.yaml").write_text("area: a")
    errors = [{"pointer": "/then/0", "detail": "unknown", "line": 3, "column": 5}, {"pointer": "/when", "detail": "missing"}]
    api.on("POST /apply", {"title": "No", "detail": "2 problems", "errors": errors}, 422)
    result = areabox("apply", str(tmp_path))
    assert result.code == 65
    assert result.err.splitlines() == [
        "areabox: 2 problems",
        "  line 3, column 5: /then/0: unknown",
        "  /when: missing",
    ]


def test_a_problem_is_told_once_and_with_its_file(areabox, api):
    def told(message, **problem):
        api.on("POST /users", {"title": "No", "detail": message, "errors": [problem]}, 422)
        return areabox("user", "add", "a@example.org", "--role", "owner", "--password-stdin").err.splitlines()

    assert told("it is too short", pointer="/password", detail="it is too short") == ["areabox: /password: it is too short"]
    assert told("the password is too short", pointer="/password", detail="is too short") == [
        "areabox: the password is too short"
    ]
    assert told("1 problem", pointer="/when", detail="missing", line=1, column=2, document="a.yaml") == [
        "areabox: 1 problem",
        "  a.yaml, line 1, column 2: /when: missing",
    ]


def test_names_cannot_climb_out_of_their_path(areabox, api):
    areabox("area", "show", "../users")
    assert api.last["request"] == "GET /api/v1/areas/../users"  # the server decodes one segment; nothing was joined


def test_one_may_act_as_another_account_on_the_machine_itself(areabox, api):
    api.on("GET /areas", EMPTY)
    areabox("area", "list", "--as", "b@example.org")
    assert api.last["headers"]["x-areabox-as"] == "b@example.org"

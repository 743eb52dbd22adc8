"""What commands ask, print and return."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.support import any_machine

RUN = {
    "id": "r1",
    "area": "a",
    "version": 1,
    "state": "done",
    "trigger": {"x": 1},
    "result": 2,
    "started": "2026-01-01T00:00:00.000Z",
    "ended": "2026-01-01T00:00:01.000Z",
    "steps": [
        {"id": "s1", "path": "s1", "kind": "do", "state": "failed", "input": {"to": "x"}, "error": {"message": "no"}}
    ],
}


def test_version_is_fast_since_it_imports_little():
    command = [sys.executable, "-X", "importtime", "-m", "areabox", "version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("areabox ")
    for heavy in ("litestar", "httpx2", "uvicorn", "jinja2", "cryptography", "asyncio"):
        assert f" {heavy}\n" not in answer.stderr


def test_the_help_lists_every_command_and_imports_none():
    start = time.monotonic()
    answer = subprocess.run([sys.executable, "-m", "areabox", "-h"], capture_output=True, text=True, check=True)
    assert "connection" in answer.stdout
    assert time.monotonic() - start < any_machine(5)


def test_usage_errors_are_2(areabox):
    assert areabox("nothing").code == 2
    assert areabox("area", "show").code == 2
    assert areabox("user", "add", "a@example.org", "--role", "king").code == 2


def test_bad_configuration_is_78(areabox, monkeypatch):
    monkeypatch.setenv("AREABOX_PORT", "many")
    result = areabox("config")
    assert result.code == 78
    assert "port (environment AREABOX_PORT)" in result.err


def test_options_may_stand_before_the_command(areabox, tmp_path):
    result = areabox("--data-dir", str(tmp_path / "elsewhere"), "--json", "config")
    values = {row["setting"]: row["value"] for row in result.json}
    assert values["data_dir"] == str(tmp_path / "elsewhere")


def test_config_stars_secrets(areabox, monkeypatch):
    monkeypatch.setenv("AREABOX_TOKEN", "abx_secret")
    result = areabox("config")
    assert "abx_secret" not in result.out
    assert "***" in result.out


def test_apply_sends_every_file_and_prints_what_changed(areabox, api, tmp_path):
    (tmp_path / "b.yml").write_text("area: b")
    (tmp_path / "a.yaml").write_text("area: a")
    (tmp_path / "note.txt").write_text("no area")
    subscriptions = [{"id": "webhook.received", "action": "webhook.received", "url": "http://localhost/hooks/k"}]
    api.on("POST /apply", [{"area": "a", "change": "created", "version": 1, "subscriptions": subscriptions, "diff": ""}])
    result = areabox("apply", str(tmp_path), "--json")
    assert [document["text"] for document in api.last["body"]["documents"]] == ["area: a", "area: b"]
    assert result.json[0]["change"] == "created"
    assert result.json[0]["subscriptions"] == subscriptions


def test_apply_takes_stdin(areabox, api):
    api.on("POST /apply", [])
    assert areabox("apply", "-", stdin="area: a").code == 0
    assert api.last["body"]["documents"] == [{"name": "stdin", "text": "area: a"}]


def test_apply_of_nothing_is_65(areabox, api, tmp_path):
    assert areabox("apply", str(tmp_path / "nowhere.yaml")).code == 65
    assert areabox("apply", str(tmp_path)).code == 65
    assert api.asked == []


def test_a_plan_shows_the_difference(areabox, api, tmp_path):
    (tmp_path / "a.yaml").write_text("area: a")
    change = {"area": "a", "change": "changed", "version": 2, "subscriptions": [], "diff": "-old\n+new"}
    api.on("POST /apply", [change])
    result = areabox("apply", str(tmp_path / "a.yaml"), "--plan")
    assert api.last["body"]["plan"] is True
    assert result.out == "~ a  changed\n    -old\n    +new\n"
    assert result.err == "1 of 1 would change\n"


def test_export_writes_one_file_per_area(areabox, api, tmp_path):
    api.on("GET /areas", {"items": [{"area": "a"}, {"area": "b"}], "next": None})
    for name in ("a", "b"):
        api.on(f"GET /areas/{name}", {"application/yaml": f"area: {name}\n"})
    assert areabox("export", "-o", str(tmp_path / "out")).code == 0
    assert (tmp_path / "out" / "a.yaml").read_text() == "area: a\n"
    assert areabox("export").out == "area: a\n---\narea: b\n"
    assert areabox("export", "b").out == "area: b\n"


def test_run_lists_print_what_the_api_answers(areabox, api):
    page = {"items": [{"id": "r1", "area": "a", "state": "done"}], "next": "r1"}
    api.on("GET /runs", page)
    assert areabox("run", "list", "--json", "--state", "done", "--limit", "1").json == page
    assert api.last["query"] == "state=done&limit=1"
    table = areabox("run", "list")
    assert table.out.splitlines()[0].split() == ["RUN", "AREA", "STATE", "STARTED", "ENDED", "REASON"]
    assert table.err == "more: --after r1\n"


def test_a_run_is_shown_with_its_steps(areabox, api):
    api.on("GET /runs/r1", RUN)
    assert areabox("run", "show", "r1", "--json").json == RUN
    shown = areabox("run", "show", "r1").out
    assert "s1  do  failed" in shown
    assert '{"message": "no"}' in shown


@pytest.mark.parametrize(
    ("state", "code"), [("done", 0), ("skipped", 0), ("failed", 1), ("cancelled", 1), ("uncertain", 3), ("held", 3)]
)
def test_a_run_that_was_waited_for_tells_its_end_by_the_exit_code(areabox, api, state, code):
    api.on("POST /areas/a/runs", RUN | {"state": state})
    result = areabox("area", "run", "a", "--trigger", '{"x": 1}', "--wait", "30s", "--json")
    assert result.code == code
    assert api.last["body"] == {"trigger": {"x": 1}, "dry": False}
    assert api.last["query"] == "wait=30.0"
    assert result.json["state"] == state


def test_a_run_that_is_not_waited_for_prints_its_id(areabox, api):
    api.on("POST /areas/a/runs", {"id": "r9", "state": "queued"}, 202)
    result = areabox("area", "run", "a")
    assert (result.code, result.out) == (0, "r9\n")


def test_a_trigger_may_lie_in_a_file(areabox, api, tmp_path):
    (tmp_path / "t.json").write_text('{"n": 3}')
    api.on("POST /areas/a/runs", {"id": "r9", "state": "queued"}, 202)
    areabox("area", "run", "a", "--trigger", f"@{tmp_path / 't.json'}")
    assert api.last["body"]["trigger"] == {"n": 3}
    assert areabox("area", "run", "a", "--trigger", "{").code == 65


def test_what_destroys_needs_yes_without_a_terminal(areabox, api):
    api.on("DELETE /areas/a", None, 204)
    refused = areabox("area", "rm", "a")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert api.asked == []
    assert areabox("area", "rm", "a", "--yes").code == 0


def test_the_first_owner_is_made_without_a_browser(areabox, api):
    api.on("POST /users", {"email": "o@example.org", "role": "owner"}, 201)
    result = areabox("user", "add", "o@example.org", "--role", "owner", "--password-stdin", stdin="a long password\n")
    assert result.code == 0
    assert api.last["body"] == {"email": "o@example.org", "role": "owner", "password": "a long password"}


def test_a_token_is_printed_alone(areabox, api):
    api.on("POST /tokens", {"id": "t", "token": "abx_t_secret"}, 201)
    arguments = ("token", "add", "ci", "--user", "o@example.org", "--scopes", "areas:read,runs:read", "--expires", "90d")
    assert areabox(*arguments).out == "abx_t_secret\n"
    assert api.last["body"]["scopes"] == ["areas:read", "runs:read"]
    assert areabox(*arguments, "--json").json["token"] == "abx_t_secret"


def test_secrets_of_a_connection_come_from_stdin(areabox, api):
    api.on("POST /connections", {"name": "home", "state": "ok"}, 201)
    result = areabox(
        "connection", "add", "home", "ntfy", "--set", "url=https://n.example.org", "--secret", "token",
        "--secrets-stdin", stdin="tk_1\n",
    )  # fmt: skip
    assert result.code == 0
    assert api.last["body"]["values"] == {"url": "https://n.example.org", "token": "tk_1"}
    assert "tk_1" not in result.out + result.err


def test_a_dead_connection_needs_attention(areabox, api):
    api.on("POST /connections/home/test", {"name": "home", "state": "dead", "error": "401"})
    result = areabox("connection", "test", "home")
    assert result.code == 3
    assert "401" in result.err


def test_text_from_outside_cannot_steer_the_terminal(areabox, api):
    api.on("GET /events", {"items": [{"id": "e", "action": "rss.new_entry", "reason": "\x1b[2Jgone\n"}], "next": None})
    assert "\x1b" not in areabox("event", "list").out


def test_an_event_is_sent_by_hand(areabox, api):
    api.on("POST /events", {"id": "e1"}, 202)
    assert areabox("event", "send", "rss.new_entry", '{"title": "x"}').out == "e1\n"
    assert api.last["body"] == {"action": "rss.new_entry", "payload": {"title": "x"}}


def test_answers_are_json_on_stdout_and_nothing_else(areabox, api):
    api.on("POST /areas/a/enable", {"area": "a", "state": "on"})
    result = areabox("area", "on", "a", "--json")
    assert json.loads(result.out)["state"] == "on"
    assert result.err == ""


SERVICE = {
    "id": "lamp",
    "name": "Lamp",
    "about": "A lamp.",
    "actions": [],
    "reactions": [
        {
            "id": "lamp.dim",
            "title": "Dim",
            "help": "Dim the lamp.",
            "schema": {
                "properties": {
                    "percent": {"type": "integer", "description": "0 is off."},
                    "mode": {"enum": ["fast", "slow"], "default": "fast"},
                },
                "required": ["percent"],
            },
            "output": {"properties": {"was": {"type": "integer"}}},
        }
    ],
    "auth": [
        {
            "id": "fields",
            "label": "A lamp",
            "schema": {
                "properties": {"url": {"type": "string", "format": "uri"}, "token": {"type": "string", "writeOnly": True}},
                "required": ["url", "token"],
            },
        }
    ],
}


def test_a_service_is_shown_with_its_forms_and_the_command_that_connects_it(areabox, api):
    api.on("GET /services/lamp", SERVICE)
    out = areabox("service", "show", "lamp").out
    assert "lamp.dim  reaction  Dim\n  Dim the lamp.\n" in out
    assert '    percent  integer      needed; 0 is off.\n    mode     fast | slow  default "fast"\n  gives was\n' in out
    assert "areabox connection add NAME lamp --auth fields --set url=… --secret token" in out


def test_a_connector_that_cannot_be_loaded_is_told_by_its_name(areabox, data_dir):
    (data_dir / "connectors").mkdir(parents=True)
    (data_dir / "connectors" / "lamp.py").write_text("import nothing_of_that_name\n")
    result = areabox("service", "check", "lamp")
    assert result.code == 1
    assert "ModuleNotFoundError: No module named 'nothing_of_that_name' (line 1)" in result.out
    assert result.err == ""


def test_a_step_is_resolved_as_what_was_found_out(areabox, api):
    api.on("POST /runs/r1/steps/s1/resolve", RUN)
    result = areabox("run", "resolve", "r1", "s1", "--as", "done")
    assert (result.code, api.last["body"]) == (0, {"as": "done"})
    assert result.err == "s1 of r1: done\n"


def test_an_unknown_state_is_a_usage_error(areabox, api):
    result = areabox("run", "list", "--state", "finished")
    assert (result.code, api.asked) == (2, [])
    assert "uncertain" in result.err


def test_no_command_has_an_option_twice(areabox):
    from areabox.cli.main import COMMANDS
    from areabox.cli.main import areabox as group

    def leaves(command, name):
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        for key, value in (inner or {}).items():
            yield from leaves(value, f"{name} {key}")

    for top in COMMANDS:
        for name, command in leaves(group.get_command(None, top), top):
            options = [text for parameter in command.params for text in parameter.opts if text.startswith("-")]
            assert len(options) == len(set(options)), name


def test_the_effective_values_are_shown(areabox, data_dir):
    values = {row["setting"]: row["value"] for row in areabox("config", "--json").json}
    assert values["database"] == str(data_dir / "areabox.db")
    assert values["key_file"] == str(data_dir / "areabox.key")
    assert values["timezone"]


def test_a_run_that_waits_for_a_person_says_how_to_go_on(areabox, api):
    steps = [
        {"id": "post", "path": "post", "kind": "do", "state": "uncertain"},
        {"id": "sure", "path": "sure", "kind": "ask", "state": "waiting", "input": {"choices": ["Yes", "No"]}},
    ]
    api.on("GET /runs/r1", RUN | {"state": "uncertain", "steps": steps})
    err = areabox("run", "show", "r1").err
    assert "areabox run resolve r1 post --as done|failed|retry" in err
    assert "areabox run answer r1 sure Yes|No" in err

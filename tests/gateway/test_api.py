"""The API: its answers, its refusals, and the habits that all resources share."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import msgspec
import pytest

from areabox.app import App
from areabox.areas.runs import Runs
from areabox.gateway import shapes
from areabox.gateway.routes import Page
from tests.gateway.conftest import HELLO, Connect
from tests.support import FakeClock

YAML = {"Content-Type": "application/yaml"}
DEEP = b'{"area":' + b"[" * 100_000


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_a_refusal_says_what_is_wrong_where(owner: httpx2.AsyncClient) -> None:
    answer = await owner.post("/api/v1/users", json={"email": "x@example.org", "role": 7})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["title"] == "Unprocessable Entity"
    assert problem["errors"] == [{"pointer": "/role", "detail": "Expected `str`, got `int`"}]


async def test_unknown_fields_are_refused(owner: httpx2.AsyncClient) -> None:
    answer = await owner.post("/api/v1/tokens", json={"name": "x", "admin": True})
    assert answer.status_code == 422
    assert "unknown field `admin`" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[]", {}, 422),
        (DEEP, {}, 422),
        (b"[" * 40 + b"]" * 40, {}, 422),
        (b"x" * 1_048_577, {}, 413),
        (b"<a/>", {"Content-Type": "application/xml"}, 415),
        (b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        (b"{}", {"Content-Type": "application/json; charset=utf-8"}, 422),
    ],
)
async def test_what_cannot_be_read_is_refused(
    body: bytes, headers: dict[str, str], status: int, owner: httpx2.AsyncClient
) -> None:
    answer = await owner.post("/api/v1/tokens", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status


async def test_a_body_is_not_read_further_than_its_limit(app: App, tokens: dict[str, str]) -> None:
    sent = 0

    async def endless() -> dict[str, Any]:
        nonlocal sent
        sent += 65_536
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {tokens['owner']}".encode())]
    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/areas", "raw_path": b"/api/v1/areas", "query_string": b"",
        "headers": headers, "client": ("198.51.100.7", 1), "scheme": "http", "state": {}, "root_path": "",
        "server": ("localhost", 80), "http_version": "1.1",
    }  # fmt: skip
    await app.asgi(scope, endless, send)
    assert answers[0]["status"] == 413
    assert sent <= 1_048_576 + 2 * 65_536


async def test_an_unforeseen_error_tells_an_id_and_nothing_else(
    owner: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret path /etc/areabox")

    monkeypatch.setattr(Runs, "list", fail)
    answer = await owner.get("/api/v1/runs")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    error_id = answer.json()["detail"].rpartition(" ")[2]
    assert error_id in caplog.text
    assert "the secret path" in caplog.text


async def test_a_method_that_is_not_there_names_those_that_are(owner: httpx2.AsyncClient) -> None:
    answer = await owner.put("/api/v1/runs", json={})
    assert answer.status_code == 405
    assert answer.json()["title"] == "Method Not Allowed"
    assert (await owner.head("/api/v1/runs")).status_code == 200


# --- areas ------------------------------------------------------------------------------------------------------------


async def test_an_area_is_yaml_or_json_going_in_and_out(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    assert hello["version"] == 1
    assert hello["subscriptions"][0]["url"].startswith("http://")
    text = (await owner.get("/api/v1/areas/hello", headers={"Accept": "application/yaml"})).text
    assert text.startswith("area: hello\nname: Hello\n")
    same = await owner.put("/api/v1/areas/hello", content=text, headers=YAML)
    assert (same.status_code, same.json()["version"]) == (200, 1)
    back = await owner.put("/api/v1/areas/hello", json=hello | {"name": "Hi"})
    assert (back.status_code, back.json()["version"], back.json()["name"]) == (200, 2, "Hi")


async def test_a_broken_document_is_told_with_lines(owner: httpx2.AsyncClient) -> None:
    answer = await owner.post("/api/v1/areas", content=HELLO.replace("store.set", "store.sett"), headers=YAML)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["line"] == 6
    assert "store.set" in error["detail"]


async def test_an_address_is_taken_once(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    assert (await owner.post("/api/v1/areas", content=HELLO, headers=YAML)).status_code == 409
    other = await owner.put("/api/v1/areas/other", content=HELLO, headers=YAML)
    assert other.status_code == 422


async def test_two_writers_do_not_overwrite_each_other(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    read = await owner.get("/api/v1/areas/hello")
    tag = read.headers["etag"]
    first = await owner.patch("/api/v1/areas/hello", json={"name": "One"}, headers={"If-Match": tag})
    assert first.status_code == 200
    second = await owner.patch("/api/v1/areas/hello", json={"name": "Two"}, headers={"If-Match": tag})
    assert second.status_code == 412
    for method in ("PUT", "DELETE"):
        body = HELLO if method == "PUT" else None
        stale = await owner.request(method, "/api/v1/areas/hello", headers={"If-Match": tag, **YAML}, content=body)
        assert stale.status_code == 412, method
    assert (await owner.get("/api/v1/areas/hello")).json()["name"] == "One"
    assert (await owner.patch("/api/v1/areas/hello", json={}, headers={"If-Match": '"abc"'})).status_code == 412


async def test_a_patch_takes_out_what_is_null(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    merge = {"Content-Type": "application/merge-patch+json"}
    answer = await owner.patch("/api/v1/areas/hello", content=b'{"name": null, "tags": ["a"]}', headers=merge)
    assert answer.status_code == 200
    assert "name" not in answer.json()
    assert answer.json()["tags"] == ["a"]


async def test_what_has_not_changed_is_not_sent_again(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    tag = (await owner.get("/api/v1/areas/hello")).headers["etag"]
    again = await owner.get("/api/v1/areas/hello", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")


async def test_an_area_is_switched_off_and_on(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    assert (await owner.post("/api/v1/areas/hello/disable")).json()["state"] == "off"
    assert (await owner.post("/api/v1/areas/hello/enable")).json()["state"] == "on"
    versions = (await owner.get("/api/v1/areas/hello/versions")).json()["items"]
    first = (await owner.get("/api/v1/areas/hello/versions/1")).json()
    assert versions[-1]["version"] == first["version"] == 1
    assert (await owner.get("/api/v1/areas/hello/versions/99")).status_code == 404
    assert (await owner.get("/api/v1/areas/hello/versions/one")).status_code == 404
    assert (await owner.delete("/api/v1/areas/hello")).status_code == 204
    assert (await owner.get("/api/v1/areas/hello")).status_code == 404


async def test_apply_says_what_it_did(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    documents = [{"name": "a.yaml", "text": HELLO}, {"name": "b.yaml", "text": HELLO.replace("hello", "second")}]
    planned = (await owner.post("/api/v1/apply", json={"documents": documents, "plan": True})).json()
    assert [(change["area"], change["change"]) for change in planned] == [("hello", "unchanged"), ("second", "created")]
    done = (await owner.post("/api/v1/apply", json={"documents": documents[1:], "prune": True})).json()
    assert [(change["area"], change["change"]) for change in done] == [("second", "created"), ("hello", "removed")]
    broken = await owner.post("/api/v1/apply", json={"documents": [{"name": "c.yaml", "text": "area: ["}]})
    assert broken.status_code == 422
    assert "c.yaml" in broken.text


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_lists_go_on_where_they_stopped(owner: httpx2.AsyncClient) -> None:
    for n in range(5):
        text = HELLO.replace("hello", f"area-{n}")
        assert (await owner.post("/api/v1/areas", content=text, headers=YAML)).status_code == 201
    seen, path = [], "/api/v1/areas?limit=2"
    while path:
        answer = await owner.get(path)
        seen += [area["area"] for area in answer.json()["items"]]
        path = answer.headers.get("link", "").partition(">")[0].lstrip("<")
        assert bool(path) == (answer.json()["next"] is not None)
    assert seen == [f"area-{n}" for n in range(5)]
    assert len((await owner.get("/api/v1/areas?q=area-3")).json()["items"]) == 1


async def test_a_limit_that_is_no_number_is_refused(owner: httpx2.AsyncClient) -> None:
    answer = await owner.get("/api/v1/areas?limit=many")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "?/limit"
    assert (await owner.get("/api/v1/areas?limit=100000")).status_code == 200


# --- the same request twice -------------------------------------------------------------------------------------------


async def test_a_post_with_a_key_is_done_once(running: App, owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await owner.post("/api/v1/areas/hello/runs", json={"trigger": {"n": 1}}, headers=key)
    again = await owner.post("/api/v1/areas/hello/runs", json={"trigger": {"n": 1}}, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = await owner.post("/api/v1/areas/hello/runs", json={"trigger": {"n": 2}}, headers=key)
    assert other.status_code == 422
    assert len((await owner.get("/api/v1/runs")).json()["items"]) == 1


async def test_what_was_refused_can_be_sent_again_with_its_key(owner: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": "k2"}
    assert (await owner.post("/api/v1/areas/hello/runs", json={}, headers=key)).status_code == 404
    await owner.post("/api/v1/areas", content=HELLO, headers=YAML)
    assert (await owner.post("/api/v1/areas/hello/runs", json={}, headers=key)).status_code == 202


async def test_a_secret_is_not_kept_for_repeats(owner: httpx2.AsyncClient, app: App) -> None:
    key = {"Idempotency-Key": "k3"}
    made = await owner.post("/api/v1/tokens", json={"name": "once"}, headers=key)
    assert made.status_code == 201
    assert (await owner.post("/api/v1/tokens", json={"name": "once"}, headers=key)).status_code == 409
    rows = await app.backend.read("select * from idempotency")
    assert made.json()["token"] not in str([tuple(row) for row in rows])


async def test_keys_are_ones_own_and_last_a_day(
    connect: Connect, tokens: dict[str, str], owner: httpx2.AsyncClient, clock: FakeClock
) -> None:
    key = {"Idempotency-Key": "k4"}
    body = {"action": "webhook.received", "payload": {}}
    first = (await owner.post("/api/v1/events", json=body, headers=key)).json()["id"]
    other = (await connect(tokens["editor"]).post("/api/v1/events", json=body, headers=key)).json()["id"]
    clock.advance(86_400_001)
    later = (await owner.post("/api/v1/events", json=body, headers=key)).json()["id"]
    assert len({first, other, later}) == 3


# --- runs and events --------------------------------------------------------------------------------------------------


async def test_a_run_is_started_waited_for_and_repeated(
    running: App, owner: httpx2.AsyncClient, hello: dict[str, Any]
) -> None:
    answer = await owner.post("/api/v1/areas/hello/runs?wait=10s", json={"trigger": {"json": {"x": 1}}})
    assert answer.status_code == 200, answer.text
    run = answer.json()
    assert run["state"] == "done"
    assert run["result"] == {"seen": {"x": 1}}
    again = await owner.post(f"/api/v1/runs/{run['id']}/retry", json={"from": "s1", "version": "latest"})
    assert again.status_code == 202
    assert again.json()["retry_of"] == run["id"]
    assert (await owner.post(f"/api/v1/runs/{run['id']}/cancel")).status_code == 409
    assert (await owner.post(f"/api/v1/runs/{run['id']}/retry", json={"version": "new"})).status_code == 422
    assert (await owner.post(f"/api/v1/runs/{run['id']}/steps/s1/resolve", json={"as": "done"})).status_code == 404
    assert (await owner.post("/api/v1/areas/hello/runs?wait=soon", json={})).status_code == 422


async def test_an_event_that_no_area_took_says_why(owner: httpx2.AsyncClient) -> None:
    sent = await owner.post("/api/v1/events", json={"action": "webhook.received", "payload": {"a": 1}})
    assert sent.status_code == 202
    event = sent.json()
    assert event["payload"] == {"a": 1}
    assert event["reason"]
    [listed] = (await owner.get("/api/v1/events?ignored=true")).json()["items"]
    assert listed["id"] == event["id"]
    assert (await owner.post(f"/api/v1/events/{event['id']}/replay", json={})).status_code == 422


# --- accounts and tokens ----------------------------------------------------------------------------------------------


async def test_an_account_is_named_by_its_address(owner: httpx2.AsyncClient, connect: Connect, tokens: Any) -> None:
    changed = await owner.patch("/api/v1/users/viewer@example.org", json={"role": "editor"})
    assert changed.json()["role"] == "editor"
    assert (await owner.patch("/api/v1/users/viewer@example.org", json={"disabled": True})).json()["disabled"]
    assert (await connect(tokens["viewer"]).get("/api/v1/me")).status_code == 401
    assert (await owner.delete("/api/v1/users/viewer@example.org")).status_code == 204
    assert (await owner.get("/api/v1/users/viewer@example.org")).status_code == 404


async def test_an_admin_does_not_touch_owners(connect: Connect, tokens: dict[str, str]) -> None:
    admin = connect(tokens["admin"])
    for body in ({"role": "viewer"}, {"password": "another good password"}, {"disabled": True}):
        assert (await admin.patch("/api/v1/users/owner@example.org", json=body)).status_code == 403
    assert (await admin.patch("/api/v1/users/admin@example.org", json={"role": "owner"})).status_code == 403
    assert (await admin.post("/api/v1/users", json={"email": "n@example.org", "role": "owner"})).status_code == 403
    assert (await admin.delete("/api/v1/users/owner@example.org")).status_code == 403
    assert (await admin.post("/api/v1/users", json={"email": "n@example.org", "role": "editor"})).status_code == 201


async def test_tokens_for_others_are_made_on_the_machine_only(
    owner: httpx2.AsyncClient, here: httpx2.AsyncClient, connect: Connect
) -> None:
    body = {"name": "script", "user": "editor@example.org", "scopes": ["runs:read"], "expires": "90d"}
    assert (await owner.post("/api/v1/tokens", json=body)).status_code == 403
    made = await here.post("/api/v1/tokens", json=body)
    assert made.status_code == 201
    assert made.json()["expires"] == "2026-04-01T00:00:00.000Z"
    me = (await connect(made.json()["token"]).get("/api/v1/me")).json()
    assert (me["email"], me["scopes"], me["via"]) == ("editor@example.org", ["runs:read"], "token")
    assert (await here.post("/api/v1/tokens", json=body | {"expires": "soon"})).status_code == 422


async def test_tokens_are_listed_without_their_text_and_revoked(owner: httpx2.AsyncClient, connect: Connect) -> None:
    made = (await owner.post("/api/v1/tokens", json={"name": "mine", "scopes": ["areas:read"]})).json()
    listed = (await owner.get("/api/v1/tokens?user=owner@example.org")).json()["items"]
    assert {token["name"] for token in listed} == {"owner", "mine"}
    assert made["token"] not in str(listed)
    assert (await owner.delete(f"/api/v1/tokens/{made['id']}")).status_code == 204
    assert (await connect(made["token"]).get("/api/v1/me")).status_code == 401


async def test_changes_stand_in_the_audit_log(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    await owner.post(
        "/api/v1/users", json={"email": "n@example.org", "role": "viewer", "password": "another good password"}
    )
    entries = (await owner.get("/api/v1/audit")).json()["items"]
    assert [(entry["verb"], entry["object"]) for entry in entries] == [
        ("user.create", "n@example.org"), ("area.create", "hello"),
    ]  # fmt: skip
    assert entries[0]["actor"] == "owner@example.org"
    assert entries[0]["address"] == "198.51.100.7"
    assert "another good password" not in str(entries)
    check = (await owner.get("/api/v1/audit/check")).json()
    assert (check["ok"], check["broken"], check["entries"]) == (True, None, 2)


# --- machines ---------------------------------------------------------------------------------------------------------


async def test_about_says_exactly_this(connect: Connect, clock: FakeClock) -> None:
    answer = await connect(host="areabox").get("/about.json")
    assert answer.status_code == 200
    about = answer.json()
    assert set(about) == {"client", "server"}
    assert about["client"] == {"host": "198.51.100.7"}
    assert set(about["server"]) == {"current_time", "services"}
    assert about["server"]["current_time"] == clock.now_ms() // 1000
    for service in about["server"]["services"]:
        assert set(service) == {"name", "actions", "reactions"}
        for operation in service["actions"] + service["reactions"]:
            assert set(operation) == {"name", "description"}
            assert operation["description"]
    webhook = next(service for service in about["server"]["services"] if service["name"] == "webhook")
    assert [action["name"] for action in webhook["actions"]] == ["received"]


async def test_health_and_readiness(connect: Connect, running: App) -> None:
    assert (await connect(host="anything.example").get("/health")).json() == {"status": "alive"}
    assert (await connect().get("/ready")).json() == {"status": "ready"}
    assert "database" in (await connect(address="127.0.0.1").get("/ready")).json()["probes"]


async def test_a_part_that_fails_makes_it_unready(app: App, connect: Connect) -> None:
    answer = await connect(address="127.0.0.1").get("/ready")  # no loop runs in this process
    assert answer.status_code == 503
    assert answer.json()["status"] == "not ready"


async def test_metrics_are_prometheus_text(owner: httpx2.AsyncClient, running: App, hello: dict[str, Any]) -> None:
    await owner.post("/api/v1/areas/hello/runs?wait=10", json={})
    answer = await owner.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'areabox_runs_total{state="done"} 1.0' in answer.text


async def test_a_few_numbers_for_dashboards(owner: httpx2.AsyncClient, running: App, hello: dict[str, Any]) -> None:
    await owner.post("/api/v1/areas/hello/runs?wait=10", json={})
    numbers = (await owner.get("/api/v1/summary")).json()
    assert numbers == {"areas": 1, "on": 1, "runs_24h": 1, "failed_24h": 0, "attention": 0, "queue": 0}


# --- answers have the shapes that are described -----------------------------------------------------------------------


async def test_answers_are_as_described(
    owner: httpx2.AsyncClient, connect: Connect, running: App, hello: dict[str, Any]
) -> None:
    run = (await owner.post("/api/v1/areas/hello/runs?wait=10", json={"trigger": {"json": 1}})).json()
    event = (await owner.post("/api/v1/events", json={"action": "webhook.received"})).json()
    await running.outbox.message((await owner.get("/api/v1/me")).json()["id"], "Hi", "there", "", "key")
    described: dict[str, Any] = {
        "/api/v1/areas": Page[shapes.AreaView],
        "/api/v1/areas/hello": shapes.AreaView,
        "/api/v1/areas/hello/versions": Page[shapes.VersionView],
        "/api/v1/areas/hello/versions/1": shapes.VersionDocument,
        "/api/v1/runs": Page[shapes.RunLine],
        f"/api/v1/runs/{run['id']}": shapes.RunView,
        "/api/v1/events": Page[shapes.EventLine],
        f"/api/v1/events/{event['id']}": shapes.EventView,
        "/api/v1/services": Page[shapes.ServiceView],
        "/api/v1/services/webhook": shapes.ServiceView,
        "/api/v1/connections": Page[shapes.ConnectionView],
        "/api/v1/me": shapes.MeView,
        "/api/v1/users": Page[shapes.AccountView],
        "/api/v1/tokens": Page[shapes.TokenView],
        "/api/v1/audit": Page[shapes.AuditView],
        "/api/v1/notices": Page[shapes.NoticeView],
        "/api/v1/summary": shapes.SummaryView,
        "/api/v1/system": shapes.SystemView,
    }
    for path, type_ in described.items():
        answer = await owner.get(path)
        assert answer.status_code == 200, (path, answer.text)
        msgspec.json.decode(answer.content, type=type_)
        if type_ != shapes.AreaView:
            _holds(answer.json(), msgspec.to_builtins(msgspec.json.decode(answer.content, type=type_)), path)
    [notice] = (await owner.get("/api/v1/notices?unseen=true")).json()["items"]
    assert (await owner.post(f"/api/v1/notices/{notice['id']}/seen")).status_code == 204
    assert (await owner.get("/api/v1/notices?unseen=true")).json()["items"] == []


def _holds(sent: Any, read: Any, path: str) -> None:
    """Assert that no field that was sent is missing in what was read by the described type."""
    if isinstance(sent, dict) and isinstance(read, dict):
        if "when" in sent:  # a document may hold more than is described
            return
        assert set(sent) == set(read), path
        for key in sent:
            _holds(sent[key], read[key], f"{path} {key}")
    elif isinstance(sent, list) and isinstance(read, list):
        for one, other in zip(sent, read, strict=True):
            _holds(one, other, path)


async def test_the_description_is_valid_and_complete(connect: Connect, app: App) -> None:
    document = (await connect(address="127.0.0.1").get("/api/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    text = str(document)
    for name in set(re.findall(r"#/components/schemas/([\w.-]+)", text)):
        assert name in document["components"]["schemas"], name
    for path in ("/api/v1/areas", "/api/v1/runs/{id}", "/hooks/{key}", "/about.json", "/ready", "/metrics"):
        assert path in document["paths"]
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]


async def test_the_schema_of_the_document_is_open_and_knows_the_operations(connect: Connect) -> None:
    answer = await connect(host="editor.example").get("/api/v1/schema/area.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/schema+json")
    assert "webhook.received" in answer.text


async def test_it_is_paused_and_goes_on(running: App, owner: httpx2.AsyncClient) -> None:
    assert (await owner.post("/api/v1/system/pause")).json()["facts"]["paused"] is True
    assert (await owner.post("/api/v1/system/resume")).json()["facts"]["paused"] is False

"""`github` and `gitea`, against a replay of their documented API and deliveries on the loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from areabox.errors import AuthExpired, NotAllowedError, Permanent, RateLimited
from areabox.sdk import Delivery, github_webhook, hmac_sha256
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.calls import label, poll, react
from tests.services.loopback import Connection, serving

TOKEN = "github_pat_11AAAA"
REPO = "ann/home"
ANN = {"id": 7, "login": "ann", "html_url": "https://github.com/ann"}
ISSUE = {
    "id": 1, "number": 3, "title": "It breaks", "body": None, "user": ANN, "state": "open", "labels": [{"name": "bug"}],
    "html_url": "https://github.com/ann/home/issues/3", "created_at": "2026-01-01T12:00:00Z",
}  # fmt: skip
PULL = ISSUE | {"id": 2, "number": 4, "draft": False, "head": {"ref": "mend"}, "base": {"ref": "main"}}
RELEASE = {
    "id": 5, "tag_name": "v1", "name": "One", "body": "New", "draft": False, "prerelease": False, "author": ANN, "html_url": "https://x.example.org/v1",
    "published_at": "2026-01-01T12:00:00Z", "assets": [{"browser_download_url": "https://x.example.org/v1.zip"}],
}  # fmt: skip
RUN = {
    "id": 8, "name": "Build", "head_branch": "main", "head_sha": "c1", "conclusion": "failure", "display_title": "Mend", "actor": ANN,
    "run_attempt": 1, "run_number": 9, "html_url": "https://github.com/ann/home/actions/runs/8",
}  # fmt: skip


def commit(sha: str) -> dict[str, Any]:
    return {"sha": sha, "html_url": f"https://x.example.org/{sha}", "commit": {"message": f"m {sha}", "author": {"name": "Ann"}}}


class Forge:
    """A server with one repository; `lists` are by path, newest first."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.tokens: list[str] = []
        self.unchanged = 0
        self.lists: dict[str, Any] = {
            "commits": [], "issues": [PULL | {"pull_request": {"url": "x"}}, ISSUE], "pulls": [PULL],
            "releases": [RELEASE | {"id": 6, "draft": True}, RELEASE | {"id": 7, "prerelease": True}, RELEASE],
            "stargazers": [ANN], "events": [{"type": "PushEvent"}, {"type": "WatchEvent", "actor": ANN}],
            "actions/runs": {"workflow_runs": [RUN | {"id": 10, "conclusion": "success"}, RUN, RUN | {"id": 7, "name": "Lint"}]}, "hooks": [],
        }  # fmt: skip

    async def __call__(self, connection: Connection) -> None:
        while True:
            request = await connection.read()
            parts = urlsplit(request.path)
            path = parts.path.removeprefix("/api/v1")
            body = msgspec.json.decode(request.body) if request.body else None
            self.asked.append((f"{request.method} {path}", dict(parse_qsl(parts.query)), body))
            self.tokens.append(request.headers.get("authorization", ""))
            status, answer, headers = self.answer(request.method, path.removeprefix(f"/repos/{REPO}/"), body)
            content = msgspec.json.encode(answer)
            etag = f'ETag: "{hash(content)}"\r\n'
            if request.method == "GET" and request.headers.get("if-none-match") == etag[6:-2]:
                self.unchanged += 1
                status, content = "304 Not Modified", b""
            await connection.answer(content, status, headers + etag)

    def answer(self, method: str, path: str, body: Any) -> tuple[str, Any, str]:
        if TOKEN not in self.tokens[-1]:
            return "401 Unauthorized", {"message": "Bad credentials"}, ""
        match method, path:
            case "GET", "/user":
                return "200 OK", ANN, ""
            case "GET", "/user/repos":
                return "200 OK", [{"full_name": REPO}, {"full_name": "ann/other"}], ""
            case "GET", _ if path in self.lists:
                return "200 OK", self.lists[path], ""
            case "POST", "issues" if body["title"] == "too many":
                return "403 Forbidden", {"message": "secondary rate limit"}, "x-ratelimit-remaining: 0\r\nretry-after: 60\r\n"
            case "POST", "issues" | "hooks":
                return "201 Created", {"id": 11, "number": 12, "html_url": "https://x.example.org/12"}, ""
            case "POST", "issues/3/comments":
                return "201 Created", {"id": 13, "html_url": "https://x.example.org/3#13"}, ""
            case "PATCH", "issues/3":
                return "200 OK", ISSUE | {"state": "closed"}, ""
            case ("POST", "issues/3/labels" | "dispatches" | "actions/workflows/build.yml/dispatches") | ("DELETE", "hooks/11"):
                return "204 No Content", None, ""
        return "404 Not Found", {"message": "Not Found"}, ""


@pytest.fixture
async def forge() -> AsyncIterator[Any]:
    made: Any = Forge()
    async with serving(made) as server:
        made.url = server.url("")
        yield made


@pytest.fixture(params=["github", "gitea"])
async def at(request: pytest.FixtureRequest, forge: Any, connections: Connections) -> SimpleNamespace:
    """One of the two, and a connection to it."""
    account = (await connections.create("ann", request.param, {"url": forge.url, "key": TOKEN}, name="f")).id
    return SimpleNamespace(name=request.param, account=account)


@pytest.fixture
async def github(forge: Any, connections: Connections) -> str:
    return (await connections.create("ann", "github", {"url": forge.url, "key": TOKEN}, name="g")).id


async def test_a_connection_is_named_after_its_user(services: Services, at: Any, forge: Any, connections: Connections) -> None:
    assert await label(services, at.account) == "ann"
    assert forge.tokens == [f"{'Bearer' if at.name == 'github' else 'token'} {TOKEN}"]
    wrong = (await connections.create("ann", at.name, {"url": forge.url, "key": "x"}, name="w")).id
    with pytest.raises(AuthExpired):
        await label(services, wrong)
    found = await services.options("action", f"{at.name}.push", "repo", {}, owner="ann", connection=at.account, q="HOME")
    assert [one.value for one in found] == [REPO]


async def test_issues_pull_requests_and_releases_are_listed_each_for_itself(services: Services, at: Any, forge: Any) -> None:
    async def seen(action: str, **params: Any) -> list[Any]:
        return [event["id"] for event in await poll(services, f"{at.name}.{action}", {}, at.account, repo=REPO, **params)]

    assert await poll(services, f"{at.name}.new_issue", {}, at.account, repo=REPO) == [
        {
            "id": "1", "number": 3, "title": "It breaks", "body": "", "author": "ann", "state": "open", "labels": ["bug"],
            "url": "https://github.com/ann/home/issues/3", "created": "2026-01-01T12:00:00Z",
        }
    ]  # fmt: skip
    assert await seen("new_pull_request", base="main") == ["2"]
    assert await seen("new_pull_request", base="other") == []
    assert await seen("new_release") == ["5"]
    assert await seen("new_release", prereleases=True) == ["5", "7"]
    assert await seen("new_star") == ["7"]


async def test_what_has_not_changed_is_not_sent_again(services: Services, at: Any, forge: Any) -> None:
    cursor: dict[str, Any] = {}
    for expected in (1, 0):
        assert len(await poll(services, f"{at.name}.new_issue", cursor, at.account, repo=REPO)) == expected
    assert forge.unchanged == 1


async def test_what_was_pushed_between_two_polls_is_one_push(services: Services, at: Any, forge: Any) -> None:
    cursor: dict[str, Any] = {}
    assert await poll(services, f"{at.name}.push", cursor, at.account, repo=REPO) == []
    forge.lists["commits"] = [commit("c1")]
    (first,) = await poll(services, f"{at.name}.push", cursor, at.account, repo=REPO)
    forge.lists["commits"] = [commit("c3"), commit("c2"), commit("c1")]
    (push,) = await poll(services, f"{at.name}.push", cursor, at.account, repo=REPO)
    assert (first["sha"], push["id"], push["message"]) == ("c1", " c3", "m c3")
    assert [one["sha"] for one in push["commits"]] == ["c2", "c3"]


async def test_only_failed_runs_fire(services: Services, github: str) -> None:
    found = await poll(services, "github.workflow_failed", {}, github, repo=REPO, workflow="Build")
    assert [(one["id"], one["workflow"], one["actor"]) for one in found] == [("8.1", "Build", "ann")]


async def test_everything_is_done_as_documented(services: Services, at: Any, forge: Any) -> None:
    async def done(reaction: str, **params: Any) -> Any:
        forge.asked.clear()
        found = await react(services, f"{at.name}.{reaction}", at.account, repo=REPO, **params)
        return found, forge.asked[0][0].replace(f"/repos/{REPO}", ""), forge.asked[0][2]

    made = {"id": 11, "number": 12, "url": "https://x.example.org/12"}
    assert await done("create_issue", title="T", body="B") == (made, "POST /issues", {"title": "T", "body": "B"})
    said = {"id": 13, "number": 3, "url": "https://x.example.org/3#13"}
    assert await done("comment", number=3, body="B") == (said, "POST /issues/3/comments", {"body": "B"})
    assert (await done("close_issue", number=3))[1:] == ("PATCH /issues/3", {"state": "closed"})
    assert await done("label", number=3, labels=["bug"]) == (None, "POST /issues/3/labels", {"labels": ["bug"]})
    assert await done("unlabel", number=3, label="a b") == (None, "DELETE /issues/3/labels/a%20b", None)
    run = await done("dispatch_workflow", workflow="build.yml", inputs={"a": "b"})
    assert run == (None, "POST /actions/workflows/build.yml/dispatches", {"ref": "main", "inputs": {"a": "b"}})
    with pytest.raises(Permanent, match="404"):
        await done("comment", number=4, body="B")
    with pytest.raises(RateLimited) as refused:
        await done("create_issue", title="too many")
    assert refused.value.retry_after_s == 60


async def test_workflows_listen_to_events_of_ones_own(services: Services, forge: Any, github: str) -> None:
    await react(services, "github.dispatch_repository", github, repo=REPO, event="deploy", payload={"to": "home"})
    assert forge.asked[0] == (f"POST /repos/{REPO}/dispatches", {}, {"event_type": "deploy", "client_payload": {"to": "home"}})


async def test_deliveries_are_asked_for_and_ended(services: Services, at: Any, forge: Any) -> None:
    who: dict[str, Any] = {"owner": "ann", "connection": at.account}
    address = "https://box.example.org/hooks/k"
    state = await services.subscribe(f"{at.name}.new_issue", {"repo": REPO}, url=address, secret="s", **who)
    method, _, body = forge.asked[-1]
    config = {"url": address, "secret": "s", "content_type": "json"}
    name = {"name": "web"} if at.name == "github" else {"type": "gitea"}
    assert (state, method, body) == (11, f"POST /repos/{REPO}/hooks", name | {"active": True, "events": ["issues"], "config": config})
    await services.unsubscribe(f"{at.name}.new_issue", {"repo": REPO}, state=state, **who)
    assert forge.asked[-1][0] == f"DELETE /repos/{REPO}/hooks/11"


async def test_a_delivery_is_the_event_that_the_poll_would_give(services: Services, at: Any, forge: Any) -> None:
    def told(action: str, body: Any, **params: Any) -> list[Any]:
        content = msgspec.json.encode(body)
        verifier = github_webhook() if at.name == "github" else hmac_sha256("X-Gitea-Signature")
        assert verifier.sign is not None
        delivery = Delivery(body=content, json=body, headers=verifier.sign(content, "s", 0))
        with pytest.raises(NotAllowedError):
            services.delivery(f"{at.name}.{action}", {"repo": REPO} | params, delivery, "other")
        return services.delivery(f"{at.name}.{action}", {"repo": REPO} | params, delivery, "s")

    assert told("new_issue", {"action": "opened", "issue": ISSUE}) == await poll(services, f"{at.name}.new_issue", {}, at.account, repo=REPO)
    assert told("new_issue", {"action": "closed", "issue": ISSUE}) == told("new_issue", {"action": "opened", "issue": ISSUE}, label="x") == []
    assert told("new_pull_request", {"action": "opened", "pull_request": PULL}) == await poll(services, f"{at.name}.new_pull_request", {}, at.account, repo=REPO)
    assert told("new_release", {"action": "published", "release": RELEASE}) == await poll(services, f"{at.name}.new_release", {}, at.account, repo=REPO)
    forge.lists["commits"] = [commit("c1")]
    pushed = [{"id": "c1", "message": "m c1", "author": {"name": "Ann"}, "url": "https://x.example.org/c1"}]
    body = {"ref": "refs/heads/main", "repository": {"default_branch": "main"}, "commits": pushed}
    assert told("push", body) == await poll(services, f"{at.name}.push", {}, at.account, repo=REPO)
    assert told("push", body | {"ref": "refs/heads/other"}) == told("push", body, branch="other") == []
    if at.name == "github":
        assert told("new_star", {"action": "created", "sender": ANN}) == await poll(services, "github.new_star", {}, at.account, repo=REPO)
        runs = await poll(services, "github.workflow_failed", {}, at.account, repo=REPO, workflow="Build")
        assert told("workflow_failed", {"action": "completed", "workflow_run": RUN}) == runs

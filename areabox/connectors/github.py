"""GitHub: repositories, issues, releases and workflows, at github.com or GitHub Enterprise (docs.github.com/en/rest).

Where areabox has a public address the events are delivered by a webhook of the repository; elsewhere, and to catch up,
they are polled by conditional requests, which cost nothing of the rate limit.

Tested against a replay of its documented API and deliveries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from areabox.connectors import _forge
from areabox.connectors._forge import PAGE, Branch, Dialect, Repo, Star, inside, listed, text
from areabox.sdk import Connector, Context, Delivery, Event, Field, Key, Limits, Transient, Url, github_webhook

github = Connector(
    "github",
    "GitHub",
    about="Repositories, issues, releases and workflows.",
    icon="github",
    docs="https://docs.github.com/en/rest",
    base=lambda auth: auth.url,
    limits=Limits("5000/h", concurrency=4),
    auth=Key(
        "Access token",
        help="A fine-grained token with the rights Contents, Issues, Pull requests, Actions and Webhooks.",
        url=(Annotated[Url, Field("API", "Of GitHub Enterprise: https://…/api/v3")], "https://api.github.com"),
    ),
)
FAILED = ("failure", "timed_out", "startup_failure")


class Run(Event):
    """A run of a workflow that failed."""

    workflow: str
    branch: str = ""
    sha: str = ""
    conclusion: str = ""
    title: str = ""
    actor: str = ""
    attempt: int = 1
    number: int = 0
    url: str = ""


@github.test
async def test(ctx: Context) -> str:
    """Return the login of the token's owner."""
    return str((await ctx.http.get("/user")).json()["login"])


@github.webhook(verify=github_webhook())
async def hook(ctx: Context, repo: str, **_: Any) -> Any:
    """Ask for deliveries; where the address is known already, its hook is taken over."""
    config = {"url": ctx.url, "secret": ctx.secret, "content_type": "json"}
    asked = {"name": "web", "active": True, "events": ctx.events, "config": config}
    made = await ctx.http.post(f"/repos/{repo}/hooks", json=asked, ok=(422,))
    if made.status != 422:  # "Hook already exists on this repository"
        return made.json()["id"]
    async for one in ctx.http.pages(f"/repos/{repo}/hooks", params={"per_page": 100}):
        if inside(one, "config", "url") == ctx.url:
            return one["id"]
    raise Transient(f"GitHub took no hook for {repo}: {made.text[:200]}")


@hook.unsubscribe
async def end(ctx: Context, repo: str, **_: Any) -> None:
    """End the deliveries."""
    await ctx.http.delete(f"/repos/{repo}/hooks/{ctx.state}", ok=(404,))


_forge.declare(
    github,
    Dialect(
        size="per_page",
        issues={"sort": "created", "direction": "desc"},
        pulls={"sort": "created", "direction": "desc"},
    ),
    hook,
)


@github.action(
    "New star", poll="30m", sentence="somebody stars {repo}", sample=Star(id="1", user="ann", url="https://github.com/ann")
)  # fmt: skip
async def new_star(ctx: Context, repo: Repo) -> AsyncIterator[Star]:
    """Fires when somebody stars a repository, once for each person."""
    found = listed((await ctx.http.get(f"/repos/{repo}/events", params={"per_page": 100}, conditional=True)).json())
    for one in reversed(found):
        if one.get("type") == "WatchEvent" and inside(one, "actor", "id"):
            login = text(inside(one, "actor", "login"))
            yield Star(id=text(inside(one, "actor", "id")), user=login, url=f"https://github.com/{login}")


@new_star.webhook(hook, "star", sample={"action": "created", "sender": {"id": 1, "login": "ann"}})
def starred(delivery: Delivery, repo: str) -> Iterator[Star]:
    """Read a delivery."""
    del repo
    if inside(delivery.json, "action") == "created" and inside(delivery.json, "sender", "id"):
        sender = delivery.json["sender"]
        login = text(sender.get("login"))
        yield Star(id=text(sender["id"]), user=login, url=f"https://github.com/{login}")


@github.action(
    "Workflow failed", poll="5m", sentence="a workflow of {repo} fails",
    sample=Run(id="30433642.1", workflow="Build", branch="main", sha="6dcb09b5b57875f334f61aebed695e2e4193db5e",
               conclusion="failure", title="Mend it", actor="ann", number=562,
               url="https://github.com/owner/name/actions/runs/30433642"),
)  # fmt: skip
async def workflow_failed(
    ctx: Context, repo: Repo, branch: Branch = "",
    workflow: Annotated[str, Field("Workflow", "Its name; empty: any.")] = "",
) -> AsyncIterator[Run]:  # fmt: skip
    """Fires when a run of a workflow ends in a failure, and for each new attempt that does."""
    params = {"status": "completed", "branch": branch or None, "per_page": PAGE}
    answer = (await ctx.http.get(f"/repos/{repo}/actions/runs", params=params, conditional=True)).json()
    for one in reversed(listed(inside(answer, "workflow_runs"))):
        if _wanted(one, branch, workflow):
            yield _run(one)


@workflow_failed.webhook(
    hook, "workflow_run",
    sample={"action": "completed",
            "workflow_run": {"id": 1, "name": "abc", "conclusion": "failure", "head_branch": "main"}},
)  # fmt: skip
def failed(delivery: Delivery, repo: str, branch: str = "", workflow: str = "") -> Iterator[Run]:
    """Read a delivery."""
    del repo
    found = _forge.delivered(delivery, "workflow_run", ("completed",))
    if found and _wanted(found, branch, workflow):
        yield _run(found)


@github.reaction("Tell a repository", sentence="send {event} to {repo}")
async def dispatch_repository(
    ctx: Context,
    repo: Repo,
    event: Annotated[str, Field("Event", "What repository_dispatch names.", min_length=1, max_length=100)],
    payload: Annotated[dict[str, Any] | None, Field("Payload", "Up to 10 fields.")] = None,
) -> None:  # fmt: skip
    """Send an event of your own to the workflows of a repository."""
    await ctx.http.post(f"/repos/{repo}/dispatches", json={"event_type": event, "client_payload": payload or {}})


def _wanted(found: dict[str, Any], branch: str, workflow: str) -> bool:
    fits = branch in ("", text(found.get("head_branch"))) and workflow in ("", text(found.get("name")))
    return fits and found.get("conclusion") in FAILED


def _run(found: dict[str, Any]) -> Run:
    attempt = int(found.get("run_attempt") or 1)
    return Run(
        id=f"{found.get('id')}.{attempt}", workflow=text(found.get("name")), branch=text(found.get("head_branch")),
        sha=text(found.get("head_sha")), conclusion=text(found.get("conclusion")),
        title=text(found.get("display_title")), actor=text(inside(found, "actor", "login")), attempt=attempt,
        number=int(found.get("run_number") or 0), url=text(found.get("html_url")),
    )  # fmt: skip

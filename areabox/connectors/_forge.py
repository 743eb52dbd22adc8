"""What have GitHub and Gitea in common? What happens in a repository, and what is done there.

Their API is the same in shape (Gitea follows GitHub's): `declare` gives a connector all of it, and a `Dialect` says
where they differ. The events have the same ids by polling and by delivery.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from areabox.sdk import Connector, Context, Delivery, Event, Field, Hook, Option, Text, Transient

ADDED = ("opened", "created", "published")
PAGE = 50  # the newest of a list; what is more between two polls is missed
COMMITS_MAX = 20  # that a push lists


class Dialect(msgspec.Struct, frozen=True):
    """How a forge asks for `PAGE` items at a time, and for the newest first."""

    size: str
    issues: dict[str, Any]
    pulls: dict[str, Any]


class Commit(msgspec.Struct):
    """A commit of a push."""

    sha: str
    message: str = ""
    author: str = ""
    url: str = ""


class Push(Event):
    """Commits that were pushed to a branch. `sha message author url` are those of the newest one."""

    branch: str  # empty: the default branch, where it was polled
    sha: str
    message: str = ""
    author: str = ""
    url: str = ""
    commits: tuple[Commit, ...] = ()  # oldest first, at most 20


class Issue(Event):
    """An issue."""

    number: int
    title: str
    body: str = ""
    author: str = ""
    state: str = ""
    labels: tuple[str, ...] = ()
    url: str = ""
    created: str = ""


class Pull(Event):
    """A pull request. `branch` is to be merged into `base`."""

    number: int
    title: str
    body: str = ""
    author: str = ""
    state: str = ""
    draft: bool = False
    labels: tuple[str, ...] = ()
    branch: str = ""
    base: str = ""
    url: str = ""
    created: str = ""


class Release(Event):
    """A release that was published."""

    tag: str
    name: str = ""
    body: str = ""
    author: str = ""
    prerelease: bool = False
    url: str = ""
    published: str = ""
    files: tuple[str, ...] = ()  # addresses


class Made(msgspec.Struct):
    """An issue or a comment as the forge made it. `number` is that of the issue."""

    id: int
    number: int
    url: str = ""


class Star(Event):
    """Somebody who starred a repository."""

    user: str
    url: str = ""


async def _repos(ctx: Context, q: str) -> list[Option]:
    found = listed((await ctx.http.get("/user/repos", params={"per_page": 100, "limit": 100, "sort": "pushed"})).json())
    names = [text(one.get("full_name")) for one in found]
    return [Option(name, name) for name in names if q.lower() in name.lower()]


Repo = Annotated[
    str,
    Field(
        "Repository", options=_repos, pattern=r"^[\w.-]{1,100}/[\w.-]{1,100}$", placeholder="owner/name",
        example="owner/name",
    ),
]  # fmt: skip
Branch = Annotated[str, Field("Branch", "Empty: the default one.", pattern=r"^[^\s~^:?*\[\\]{0,250}$", example="main")]
Label = Annotated[str, Field("Label", "Only with this one.")]
Early = Annotated[bool, Field("Pre-releases, too")]
Number = Annotated[int, Field("Number", ge=1)]
TitleField = Annotated[str, Field("Title", min_length=1, max_length=255)]
Body = Annotated[Text, Field("Text", "Markdown.", max_length=65_000)]

ISSUE = Issue(
    id="1", number=7, title="It breaks", body="Steps: …", author="ann", state="open", labels=("bug",),
    url="https://forge.example.org/owner/name/issues/7", created="2026-01-01T12:00:00Z",
)  # fmt: skip
PULL = Pull(
    id="2", number=8, title="Mend it", body="By this …", author="ann", state="open", labels=("bug",), branch="mend",
    base="main", url="https://forge.example.org/owner/name/pulls/8", created="2026-01-01T12:00:00Z",
)  # fmt: skip
RELEASE = Release(
    id="3", tag="v1.2.0", name="1.2.0", body="What is new: …", author="ann", published="2026-01-01T12:00:00Z",
    url="https://forge.example.org/owner/name/releases/v1.2.0",
    files=("https://forge.example.org/owner/name/releases/download/v1.2.0/name.tar.gz",),
)  # fmt: skip
PUSH = Push(
    id="main 6dcb09b5b57875f334f61aebed695e2e4193db5e", branch="main", sha="6dcb09b5b57875f334f61aebed695e2e4193db5e",
    message="Mend it", author="Ann", url="https://forge.example.org/owner/name/commit/6dcb09b5",
    commits=(Commit("6dcb09b5b57875f334f61aebed695e2e4193db5e", "Mend it", "Ann"),),
)  # fmt: skip


def listed(found: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, none where nothing has changed; raises `Transient` for what is no list."""
    if found is None:
        return []
    if not isinstance(found, list):
        raise Transient("the answer is not the list that it should be")
    return [one for one in found if isinstance(one, dict)]


def text(value: Any) -> str:
    """Return a text, empty for null."""
    return "" if value is None else str(value)


def inside(found: Any, *names: str) -> Any:
    """Return what lies in objects of objects, None where it is missing."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def labels_of(found: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the labels of an issue or pull request."""
    return tuple(text(one.get("name")) for one in found.get("labels") or () if isinstance(one, dict))


def issue_of(found: dict[str, Any]) -> Issue:
    """Return an issue as the API and deliveries give it."""
    return Issue(
        id=text(found.get("id")), number=int(found.get("number") or 0), title=text(found.get("title")),
        body=text(found.get("body")), author=text(inside(found, "user", "login")), state=text(found.get("state")),
        labels=labels_of(found), url=text(found.get("html_url")), created=text(found.get("created_at")),
    )  # fmt: skip


def pull_of(found: dict[str, Any]) -> Pull:
    """Return a pull request as the API and deliveries give it."""
    return Pull(
        id=text(found.get("id")), number=int(found.get("number") or 0), title=text(found.get("title")),
        body=text(found.get("body")), author=text(inside(found, "user", "login")), state=text(found.get("state")),
        draft=found.get("draft") is True, labels=labels_of(found), branch=text(inside(found, "head", "ref")),
        base=text(inside(found, "base", "ref")), url=text(found.get("html_url")), created=text(found.get("created_at")),
    )  # fmt: skip


def release_of(found: dict[str, Any]) -> Release:
    """Return a release as the API and deliveries give it."""
    files = (inside(one, "browser_download_url") for one in found.get("assets") or ())
    return Release(
        id=text(found.get("id")), tag=text(found.get("tag_name")), name=text(found.get("name")),
        body=text(found.get("body")), author=text(inside(found, "author", "login")),
        prerelease=found.get("prerelease") is True, url=text(found.get("html_url")),
        published=text(found.get("published_at")), files=tuple(text(one) for one in files if one),
    )  # fmt: skip


def push_of(branch: str, commits: list[Commit]) -> Push:
    """Return a push of commits, the oldest first."""
    head = commits[-1]
    return Push(
        id=f"{branch} {head.sha}", branch=branch, sha=head.sha, message=head.message, author=head.author, url=head.url,
        commits=tuple(commits[-COMMITS_MAX:]),
    )  # fmt: skip


def listed_commit(found: dict[str, Any]) -> Commit:
    """Return a commit of a list."""
    return Commit(
        text(found.get("sha")), text(inside(found, "commit", "message")),
        text(inside(found, "commit", "author", "name")), text(found.get("html_url")),
    )  # fmt: skip


def pushed(delivery: Delivery, branch: str) -> Iterator[Push]:
    """Yield the push of a delivery, if it is one to the branch, or to the default one."""
    found = delivery.json if isinstance(delivery.json, dict) else {}
    wanted = branch or text(inside(found, "repository", "default_branch"))
    if not wanted or found.get("ref") != f"refs/heads/{wanted}":
        return
    given = found.get("commits")
    commits = [
        Commit(text(one.get("id")), text(one.get("message")), text(inside(one, "author", "name")), text(one.get("url")))
        for one in (given if isinstance(given, list) else ())
        if isinstance(one, dict) and one.get("id")
    ]
    if commits:
        yield push_of(branch, commits)


def delivered(delivery: Delivery, name: str, actions: tuple[str, ...] = ADDED) -> dict[str, Any] | None:
    """Return the object of a delivery whose action is one of these; None for any other, a ping included."""
    found = delivery.json if isinstance(delivery.json, dict) else {}
    inner = found.get(name)
    wanted = isinstance(inner, dict) and text(found.get("action")) in actions and inner.get("id")
    return inner if wanted else None


def declare(forge: Connector, dialect: Dialect, hook: Hook) -> None:
    """Give a connector what happens in repositories, and what is done there."""
    _pushes(forge, dialect, hook)
    _issues(forge, dialect, hook)
    _pulls(forge, dialect, hook)
    _releases(forge, dialect, hook)
    _writing(forge)
    _changing(forge)


def _pushes(forge: Connector, dialect: Dialect, hook: Hook) -> None:
    @forge.action("Push", poll="10m", sentence="somebody pushes to {repo}", sample=PUSH)
    async def push(ctx: Context, repo: Repo, branch: Branch = "") -> AsyncIterator[Push]:
        """Fires when commits are pushed to a branch; what is pushed between two polls is one push."""
        params = {"sha": branch or None, dialect.size: PAGE}
        answer = await ctx.http.get(f"/repos/{repo}/commits", params=params, conditional=True, ok=(409,))
        found = [] if answer.status == 409 else listed(answer.json())  # it is empty yet
        if not found:
            return
        commits = [listed_commit(one) for one in found]
        seen = next((at for at, one in enumerate(commits) if one.sha == ctx.cursor.get("head")), len(commits))
        ctx.cursor["head"] = commits[0].sha
        yield push_of(branch, commits[: max(seen, 1)][::-1])

    delivery = {
        "ref": "refs/heads/main",
        "repository": {"default_branch": "main"},
        "commits": [{"id": PUSH.sha, "message": "Mend it", "author": {"name": "Ann"}, "url": PUSH.url}],
    }

    @push.webhook(hook, "push", sample=delivery)
    def parse(delivery: Delivery, repo: str, branch: str = "") -> Iterator[Push]:
        del repo
        yield from pushed(delivery, branch)


def _issues(forge: Connector, dialect: Dialect, hook: Hook) -> None:
    @forge.action("New issue", poll="10m", sentence="an issue is opened in {repo}", sample=ISSUE)
    async def new_issue(ctx: Context, repo: Repo, label: Label = "") -> AsyncIterator[Issue]:
        """Fires when an issue is opened; pull requests are none."""
        params = dialect.issues | {"state": "all", dialect.size: PAGE, "labels": label or None}
        found = listed((await ctx.http.get(f"/repos/{repo}/issues", params=params, conditional=True)).json())
        for one in reversed(found):
            if not one.get("pull_request"):
                yield issue_of(one)

    sample = {"action": "opened", "issue": {"id": 1, "number": 7, "title": "It breaks", "labels": [{"name": "abc"}]}}

    @new_issue.webhook(hook, "issues", sample=sample)
    def parse(delivery: Delivery, repo: str, label: str = "") -> Iterator[Issue]:
        del repo
        found = delivered(delivery, "issue")
        if found and not found.get("pull_request") and (not label or label in labels_of(found)):
            yield issue_of(found)


def _pulls(forge: Connector, dialect: Dialect, hook: Hook) -> None:
    @forge.action("New pull request", poll="10m", sentence="a pull request is opened in {repo}", sample=PULL)
    async def new_pull_request(ctx: Context, repo: Repo, base: Branch = "") -> AsyncIterator[Pull]:
        """Fires when a pull request is opened; `base` is the branch that it is for, empty for any."""
        params = dialect.pulls | {"state": "all", dialect.size: PAGE}
        found = listed((await ctx.http.get(f"/repos/{repo}/pulls", params=params, conditional=True)).json())
        for one in map(pull_of, reversed(found)):
            if base in ("", one.base):
                yield one

    sample = {"action": "opened", "pull_request": {"id": 2, "number": 8, "title": "Mend it", "base": {"ref": "main"}}}

    @new_pull_request.webhook(hook, "pull_request", sample=sample)
    def parse(delivery: Delivery, repo: str, base: str = "") -> Iterator[Pull]:
        del repo
        found = delivered(delivery, "pull_request")
        if found and base in ("", text(inside(found, "base", "ref"))):
            yield pull_of(found)


def _releases(forge: Connector, dialect: Dialect, hook: Hook) -> None:
    @forge.action("New release", poll="30m", sentence="a release of {repo} is published", sample=RELEASE)
    async def new_release(ctx: Context, repo: Repo, *, prereleases: Early = False) -> AsyncIterator[Release]:
        """Fires when a release is published; drafts are none."""
        params = {dialect.size: PAGE}
        found = listed((await ctx.http.get(f"/repos/{repo}/releases", params=params, conditional=True)).json())
        for one in reversed(found):
            if not one.get("draft") and (prereleases or not one.get("prerelease")):
                yield release_of(one)

    @new_release.webhook(hook, "release", sample={"action": "published", "release": {"id": 3, "tag_name": "v1.2.0"}})
    def parse(delivery: Delivery, repo: str, *, prereleases: bool = False) -> Iterator[Release]:
        del repo
        found = delivered(delivery, "release", ("published",))
        if found and not found.get("draft") and (prereleases or not found.get("prerelease")):
            yield release_of(found)


MADE = Made(id=1, number=7, url="https://forge.example.org/owner/name/issues/7")


def _made(answer: Any, number: int = 0) -> Made:
    found = answer if isinstance(answer, dict) else {}
    return Made(int(found.get("id") or 0), number or int(found.get("number") or 0), text(found.get("html_url")))


def _writing(forge: Connector) -> None:
    @forge.reaction("Open an issue", sentence="open the issue {title} in {repo}", sample=MADE)
    async def create_issue(
        ctx: Context, repo: Repo, title: TitleField, body: Body = "",
        assignees: Annotated[list[str] | None, Field("Assignees", "Names of users.")] = None,
    ) -> Made:  # fmt: skip
        """Open an issue; label it by the reaction *Label an issue*."""
        asked: dict[str, Any] = {"title": title, "body": body}
        asked |= {"assignees": assignees} if assignees else {}
        return _made((await ctx.http.post(f"/repos/{repo}/issues", json=asked)).json())

    @forge.reaction("Comment", sentence="comment on {number} of {repo}", sample=MADE)
    async def comment(ctx: Context, repo: Repo, number: Number, body: Body) -> Made:
        """Comment on an issue or a pull request."""
        return _made(
            (await ctx.http.post(f"/repos/{repo}/issues/{number}/comments", json={"body": body})).json(), number
        )

    @forge.reaction("Run a workflow", sentence="run {workflow} of {repo}")
    async def dispatch_workflow(
        ctx: Context,
        repo: Repo,
        workflow: Annotated[str, Field("Workflow", "Its file.", pattern=r"^[\w.-]{1,200}$", placeholder="build.yml")],
        ref: Annotated[str, Field("Branch or tag", min_length=1)] = "main",
        *,
        inputs: Annotated[dict[str, str] | None, Field("Inputs", "As the workflow declares them.")] = None,
    ) -> None:
        """Run a workflow that listens to `workflow_dispatch`."""
        asked = {"ref": ref, "inputs": inputs or {}}
        await ctx.http.post(f"/repos/{repo}/actions/workflows/{workflow}/dispatches", json=asked)


def _changing(forge: Connector) -> None:
    @forge.reaction("Close an issue", sentence="close {number} of {repo}", effect="idempotent", sample=MADE)
    async def close_issue(ctx: Context, repo: Repo, number: Number) -> Made:
        """Close an issue, or a pull request without merging it."""
        return _made((await ctx.http.patch(f"/repos/{repo}/issues/{number}", json={"state": "closed"})).json(), number)

    @forge.reaction("Label an issue", sentence="label {number} of {repo}", effect="idempotent")
    async def label(
        ctx: Context,
        repo: Repo,
        number: Number,
        labels: Annotated[list[str], Field("Labels", "Names; those that it has stay.", example=["bug"], min_length=1)],
    ) -> None:
        """Add labels to an issue or a pull request."""
        await ctx.http.post(f"/repos/{repo}/issues/{number}/labels", json={"labels": labels})

    @forge.reaction("Take a label away", sentence="take {label} from {number} of {repo}", effect="idempotent")
    async def unlabel(ctx: Context, repo: Repo, number: Number, label: Annotated[str, Field(min_length=1)]) -> None:
        """Take a label away from an issue or a pull request; one that it has not is no error."""
        await ctx.http.delete(f"/repos/{repo}/issues/{number}/labels/{quote(label, safe='')}", ok=(404,))

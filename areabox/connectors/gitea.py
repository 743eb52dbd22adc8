"""Gitea and Forgejo: repositories, issues and releases on a server of your own (docs.gitea.com/api).

Where areabox has an address that the server reaches the events are delivered by a webhook of the repository; elsewhere,
and to catch up, they are polled.

Tested against a replay of its documented API and deliveries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from areabox.connectors import _forge
from areabox.connectors._forge import PAGE, Dialect, Repo, Star, text
from areabox.sdk import Connector, Context, Field, Key, Url, hmac_sha256

gitea = Connector(
    "gitea",
    "Gitea, Forgejo",
    about="Repositories, issues and releases on a server of your own.",
    icon="gitea",
    docs="https://docs.gitea.com/api/",
    base=lambda auth: f"{auth.url.rstrip('/')}/api/v1",
    auth=Key(
        "Access token",
        prefix="token ",
        help="With the rights issue and repository (read and write), and user (read).",
        url=Annotated[Url, Field("Server", placeholder="https://git.home")],
    ),
)


@gitea.test
async def test(ctx: Context) -> str:
    """Return the login of the token's owner."""
    return str((await ctx.http.get("/user")).json()["login"])


@gitea.webhook(verify=hmac_sha256("X-Gitea-Signature"), delivery_id="X-Gitea-Delivery")
async def hook(ctx: Context, repo: str, **_: Any) -> Any:
    """Ask for deliveries; where the address is known already, its hook is taken over."""
    async for one in ctx.http.pages(f"/repos/{repo}/hooks", style="page", size=PAGE, params={"limit": PAGE}):
        if _forge.inside(one, "config", "url") == ctx.url:
            return one["id"]
    config = {"url": ctx.url, "secret": ctx.secret, "content_type": "json"}
    asked = {"type": "gitea", "active": True, "events": ctx.events, "config": config}
    return (await ctx.http.post(f"/repos/{repo}/hooks", json=asked)).json()["id"]


@hook.unsubscribe
async def end(ctx: Context, repo: str, **_: Any) -> None:
    """End the deliveries."""
    await ctx.http.delete(f"/repos/{repo}/hooks/{ctx.state}", ok=(404,))


_forge.declare(gitea, Dialect(size="limit", issues={"type": "issues"}, pulls={}), hook)


@gitea.action(
    "New star", poll="30m", sentence="somebody stars {repo}", sample=Star(id="1", user="ann", url="https://git.home/ann")
)  # fmt: skip
async def new_star(ctx: Context, repo: Repo) -> AsyncIterator[Star]:
    """Fires when somebody stars a repository, once for each person."""
    pages = ctx.http.pages(f"/repos/{repo}/stargazers", style="page", size=PAGE, params={"limit": PAGE})
    async for one in pages:
        if _forge.inside(one, "id"):
            yield Star(id=text(one["id"]), user=text(one.get("login")), url=text(one.get("html_url")))

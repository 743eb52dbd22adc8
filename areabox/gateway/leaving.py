"""What does somebody take along who leaves? Its profile, areas, connections, tokens, sessions and notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from areabox.gateway.api import connections, tokens
from areabox.gateway.routes import rfc3339

if TYPE_CHECKING:
    from areabox.gateway.parts import Parts
    from areabox.users.accounts import Account

PAGE: Final = 200
NOTICES_MAX: Final = 1_000


async def belongings(parts: Parts, account: Account) -> dict[str, Any]:
    """Return what is kept of an account: areas as YAML, connections and tokens without secrets, and the rest as it is.

    Runs and events are not among it: the API lists them, as far as they are kept.
    """
    actor = account.actor()
    return {
        "account": {
            "id": account.id, "email": account.email, "role": account.role, "name": account.name,
            "language": account.language, "timezone": account.timezone, "created": rfc3339(account.created),
            "seen": rfc3339(account.seen),
        },
        "areas": [{"area": slug, "text": text} for slug, text in await parts.areas.export(actor)],
        "connections": [connections.view(found) for found in await parts.connections.list(account.id, limit=10_000)],
        "tokens": [tokens.view(found) for found in await parts.tokens.list(account.id, limit=10_000)],
        "shares": [
            {"kind": share.kind, "name": share.name, "owner": share.owner, "account": share.account,
             "level": share.level}
            for share in await parts.people.shares.list(actor)
        ],
        "sessions": [
            {"agent": session.agent, "address": session.address, "created": rfc3339(session.created),
             "seen": rfc3339(session.seen)}
            for session in await parts.sessions.list(account.id)
        ],
        "notices": [
            {"title": notice["title"], "body": notice["body"], "at": rfc3339(notice["at"])}
            for notice in await parts.notices.list(account.id, limit=NOTICES_MAX)
        ],
    }  # fmt: skip


async def clear(parts: Parts, account: Account) -> None:
    """Remove an account with its areas and connections; raises ConflictError for the last owner."""
    await parts.accounts.refuse_last(account)
    actor = account.actor()
    while areas := await parts.areas.list(actor, limit=PAGE):
        for area in areas:
            await parts.areas.delete(actor, area["area"])
    while found := await parts.connections.list(account.id, limit=PAGE):
        for connection in found:
            await parts.connections.delete(account.id, connection.id)
    await parts.accounts.delete(account)

"""What is the next request when an answer redirects? Rules only, after the WHATWG's Fetch standard §4.4.

Another party gets nothing but what says how to answer: credentials, cookies and every header that areabox does not know
stay behind. So does what was typed: once a public service has redirected, only public addresses are left.
"""

from __future__ import annotations

import msgspec

from areabox.errors import Permanent
from areabox.services.addresses import Rights
from areabox.services.targets import Target, Targets, join_url, value_of
from areabox.services.wire import Header

AT_MOST = 5
STATUSES = frozenset({301, 302, 303, 307, 308})
_FOR_STRANGERS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "range", "user-agent"})
_OF_A_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location"})


class Hop(msgspec.Struct, frozen=True):
    """One request of a chain: what is sent, where to, and by which rights. `stranger`: not the party first asked."""

    method: str
    target: Target
    headers: list[tuple[str, str]]
    content: bytes | None
    rights: Rights
    stranger: bool = False


def following(hop: Hop, status: int, headers: list[Header], targets: Targets, *, was_public: bool) -> Hop | None:
    """Return the next request, or None if the answer does not redirect; raises `Permanent` for a broken one."""
    location = value_of(headers, b"location")
    if status not in STATUSES or not location:
        return None
    target = targets.read(join_url(hop.target.url, location.decode("utf-8", "replace")))
    if target.userinfo:
        raise Permanent(f"{hop.target.authority} redirects to an address with a password in it")
    method, content, kept = hop.method, hop.content, hop.headers
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method, content = "GET", None
        kept = [(name, value) for name, value in kept if name.lower() not in _OF_A_BODY]
    stranger = target.origin != hop.target.origin and not _only_more_secure(hop.target, target)
    if stranger:
        kept = [(name, value) for name, value in kept if name.lower() in _FOR_STRANGERS]
    rights = Rights(public_only=True) if was_public or hop.rights.public_only else hop.rights
    return Hop(method, target, kept, content, rights, stranger or hop.stranger)


def _only_more_secure(old: Target, new: Target) -> bool:
    """Tell whether the only change is from http to https, on the common ports: the same party."""
    return (old.scheme, old.port, new.scheme, new.port) == ("http", 80, "https", 443) and old.host == new.host

"""What do pages need beside HTML? A fixed set of files of `web/static`, read once; their addresses change with them."""

from __future__ import annotations

import functools
import gzip
import hashlib
from typing import Final

import msgspec

from areabox.errors import NotFoundError
from areabox.gateway.routes import Answer, Ask, Route, get
from areabox.resources import directory
from areabox.users.policy import PUBLIC

_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Asset(msgspec.Struct, frozen=True):
    """One file, as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str
    digest: str


@functools.cache
def assets() -> dict[str, Asset]:
    """Return all files by name."""
    found = {}
    for path in sorted((directory("web") / "static").iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            digest = hashlib.blake2b(content, digest_size=6).hexdigest()
            found[path.name] = Asset(content, gzip.compress(content, 9, mtime=0), _TYPES[path.suffix], digest)
    return found


def address(name: str) -> str:
    """Return the address of a file, which a browser may keep for good."""
    return f"/static/{name}?v={assets()[name].digest}"


async def show(ask: Ask, name: str) -> Answer:
    """Send a file."""
    asset = assets().get(name)
    if asset is None:
        raise NotFoundError(f"there is no file {name}")
    current = ask.query_string == f"v={asset.digest}".encode()
    headers = {"cache-control": "public, max-age=31536000, immutable" if current else "no-cache"}
    headers |= {"etag": f'"{asset.digest}"', "vary": "Accept-Encoding"}
    if "gzip" in ask.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Answer(value=asset.compressed, media_type=asset.media_type, headers=headers)
    return Answer(value=asset.content, media_type=asset.media_type, headers=headers)


async def icon(ask: Ask) -> Answer:
    """Send the icon that browsers ask for by themselves."""
    return await show(ask, "areabox.svg")


ROUTES: tuple[Route, ...] = (
    get("/static/{name}", show, PUBLIC),
    get("/favicon.ico", icon, PUBLIC),
)

"""S3: objects in buckets, at Amazon or at whoever speaks the same (MinIO, Ceph, Garage, R2, B2, rclone).

Buckets are named in the path, which all of them understand.

Tested against rclone 1.75 (`rclone serve s3`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors import _listing, _sigv4, _xml
from areabox.sdk import (
    Answer,
    AuthExpired,
    Connector,
    Context,
    Event,
    Field,
    Fields,
    Permanent,
    Secret,
    Text,
    Url,
    duration_ms,
)  # fmt: skip

s3 = Connector(
    "s3", "S3 storage", about="Objects in buckets, at Amazon or a server of your own.", icon="s3",
    docs="https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html", base=lambda auth: auth.endpoint,
    auth=Fields(
        "A server",
        endpoint=Annotated[Url, Field("Address", placeholder="https://s3.eu-central-1.amazonaws.com")],
        region=(Annotated[str, Field("Region", "Most servers of your own know us-east-1.")], "us-east-1"),
        access_key=Annotated[str, Field("Access key")],
        secret_key=Annotated[Secret, Field("Secret key")],
    ),
)  # fmt: skip

PAGES_MAX = 11  # of 1,000 objects
WEEK_MS = 7 * 86_400_000
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")

Bucket = Annotated[str, Field("Bucket", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$", placeholder="scans")]
Key = Annotated[
    str, Field("Key", "Its whole name, with the folders.", min_length=1, max_length=1024, placeholder="2026/a.pdf")
]
Prefix = Annotated[str, Field("Beginning with", "Empty: all of the bucket, up to 10,000 objects.", max_length=1024)]
Encoding = Literal["text", "base64"]


class Object(Event):
    """An object of a bucket."""

    bucket: str
    key: str
    name: str  # the last part of the key
    size: int
    modified: str  # RFC 3339
    etag: str


class Stored(msgspec.Struct):
    """An object that was stored."""

    key: str
    size: int
    etag: str = ""


SAMPLE = Object(
    id="2026/a.pdf@9b2cf535f27731c9", bucket="scans", key="2026/a.pdf", name="a.pdf", size=48213,
    modified="2026-01-01T12:00:00.000Z", etag="9b2cf535f27731c974343645a3985328",
)  # fmt: skip


def _lasts(text: str) -> None:
    if not 1_000 <= duration_ms(text) <= WEEK_MS:
        raise ValueError("must lie between a second and a week")


@s3.test
async def test(ctx: Context) -> str:
    """Ask for the buckets; a key that may not list them is fine as well."""
    try:
        await _ask(ctx, "GET", "/")
    except Permanent as error:
        if "AccessDenied" not in str(error):
            raise
    return f"{ctx.auth.access_key} at {ctx.auth.endpoint}"


@s3.action("New object", poll="5m", sentence="an object appears in {bucket}", sample=SAMPLE)
async def new_object(ctx: Context, bucket: Bucket, prefix: Prefix = "") -> AsyncIterator[Object]:
    """Fires for each object that was not in the bucket at the last look; not for one that was written over."""
    for found in _listing.news(ctx, await _listed(ctx, bucket, prefix), "new"):
        yield found


@s3.action("Object changed", poll="5m", sentence="an object of {bucket} changes", sample=SAMPLE)
async def changed_object(ctx: Context, bucket: Bucket, prefix: Prefix = "") -> AsyncIterator[Object]:
    """Fires for each object that holds something else than at the last look; not for new ones."""
    for found in _listing.news(ctx, await _listed(ctx, bucket, prefix), "changed"):
        yield found


@s3.reaction(
    "Store an object", sentence="store {key} in {bucket}", effect="idempotent",
    sample=Stored("2026/a.txt", 12, "fc3ff98e8c6a0d3087d515c0473f8677"),
)  # fmt: skip
async def put(
    ctx: Context, bucket: Bucket, key: Key, text: Annotated[Text, Field("Content")] = "",
    encoding: Annotated[Encoding, Field("The content is", "base64: for pictures and the like.")] = "text",
    content_type: Annotated[str, Field("Type", placeholder="text/plain", max_length=200)] = "",
) -> Stored:  # fmt: skip
    """Store an object, in the place of what was under its key."""
    content = _listing.written(text, encoding)
    kind = content_type or ("text/plain; charset=utf-8" if encoding == "text" else "application/octet-stream")
    answer = await _ask(ctx, "PUT", _path(bucket, key), content=content, headers={"Content-Type": kind})
    return Stored(key, len(content), answer.headers.get("etag", "").strip('"'))


@s3.reaction(
    "Get an object", sentence="get {key} of {bucket}", effect="read",
    sample=_listing.Content("2026/a.txt", 12, "text/plain", "fc3ff98e8c6a0d3087d515c0473f8677", "Hello world."),
)  # fmt: skip
async def get(
    ctx: Context, bucket: Bucket, key: Key,
    encoding: Annotated[Encoding, Field("Give it as", "base64: for pictures and the like.")] = "text",
) -> _listing.Content:  # fmt: skip
    """Give what an object of up to 10 MiB holds."""
    answer = await _ask(ctx, "GET", _path(bucket, key), max_bytes=_listing.READ_MAX)
    return _listing.shown(key, answer.content, answer.headers, encoding)


@s3.reaction("List objects", sentence="list {bucket}", effect="read", sample={"objects": [SAMPLE]})
async def list(ctx: Context, bucket: Bucket, prefix: Prefix = "") -> dict[str, Any]:
    """Give the objects of a bucket, in the order of their keys."""
    return {"objects": [found for _, _, found in await _listed(ctx, bucket, prefix)]}


@s3.reaction("Delete an object", sentence="delete {key} of {bucket}", effect="idempotent")
async def delete(ctx: Context, bucket: Bucket, key: Key) -> None:
    """Delete an object; it is no error if there is none."""
    await _ask(ctx, "DELETE", _path(bucket, key), ok=(404,))


@s3.reaction(
    "Make a link", sentence="make a link to {key} of {bucket}", effect="read",
    sample={"url": "https://s3.example.org/scans/a.pdf?X-Amz-Signature=…", "expires": "2026-01-02T12:00:00Z"},
)  # fmt: skip
async def presign(
    ctx: Context, bucket: Bucket, key: Key,
    lasts: Annotated[str, Field("For", "A week at most.", format="duration", check=_lasts, placeholder="1d")] = "1d",
    method: Annotated[Literal["GET", "PUT"], Field("To", "GET: to fetch it. PUT: to store it.")] = "GET",
) -> dict[str, Any]:  # fmt: skip
    """Make an address by which anybody who has it can fetch (or store) one object for some time. Nobody is asked."""
    expires = ctx.now + timedelta(milliseconds=duration_ms(lasts))
    url = _sigv4.address(ctx.auth, ctx.now, method, _base(ctx) + _path(bucket, key), duration_ms(lasts) // 1000)
    return {"url": url, "expires": f"{expires:%Y-%m-%dT%H:%M:%SZ}"}


async def _listed(ctx: Context, bucket: str, prefix: str) -> Any:
    """Return key, state and event of each object; raises `Permanent` where there are too many."""
    found: Any = []
    token = ""
    for _ in range(PAGES_MAX):
        params = {"list-type": "2", "prefix": prefix} | ({"continuation-token": token} if token else {})
        root = _xml.parse((await _ask(ctx, "GET", _path(bucket), params=params)).content, root="ListBucketResult")
        for one in _xml.every(root, "Contents"):
            key, etag = _xml.text(one, "Key"), _xml.text(one, "ETag").strip('"')
            if not key.endswith("/"):
                made = Object(
                    bucket=bucket, key=key, name=key.rpartition("/")[2], size=int(_xml.text(one, "Size") or 0),
                    modified=_xml.text(one, "LastModified"), etag=etag,
                )  # fmt: skip
                found.append((key, etag or made.modified, made))
        token = _xml.text(root, "NextContinuationToken")
        if not token:
            return found
    raise Permanent(f"there are more than {_listing.LISTED_MAX} objects; name a prefix that fewer begin with")


async def _ask(
    ctx: Context, method: str, path: str, *, params: dict[str, str] | None = None, content: bytes = b"", **options: Any
) -> Answer:
    """Send a signed request; raises as `ctx.http`, and `AuthExpired` where the keys are refused."""
    query = _sigv4.query_of(params or {})
    url = _base(ctx) + path + (f"?{query}" if query else "")
    signed = _sigv4.headers(ctx.auth, ctx.now, method, url, content)
    headers = options.pop("headers", {}) | signed
    try:
        return await ctx.http.request(method, url, content=content or None, headers=headers, **options)
    except Permanent as error:
        if any(code in str(error) for code in _REFUSED):
            raise AuthExpired(f"the server refused the keys: {error}") from error
        raise


def _base(ctx: Context) -> str:
    return str(ctx.auth.endpoint).rstrip("/")


def _path(bucket: str, key: str = "") -> str:
    return f"/{_sigv4.quoted(bucket)}/{_sigv4.quoted(key, safe='/')}" if key else f"/{_sigv4.quoted(bucket)}"

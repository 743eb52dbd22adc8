"""Secrets that are looked for everywhere afterwards, and a server and a connector that do their best to spread them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from pathlib import Path
from urllib.parse import quote

TRICKY = '/A+b"c&d%e\\f=g h'  # every encoding writes it in another way


def canary(kind: str) -> str:
    return f"cnry-{kind}{TRICKY}"


def shapes(secret: str) -> dict[str, set[bytes]]:
    """Return a secret in the five encodings; base64 wherever it begins within a longer text."""
    raw, found = secret.encode(), set[bytes]()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        core = encoded[4 if before else 0 : (len(raw) + before) // 3 * 4]
        found |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return {
        "raw": {raw},
        "url": {quote(secret, safe="").encode(), quote(secret).encode(), quote(secret, safe="~()*!'").encode()},
        "base64": found,
        "json": {json.dumps(secret)[1:-1].encode(), json.dumps(json.dumps(secret)[1:-1])[1:-1].encode()},
        "hex": {raw.hex().encode(), raw.hex().upper().encode()},
    }


def hits(data: bytes | str, secrets: dict[str, str]) -> list[str]:
    """Return which secrets stand in some data, and how they are written there."""
    held = data.encode() if isinstance(data, str) else data
    return [
        f"{kind} as {encoding}"
        for kind, secret in secrets.items()
        for encoding, wanted in shapes(secret).items()
        if any(shape in held for shape in wanted)
    ]


class Gossip:
    """A server that answers with everything it was told, in every encoding, under the status that the path names."""

    def __init__(self) -> None:
        self.heard: list[str] = []  # what came in its headers
        self.url = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in head.split("\r\n")[1:] if line}
                await reader.readexactly(int(fields.get("content-length", 0)))
                status = head.split(" ")[1].strip("/").partition("/")[0]
                writer.write(self._answer(fields, int(status) if status.isdigit() else 200))
        writer.close()

    def _answer(self, fields: dict[str, str], status: int) -> bytes:
        told = [value.removeprefix("Bearer ") for name, value in fields.items() if name in ("authorization", "x-api-key", "x-canary")]
        self.heard += told
        told += [base64.b64decode(value.removeprefix("Basic ")).decode() for value in told if value.startswith("Basic ")]
        told += [value.partition(":")[2] for value in told if ":" in value]
        lines = [shape.decode() for value in told for every in shapes(value).values() for shape in sorted(every)]
        body = json.dumps({"name": " ".join(lines), "lines": lines, "error": {"message": " ".join(lines)}, "pad": ["x" * 64] * 400}).encode()
        safe = quote(" ".join(told))
        head = [f"HTTP/1.1 {status} {' '.join(told)}", f"Content-Length: {len(body)}", "Content-Type: application/json", f"ETag: \"{' '.join(told)}\"",
                f"X-Told: {' '.join(told)}", f"Retry-After: {safe}", f'WWW-Authenticate: Bearer error="{safe}"', f"Last-Modified: {safe}"]  # fmt: skip
        if status in (302, 307):
            head.append(f"Location: /200/{safe}?told={safe}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body


CONNECTOR = '''"""Leaky: a connector that means no harm and does everything wrong."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from areabox.sdk import Connector, Context, Delivery, Event, Field, Fields, Option, Secret, Url, hmac_sha256

leaky = Connector("leaky", "Leaky", about="For tests.", base=lambda auth: auth.url,
                  auth=Fields(url=Url, token=Annotated[Secret, Field("Token")], bearer="token"))


class Said(Event):
    text: str
    more: Any = None


async def choices(ctx: Context, q: str) -> list[Option]:
    return [Option(ctx.auth.token, (await ctx.http.get("/200")).text[:200])]


@leaky.test
async def who(ctx: Context) -> str:
    ctx.log.warning("the token is %s", ctx.auth.token, extra={"token": ctx.auth.token, "auth": ctx.auth})
    return (await ctx.http.get("/200")).json()["name"]


@leaky.action("Said", poll="15m", sentence="said", sample=Said(id="1", text="hi"))
async def said(ctx: Context, how: str = "200") -> AsyncIterator[Said]:
    """Fires."""
    answer = await ctx.http.get("/" + how, conditional=True)
    ctx.cursor["seen"] = ctx.auth.token
    ctx.log.debug("polled %s %r", answer.headers, ctx.auth.token)
    yield Said(id=ctx.auth.token, text=answer.text, more={ctx.auth.token: [ctx.auth.token, dict(answer.headers)]})
    if how == "201":
        raise RuntimeError("poll " + ctx.auth.token)


@leaky.action("Told", hook=lambda params: hmac_sha256("X-Sign"), shared=False, sentence="told", sample=Said(text="hi"))
def told(delivery: Delivery, secret: Annotated[Secret, Field("Secret")] = "") -> Iterator[Said]:
    """Fires."""
    if delivery.json == "crash":
        raise RuntimeError("hook " + secret)
    yield Said(text="told")


@leaky.reaction("Do it", sentence="do it", effect="read")
async def do(ctx: Context, how: str = "", pick: Annotated[str, Field("Pick", options=choices)] = "",
             own: Annotated[Secret, Field("Own")] = "") -> Any:
    """Do it."""
    ctx.log.debug("doing it with %s", ctx.auth.token)
    if how == "crash":
        held = ctx.auth.token
        try:
            raise ValueError(held)
        except ValueError as error:
            raise RuntimeError(f"it broke: {held!r} {held.encode().hex()} {own}") from error
    answer = await ctx.http.post("/" + how, json={"own": own})
    return {"token": ctx.auth.token, ctx.auth.token: answer.text, "headers": dict(answer.headers), "url": answer.url}
'''


def install(data_dir: Path) -> None:
    folder = data_dir / "connectors"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "leaky.py").write_text(CONNECTOR)
    (folder / "leaky.py").chmod(0o600)

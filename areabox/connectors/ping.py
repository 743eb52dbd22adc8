"""Ping: is a machine, a port or a web page there, how fast, and for how long is its certificate good.

Tested against real ports, certificates and HTTP servers on the loopback.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from areabox.connectors import _echo
from areabox.sdk import Connector, Context, Event, Field, Transient, duration_ms

ping = Connector("ping", "Ping", about="Whether machines, ports and pages are there, and how fast.", icon="pulse")

TRY_S = 5.0
ECHO_S = 2.0
PORTS = (443, 80, 22)  # where a machine is knocked at if it cannot be asked by ICMP
EVERY_MS = (5_000, 86_400_000)
REMINDERS_DAYS = (7, 3, 1, 0)

Check = tuple[float | None, str]  # milliseconds, None if it is not there; and why not


def _check_every(text: str) -> None:
    low, high = EVERY_MS
    if not low <= duration_ms(text) <= high:
        raise ValueError("must lie between 5 seconds and a day")


Target = Annotated[
    str, Field("What", "A machine, machine:port, or an address that begins with https://.", format="target",
               placeholder="nas.home", example="nas.example.org:22")
]  # fmt: skip
Every = Annotated[str, Field("How often", format="duration", check=_check_every)]
Times = Annotated[int, Field("In a row", "How often before it counts.", ge=1, le=100)]


class Down(Event):
    """Something that is no longer there."""

    target: str
    error: str
    since: str  # when it was first missed, RFC 3339


class Up(Event):
    """Something that is there again."""

    target: str
    ms: float
    since: str  # when it was first missed
    down_s: int


class Slow(Event):
    """Something that answers slowly."""

    target: str
    ms: float


class Certificate(Event):
    """A certificate that is soon over."""

    target: str
    subject: str
    issuer: str
    expires: str  # RFC 3339
    days_left: int


class Checked(msgspec.Struct):
    """Whether something is there now."""

    up: bool
    ms: float | None = None
    error: str = ""


@ping.action(
    "Goes down", poll="1m", sentence="{target} goes down",
    sample=Down(id="1-down", target="nas.home", error="no answer", since="2026-01-01T12:00:00Z"),
)  # fmt: skip
async def down(ctx: Context, target: Target, every: Every = "1m", times: Times = 2) -> AsyncIterator[Down]:
    """Fires when something that was there is not, several times in a row.

    A page is there if its status is below 400, or it asks who you are. A machine is asked by ICMP where areabox may,
    else at its usual ports.
    """
    del every  # areabox itself knows how often
    turned, (_, error) = await _turned(ctx, target, times)
    if turned == "down":
        yield Down(id=_id(ctx, "down"), target=target, error=error, since=ctx.cursor["since"])


@ping.action(
    "Comes up", poll="1m", sentence="{target} is there again",
    sample=Up(id="1-up", target="nas.home", ms=0.4, since="2026-01-01T12:00:00Z", down_s=180),
)  # fmt: skip
async def up(ctx: Context, target: Target, every: Every = "1m", times: Times = 2) -> AsyncIterator[Up]:
    """Fires when something that was down is there again; `times` is how often it must be missed to count as down."""
    del every
    turned, (ms, _) = await _turned(ctx, target, times)
    if turned == "up":
        since = ctx.cursor["since"]
        down_s = round((ctx.now - datetime.fromisoformat(since)).total_seconds())
        yield Up(id=_id(ctx, "up"), target=target, ms=ms or 0.0, since=since, down_s=down_s)


@ping.action(
    "Is slow", poll="1m", sentence="{target} takes longer than {above}",
    sample=Slow(id="1-slow", target="https://example.org", ms=1240.5),
)  # fmt: skip
async def slow(
    ctx: Context, target: Target, above: Annotated[str, Field("Longer than", format="duration")] = "1s",
    every: Every = "1m", times: Times = 3,
) -> AsyncIterator[Slow]:  # fmt: skip
    """Fires when answers take too long, several times in a row; again after they were fast."""
    del every
    ms, _ = await _checked(ctx, target)
    is_slow = ms is not None and ms > duration_ms(above)
    ctx.cursor["row"] = min(ctx.cursor.get("row", 0) + 1, times + 1) if is_slow else 0
    if ctx.cursor["row"] == times:
        yield Slow(id=_id(ctx, "slow"), target=target, ms=ms or 0.0)


@ping.action(
    "Certificate runs out", poll="12h", sentence="the certificate of {target} runs out in {days} days",
    sample=Certificate(id="4711-7", target="https://example.org", subject="example.org", issuer="Example CA",
                       expires="2026-01-08T12:00:00Z", days_left=7),
)  # fmt: skip
async def certificate_expiring(
    ctx: Context, target: Target, days: Annotated[int, Field("Days before", ge=1, le=365)] = 14
) -> AsyncIterator[Certificate]:
    """Fires when a certificate has so many days left, and again at 7, 3, 1 and 0 days, until there is a new one."""
    host, port = _place(target)
    shown = await _shown(ctx, host, port or 443)
    left = (datetime.fromisoformat(shown["expires"]) - ctx.now).days
    due = [step for step in (days, *REMINDERS_DAYS) if step <= days and left <= step]
    if due:
        yield Certificate(id=f"{shown['serial']}-{min(due)}", target=target, subject=shown["subject"],
                          issuer=shown["issuer"], expires=shown["expires"], days_left=left)  # fmt: skip


@ping.reaction("Look whether it is there", sentence="ping {target}", effect="read", sample=Checked(up=True, ms=0.4))
async def check(ctx: Context, target: Target) -> Checked:
    """Tell whether a machine, a port or a page is there right now; that it is not is no error."""
    ms, error = await _checked(ctx, target)
    return Checked(up=ms is not None, ms=ms, error=error)


async def _turned(ctx: Context, target: str, times: int) -> tuple[str, Check]:
    """Check, and return what it turned to, `up` or `down`, if it did; the cursor keeps what it was."""
    known, found = ctx.cursor, await _checked(ctx, target)
    if found[0] is None:
        row = known["row"] = known.get("row", 0) + 1
        if row == 1:
            known["since"] = ctx.now.isoformat(timespec="seconds").replace("+00:00", "Z")
        if row < times and "state" in known:
            return "", found
    else:
        known.pop("row", None)
    state = "down" if found[0] is None else "up"
    before, known["state"] = known.get("state", state), state
    return ("" if state == before else state), found


async def _checked(ctx: Context, target: str) -> Check:
    """Return how many milliseconds it took, or why it is not there; raises `Permanent` where nobody may ask."""
    loop, host, port = asyncio.get_running_loop(), *_place(target)
    since_s = loop.time()
    try:
        async with asyncio.timeout(2 * TRY_S):
            if "://" in target:
                await _asked(ctx, target)
            elif port is not None:
                (await ctx.dial(host, port)).close()
            else:
                return await _knocked(ctx, host)
    except TimeoutError:
        return None, "no answer"
    except Transient as error:
        return None, str(error)
    return round((loop.time() - since_s) * 1000, 1), ""


async def _asked(ctx: Context, url: str) -> None:
    answer = await ctx.http.get(url, ok="all")
    if answer.status >= 400 and answer.status not in (401, 403, 429):
        raise Transient(f"the status is {answer.status}")


async def _knocked(ctx: Context, host: str) -> Check:
    """Ask a machine by ICMP, or at its usual ports; one that refuses is there."""
    addresses = await ctx.addresses(host)
    try:
        for address in addresses[:2]:
            for _ in range(2):
                if (ms := await _echo.echo(address, ECHO_S)) is not None:
                    return round(ms, 1), ""
    except PermissionError:
        return await _dialled(ctx, host)
    return None, "no answer"


async def _dialled(ctx: Context, host: str) -> Check:
    loop, why = asyncio.get_running_loop(), ""
    for port in PORTS:
        since_s = loop.time()
        try:
            async with asyncio.timeout(ECHO_S):
                (await ctx.dial(host, port)).close()
        except TimeoutError:
            why = "no answer"
            continue
        except Transient as error:
            why = str(error)
            if not isinstance(error.__cause__, ConnectionRefusedError):
                continue
        return round((loop.time() - since_s) * 1000, 1), ""
    return None, why


async def _shown(ctx: Context, host: str, port: int) -> dict[str, Any]:
    """Return what stands in a server's certificate, also in one that is over or that nobody vouches for."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # its end is read, and nothing is sent
    sock = await ctx.dial(host, port)
    try:
        async with asyncio.timeout(TRY_S):
            _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host)
    except (TimeoutError, OSError) as error:
        sock.close()
        raise Transient(f"{host}:{port} shows no certificate: {error or 'no answer'}") from error
    data = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    found = x509.load_der_x509_certificate(data)
    named = {}
    for key, name in (("subject", found.subject), ("issuer", found.issuer)):
        parts = name.get_attributes_for_oid(NameOID.COMMON_NAME)
        named[key] = str(parts[0].value) if parts else name.rfc4514_string()
    expires = found.not_valid_after_utc.isoformat().replace("+00:00", "Z")
    return {"serial": f"{found.serial_number:x}"[:40], "expires": expires, **named}


def _place(target: str) -> tuple[str, int | None]:
    """Return the host and port of a target; a machine alone has none."""
    if "://" in target:
        parts = urlsplit(target)
        return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    host, _, port = target.rpartition(":")
    return (host, int(port)) if target.count(":") == 1 else (target, None)


def _id(ctx: Context, what: str) -> str:
    count = ctx.cursor["count"] = ctx.cursor.get("count", 0) + 1
    return f"{count}-{what}"

"""How is a mail written and sent? Its parts, its envelope, and what a server's refusal means."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import hashlib
import mimetypes
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, parseaddr
from typing import Any

import msgspec

from areabox.sdk import AuthExpired, Context, Permanent, Transient, Uncertain

ANSWER_S, QUIT_S = 25.0, 2.0
RECIPIENTS_MAX = 100
BYTES_MAX = 25 << 20
_ADDRESS = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.\[\]:_-]{1,255}")
_BREAK = re.compile(r"[\x00-\x1f\x7f]")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]+")
Addresses = str | list[str]


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that is to be sent."""

    to: Addresses
    subject: str
    text: str = ""
    html: str = ""
    cc: Addresses = ""
    bcc: Addresses = ""
    reply_to: Addresses = ""
    sender: str = ""
    files: list[dict[str, Any]] = []
    headers: dict[str, str] = {}


@asynccontextmanager
async def opened(ctx: Context) -> AsyncIterator[Any]:
    """Log in at the connection's SMTP server; raises `ConnectorError`."""
    import aiosmtplib

    auth = ctx.auth
    if not auth.smtp_host:
        raise Permanent("the connection has no SMTP server, so mail cannot be sent")
    context = None if auth.smtp_tls == "none" else await ctx.tls(auth.certificate)
    sock = await ctx.dial(auth.smtp_host, auth.smtp_port)
    address = sock.getsockname()[0]
    client = aiosmtplib.SMTP(
        hostname=auth.smtp_host, sock=sock, timeout=ANSWER_S, use_tls=auth.smtp_tls == "tls",
        start_tls=auth.smtp_tls == "starttls", tls_context=context,
        local_hostname=f"[IPv6:{address}]" if ":" in address else f"[{address}]",
    )  # fmt: skip
    try:
        await _greet(client, auth)
        yield client
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await client.quit(timeout=QUIT_S)
    finally:
        transport: Any = client.transport
        client.close()
        if transport is not None:
            transport.abort()  # nobody waits for the end of TLS
        else:
            sock.close()


async def _greet(client: Any, auth: Any) -> None:
    """Say who we are; raises `ConnectorError`."""
    import aiosmtplib

    try:
        await client.connect()
        await client.ehlo()
        if auth.password and client.supports_extension("auth"):
            await client.login(auth.username or auth.address, auth.password)
    except aiosmtplib.SMTPAuthenticationError as error:
        if 400 <= error.code < 500:
            raise _meant(error, auth.smtp_host) from error
        raise AuthExpired(f"{auth.smtp_host} does not accept the user name and password: {error.message}") from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise _meant(error, auth.smtp_host) from error


async def send(ctx: Context, letter: Letter) -> tuple[str, list[str], list[str]]:
    """Send a mail; return its id, and who it was accepted and refused for. Raises `ConnectorError`.

    Only the body's own answer can be uncertain: until it is sent, nothing has happened.
    """
    import aiosmtplib

    message, recipients = written(ctx, letter)
    content = message.as_bytes()
    if len(content) > BYTES_MAX:
        raise Permanent(f"the mail is larger than {BYTES_MAX >> 20} MiB")
    accepted, refused = list[str](), list[str]()
    why: Transient | Permanent = Permanent("nobody is to get it")
    async with opened(ctx) as client:
        try:
            await client.mail(parseaddr(str(message["From"]))[1])
            for recipient in recipients:
                try:
                    await client.rcpt(recipient)
                    accepted.append(recipient)
                except aiosmtplib.SMTPRecipientRefused as error:
                    refused.append(recipient)
                    why = _meant(error, recipient)
            if not accepted:
                raise why
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _meant(error, ctx.auth.smtp_host) from error
        try:
            await client.data(content)
        except aiosmtplib.SMTPResponseException as error:
            raise _meant(error, ctx.auth.smtp_host) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Uncertain(f"{ctx.auth.smtp_host} was sent the mail, and gave no answer") from error
    return str(message["Message-ID"]), accepted, refused


def written(ctx: Context, letter: Letter) -> tuple[EmailMessage, list[str]]:
    """Return a mail as it is sent, and everybody who is to get it; raises `Permanent` for what is no mail."""
    from email.policy import SMTP

    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    sender = _read(letter.sender or ctx.auth.address)
    groups = {"To": _read(letter.to), "Cc": _read(letter.cc), "Reply-To": _read(letter.reply_to)}
    everybody = [address for _, address in (*groups["To"], *groups["Cc"], *_read(letter.bcc))]
    recipients = list(dict.fromkeys(everybody))
    if len(sender) != 1 or not 0 < len(recipients) <= RECIPIENTS_MAX:
        raise Permanent(f"a mail has one sender and 1 to {RECIPIENTS_MAX} recipients")
    name = hashlib.sha256(ctx.key.encode()).hexdigest()[:32]  # the same on every attempt, so that a copy is recognised
    try:
        message["From"] = _joined(sender)
        for header, group in groups.items():
            if group:
                message[header] = _joined(group)
        message["Subject"] = " ".join(letter.subject.split())
        message["Date"] = format_datetime(ctx.now)
        message["Message-ID"] = f"<{name}@{sender[0][1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: holidays do not answer it
        for header, value in letter.headers.items():
            message[header] = value
        if letter.text or not letter.html:
            message.set_content(letter.text)
        if letter.html:
            (message.add_alternative if letter.text else message.set_content)(letter.html, subtype="html")
        for file in letter.files:
            _attach(message, file)
    except (ValueError, MessageError, UnicodeError) as error:
        raise Permanent(f"this is no mail that can be sent: {error}") from error
    return message, recipients


def answer(message: Any, own: str, *, everybody: bool) -> Letter:
    """Return an empty answer to a mail, to its sender or to everybody but ourselves."""
    said = header(message, "message-id")
    known = f"{header(message, 'references')} {said}".split()
    subject = message.subject if message.subject.lower().startswith("re:") else f"Re: {message.subject}"
    to = list(message.reply_to) or [message.from_]
    others = [*message.to, *message.cc] if everybody else []
    cc = [one for one in others if one.lower() not in {own.lower(), *map(str.lower, to)}]
    threaded = {"In-Reply-To": said, "References": " ".join(known[-20:])} if said else {}
    return Letter(to=to, cc=cc, subject=subject, headers=threaded)


def header(message: Any, name: str) -> str:
    """Return a header of a mail on one line, empty if it has none."""
    return " ".join(str(next(iter(message.headers.get(name) or ()), "")).split())


def file_name(name: str, taken: set[str]) -> str:
    """Return a name that a file may have, other than those that are taken; adds it to them."""
    safe = _UNSAFE.sub("_", name).strip(". ")[:150] or "attachment"
    stem, dot, ending = safe.rpartition(".")
    found, number = safe, 1
    while found.lower() in taken:
        number += 1
        found = f"{stem}-{number}.{ending}" if dot and stem else f"{safe}-{number}"
    taken.add(found.lower())
    return found


def _read(addresses: Addresses) -> list[tuple[str, str]]:
    """Return names and addresses; raises `Permanent` for what is none."""
    texts = [addresses] if isinstance(addresses, str) else addresses
    found = [pair for pair in getaddresses([text for text in texts if text]) if any(pair)]
    for _, address in found:
        if not _ADDRESS.fullmatch(address):
            raise Permanent(f"{(address or str(addresses))[:100]!r} is no address that a mail can go to")
    if (any(text.strip() for text in texts) and not found) or any(_BREAK.search(text) for text in texts):
        raise Permanent(f"{str(addresses)[:100]!r} is no address that a mail can go to")
    return found


def _joined(pairs: Iterable[tuple[str, str]]) -> list[Any]:
    from email.headerregistry import Address

    return [Address(" ".join(name.split()), addr_spec=address) for name, address in pairs]


def _attach(message: EmailMessage, file: dict[str, Any]) -> None:
    name = file.get("name")
    if not isinstance(name, str) or not name or file.keys() - {"name", "type", "size", "text", "base64"}:
        raise ValueError("an attachment has a name, a text or base64, and perhaps a type")
    try:
        data = base64.b64decode(file["base64"], validate=True) if file.get("base64") else str(file["text"]).encode()
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"the attachment {name} has neither a text nor base64 that can be read") from error
    kind = str(file.get("type") or mimetypes.guess_type(name)[0] or "application/octet-stream")
    main, _, sub = kind.partition("/")
    message.add_attachment(data, maintype=main, subtype=sub or "octet-stream", filename=" ".join(name.split()))


def _meant(error: Exception, who: str) -> Transient | Permanent:
    """Return what a refusal means: codes of 400 and more pass (RFC 5321, 4.2.1), those of 500 stay."""
    from aiosmtplib import SMTPConnectError, SMTPNotSupported

    code, said = getattr(error, "code", 0), getattr(error, "message", None) or error
    if isinstance(error, SMTPConnectError) and not code:
        said = error.__cause__ or error  # the library's own words name no port
    text = f"{who}: {said or 'it closed the connection'}"
    if isinstance(error, SMTPNotSupported) or code >= 500:
        return Permanent(text)
    return Transient(text)


def moment(at: datetime) -> str:
    """Return when a mail was written as RFC 3339, empty where it does not say."""
    if at.year == 1900:  # the library's word for none
        return ""
    return (at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)).isoformat().replace("+00:00", "Z")


def fits(wanted: str, *texts: str) -> bool:
    """Tell whether one of the texts holds what is wanted, or is it where that is a pattern; nothing fits all."""
    wanted = wanted.lower()
    if not set("*?") & set(wanted):
        return not wanted or any(wanted in text.lower() for text in texts)
    return any(fnmatch.fnmatchcase(text.lower(), wanted) for text in texts)

"""Mail: what comes into a mailbox, by IMAP, and what is sent, by SMTP.

Tested against Dovecot, and an SMTP server of the test suite.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors import _disk, _letters, _mailbox, _questions
from areabox.connectors._letters import fits
from areabox.connectors._mailbox import Mailbox, Place, place_of
from areabox.sdk import Connector, Context, Event, Field, Fields, Option, Permanent, Secret, Text

Security = Literal["tls", "starttls", "none"]

mail = Connector(
    "mail",
    "E-mail",
    about="Any mailbox, by IMAP and SMTP.",
    icon="mail",
    builtin=True,
    auth=Fields(
        "A mailbox",
        help="Many providers want an app password here, which you make in their settings.",
        address=Annotated[str, Field("Your address", format="email", placeholder="ann@example.org")],
        username=(Annotated[str, Field("User name", "If it is not your address.")], ""),
        password=(Annotated[Secret, Field("Password")], ""),
        imap_host=(Annotated[str, Field("IMAP server", "To receive.", format="host")], ""),
        imap_port=(Annotated[int, Field("IMAP port", ge=1, le=65_535)], 993),
        imap_tls=(Annotated[Security, Field("IMAP encryption", "starttls is usual with port 143.")], "tls"),
        smtp_host=(Annotated[str, Field("SMTP server", "To send.", format="host")], ""),
        smtp_port=(Annotated[int, Field("SMTP port", ge=1, le=65_535)], 465),
        smtp_tls=(Annotated[Security, Field("SMTP encryption", "starttls is usual with port 587.")], "tls"),
        certificate=(Annotated[Text, Field("Trusted certificate", "PEM; for a server that made its own.")], ""),
    ),
)

TEXT_MAX = 256 * 1024
ATTACHMENTS_MAX_BYTES = 3 << 20  # of those that are a result
SAMPLE_ID = "1767225600/42/INBOX"


async def folders(ctx: Context, q: str) -> list[Option]:
    """List the folders of the mailbox."""
    async with _mailbox.opened(ctx) as box:
        return [Option(name) for name in await box.run(box.folders) if q.lower() in name.lower()]


def _is_id(text: str) -> None:
    place_of(text)


Folder = Annotated[str, Field("Folder", options=folders, min_length=1, max_length=1000)]
Message = Annotated[
    str, Field("Message", "Its id, as {{ trigger.id }}.", check=_is_id, example=SAMPLE_ID, placeholder=SAMPLE_ID)
]
Part = Annotated[str, Field("Only", "A part of it in any case, or a pattern with * and ?.")]
Addresses = Annotated[str | list[str], Field("To", "One or several addresses, with commas.", example="ann@example.org")]
More = Annotated[str | list[str], Field("Copies", example="ann@example.org")]


class Attachment(msgspec.Struct, frozen=True):
    """A file of a message."""

    name: str
    type: str
    size: int


class Received(Event):
    """A message that came into a folder."""

    folder: str
    sender: str  # the address
    sender_name: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    reply_to: tuple[str, ...]
    subject: str
    date: str  # RFC 3339; empty where the message does not say
    text: str
    html: str
    attachments: tuple[Attachment, ...]
    message_id: str
    size: int
    truncated: bool = False  # too large to be read whole, or a text that was cut


class Moved(msgspec.Struct):
    """Where a message lies now; `id` is empty where the server does not say."""

    folder: str
    id: str


class Loaded(msgspec.Struct):
    """A file of a message, with what is in it."""

    name: str
    type: str
    size: int
    base64: str
    text: str = ""  # where it is a text


class Saved(msgspec.Struct):
    """A file of a message that was written."""

    path: str
    name: str
    size: int


class Sent(msgspec.Struct):
    """A message that a server took, and who it was not for."""

    message_id: str
    accepted: list[str]
    refused: list[str]


SENT = Sent("<01kdz0000000000000000000zz@example.org>", ["ann@example.org"], [])


@mail.test
async def test(ctx: Context) -> str:
    """Log in wherever the connection leads."""
    if not (ctx.auth.imap_host or ctx.auth.smtp_host):
        raise Permanent("the connection names neither an IMAP nor an SMTP server")
    if ctx.auth.imap_host:
        async with _mailbox.opened(ctx):
            pass
    if ctx.auth.smtp_host:
        async with _letters.opened(ctx):
            pass
    return str(ctx.auth.address)


@mail.action(
    "Mail received", stream=True, dedupe="key", sentence="a mail comes into {folder}",
    sample=Received(
        id=SAMPLE_ID, folder="INBOX", sender="bob@example.org", sender_name="Bob", to=("ann@example.org",),
        cc=("carol@example.org",), reply_to=("bob@example.org",), subject="The invoice", date="2026-01-01T12:00:00Z",
        text="Hello Ann, here it is.", html="<p>Hello Ann, here it is.</p>",
        attachments=(Attachment("invoice.pdf", "application/pdf", 48_213),), message_id="<1@example.org>", size=67_012,
    ),
)  # fmt: skip
async def received(
    ctx: Context,
    folder: Folder = "INBOX",
    sender: Part = "",
    subject: Part = "",
    attachment: Annotated[str, Field("With an attachment", "Its name, with * and ?.", placeholder="*.pdf")] = "",
    *,
    mark_read: Annotated[bool, Field("Mark as read")] = False,
) -> AsyncIterator[Received | None]:
    """Fires for each mail that comes into a folder, at once where the server can tell (IMAP IDLE).

    Mails stay unread unless you say otherwise. What came while areabox was away fires when it is back.
    """
    async with _mailbox.opened(ctx) as box:
        async for found in _mailbox.watch(box, folder, ctx.cursor, readonly=not mark_read):
            if found is None:
                yield None
                continue
            event = await asyncio.to_thread(_event, found)
            who = f"{event.sender_name} <{event.sender}>"
            names = [file.name for file in event.attachments]
            if not (fits(sender, who, event.sender) and fits(subject, event.subject) and fits(attachment, *names)):
                continue
            yield event
            if mark_read:
                await box.run(box.flag, found.place.uid, "\\Seen")


@mail.reaction("Move a mail", sentence="move the mail to {to}", effect="idempotent", sample=Moved("Archive", ""))
async def move(ctx: Context, message: Message, to: Folder) -> Moved:
    """Move a mail to another folder; its new id is for later steps."""
    place = place_of(message)
    async with _mailbox.opened(ctx) as box:
        if not await box.run(lambda: box.find(place, readonly=False)):
            return _gone(ctx, place, to)
        moved = await box.run(box.move, place, to)
    return Moved(to, str(moved or ""))


@mail.reaction("Copy a mail", sentence="copy the mail to {to}")
async def copy(ctx: Context, message: Message, to: Folder) -> None:
    """Copy a mail to another folder."""
    async with _mailbox.opened(ctx) as box:
        await box.run(box.copy, await _found(box, message), to)


@mail.reaction("Delete a mail", sentence="delete the mail", effect="idempotent", sample=Moved("Trash", ""))
async def delete(
    ctx: Context,
    message: Message,
    *,
    forever: Annotated[bool, Field("For ever", "Else it is put in the trash.")] = False,
) -> Moved:
    """Put a mail in the trash, or delete it for ever where there is none or you say so."""
    place = place_of(message)
    async with _mailbox.opened(ctx) as box:
        trash = "" if forever else await box.run(box.special, "\\Trash")
        if not await box.run(lambda: box.find(place, readonly=False)):
            return _gone(ctx, place, trash)
        if trash and trash != place.folder:
            return Moved(trash, str(await box.run(box.move, place, trash) or ""))
        await box.run(box.delete, place.uid)
    return Moved("", "")


@mail.reaction("Flag a mail", sentence="flag the mail as {flag}", effect="idempotent")
async def flag(
    ctx: Context,
    message: Message,
    flag: Annotated[
        str, Field("Flag", "read, flagged, answered, or a keyword of your own.", pattern=r"^[A-Za-z0-9$_.-]{1,64}$")
    ] = "read",
    *,
    on: Annotated[bool, Field("On", "Else it is taken away.")] = True,
) -> None:
    """Mark a mail as read, flagged or answered, or take the mark away."""
    standard = {"read": "\\Seen", "flagged": "\\Flagged", "answered": "\\Answered"}
    async with _mailbox.opened(ctx) as box:
        place = await _found(box, message, readonly=False)
        await box.run(box.flag, place.uid, standard.get(flag, flag), on)


@mail.reaction(
    "Get attachments", sentence="get the attachments of the mail", effect="read",
    sample={"attachments": [Loaded("a.txt", "text/plain", 5, "aGVsbG8=", "hello")]},
)  # fmt: skip
async def attachments(ctx: Context, message: Message, name: Part = "*") -> dict[str, Any]:
    """Give the attachments of a mail with what is in them, 3 MiB at most."""
    found = await _files(ctx, message, name)
    if sum(len(file.payload) for file in found) > ATTACHMENTS_MAX_BYTES:
        raise Permanent(f"the attachments are larger than {ATTACHMENTS_MAX_BYTES >> 20} MiB; save them instead")
    return {"attachments": [_loaded(file) for file in found]}


@mail.reaction(
    "Save attachments", sentence="save the attachments {name} in {folder}", effect="idempotent",
    sample={"files": [Saved("/srv/scans/invoice.pdf", "invoice.pdf", 48_213)]},
)  # fmt: skip
async def save(
    ctx: Context, message: Message,
    folder: Annotated[str, Field("Folder", "Its whole path.", format="path", pattern=r"^/", placeholder="/srv/scans")],
    name: Part = "*",
) -> dict[str, Any]:  # fmt: skip
    """Write the attachments of a mail to a folder of this machine, one that the setting `files_allow` names.

    A file that has the same name is replaced; two of one mail are told apart by a number.
    """
    assert ctx.host is not None
    saved, taken = list[Saved](), set[str]()
    for file in await _files(ctx, message, name):
        safe = _letters.file_name(file.filename, taken)
        path = f"{folder.rstrip('/')}/{safe}"
        size = await asyncio.to_thread(_disk.write, ctx.host.folders, path, file.payload)
        saved.append(Saved(path, safe, size))
    return {"files": saved}


def _has_content(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "text" in params and "html" in params and not (params["text"] or params["html"]):
        yield "text", "a mail has a text, or HTML"


Files = Annotated[
    list[dict[str, Any]] | None,
    Field("Attachments", "Each with name, and text or base64.", example=[{"name": "a.txt", "text": "hello"}]),
]


@mail.reaction("Send a mail", sentence="send {subject} to {to}", check=_has_content, sample=SENT)
async def send(
    ctx: Context,
    to: Addresses,
    subject: Annotated[str, Field("Subject", max_length=998)],
    text: Annotated[Text, Field("Text")] = "",
    html: Annotated[Text, Field("HTML", "Beside the text, or instead of it.")] = "",
    *,
    cc: More = "",
    bcc: Annotated[str | list[str], Field("Hidden copies", example="ann@example.org")] = "",
    reply_to: Annotated[str | list[str], Field("Answers to", example="ann@example.org")] = "",
    sender: Annotated[str, Field("From", "If it is not the connection's address.", placeholder="Ann <ann@example.org>")]
    = "",
    attachments: Files = None,
) -> Sent:  # fmt: skip
    """Send a mail. Done when the server has taken it; a lost answer is *uncertain*, since nobody wants a mail twice."""
    letter = _letters.Letter(
        to=to, cc=cc, bcc=bcc, reply_to=reply_to, sender=sender, subject=subject, text=text, html=html,
        files=attachments or [],
    )  # fmt: skip
    return Sent(*await _letters.send(ctx, letter))


@mail.reaction("Answer a mail", sentence="answer the mail with {text}", check=_has_content, sample=SENT)
async def reply(
    ctx: Context,
    message: Message,
    text: Annotated[Text, Field("Text")] = "",
    html: Annotated[Text, Field("HTML", "Beside the text, or instead of it.")] = "",
    *,
    all: Annotated[bool, Field("To all", "Also to those who got the mail, too.")] = False,
    attachments: Files = None,
) -> Sent:
    """Answer a mail in its thread, and mark it as answered."""
    async with _mailbox.opened(ctx) as box:
        place = await _found(box, message, readonly=False)
        found = await box.run(lambda: box.read(place.folder, place.uid, body=False))
    if found is None:
        raise Permanent("the mail is gone")
    letter = _letters.answer(found.message, ctx.auth.address, everybody=all)
    letter = msgspec.structs.replace(letter, text=text, html=html, files=attachments or [])
    sent = Sent(*await _letters.send(ctx, letter))
    try:
        async with _mailbox.opened(ctx) as box:
            await box.run(box.flag, (await _found(box, message, readonly=False)).uid, "\\Answered")
    except Exception as error:  # noqa: BLE001 -- it is answered all the same, and must not be twice
        ctx.log.warning("the mail could not be marked as answered: %s", error)
    return sent


@mail.reaction("Ask by mail", sentence="ask {to}: {question}", effect="idempotent", sample=SENT)
async def ask(
    ctx: Context, to: Addresses, subject: Annotated[str, Field("Subject", "The question.", max_length=998)] = "",
    question: _questions.Question = "", choices: _questions.Choices = None,
) -> Sent:  # fmt: skip
    """Ask somebody by mail: for the `via` of an `ask` step. Each choice is a link to a page with one button.

    It may be sent twice if no answer comes from the server; the first choice that is made counts.
    """
    text, html = _questions.texts(question, _questions.buttons(choices))
    letter = _letters.Letter(to=to, subject=subject or question[:200], text=text, html=html)
    return Sent(*await _letters.send(ctx, letter))


async def _found(box: Mailbox, message: str, *, readonly: bool = True) -> Place:
    place = place_of(message)
    if not await box.run(lambda: box.find(place, readonly=readonly)):
        raise Permanent(f"the mail is no longer in {place.folder}")
    return place


def _gone(ctx: Context, place: Place, to: str) -> Moved:
    """Return what a mail that is gone means: an attempt before did it, or somebody else."""
    if ctx.attempt == 1:
        raise Permanent(f"the mail is no longer in {place.folder}")
    return Moved(to, "")


async def _files(ctx: Context, message: str, name: str) -> list[Any]:
    async with _mailbox.opened(ctx) as box:
        place = await _found(box, message)
        found = await box.run(lambda: box.read(place.folder, place.uid))
    files = [] if found is None else await asyncio.to_thread(lambda: list(found.message.attachments))
    return [file for file in files if fits(name, file.filename)]


def _loaded(file: Any) -> Loaded:
    is_text = file.content_type.startswith("text/")
    return Loaded(
        name=file.filename,
        type=file.content_type,
        size=len(file.payload),
        base64=base64.b64encode(file.payload).decode(),
        text=file.payload.decode(errors="replace") if is_text else "",
    )


def _event(found: _mailbox.Mail) -> Received:
    said = found.message
    who = said.from_values
    text, html = (part.replace("\r\n", "\n") if found.whole else "" for part in (said.text, said.html))
    return Received(
        id=str(found.place),
        folder=found.place.folder,
        sender=who.email if who else "",
        sender_name=who.name if who else "",
        to=said.to,
        cc=said.cc,
        reply_to=said.reply_to,
        subject=said.subject,
        date=_letters.moment(said.date),
        text=text[:TEXT_MAX],
        html=html[:TEXT_MAX],
        attachments=tuple(Attachment(a.filename, a.content_type, len(a.payload)) for a in said.attachments),
        message_id=_letters.header(said, "message-id"),
        size=found.size,
        truncated=not found.whole or max(len(text), len(html)) > TEXT_MAX,
    )

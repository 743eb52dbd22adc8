"""One IMAP connection: opened, a folder read and watched by it, a message in it found again.

The library blocks, so its steps run in threads; while the server has nothing to say nobody waits in one. A message is
known by `VALIDITY/UID/FOLDER` (RFC 3501, 2.3.1.1), and is looked for only while that is still what it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from areabox.sdk import AuthExpired, Context, Permanent, Transient

T = TypeVar("T")

ANSWER_S = 30.0
IDLE_S = 9 * 60.0  # RFC 2177 says at most 29 minutes; routers forget sooner
NO_IDLE_S = 60.0
BODY_MAX = 25 << 20  # of a larger message only the headers are read
BATCH = 200
_ID = re.compile(r"([0-9]{1,10})/([0-9]{1,10})/(.{1,1000})", re.DOTALL)
_SIZE, _UID = re.compile(rb"RFC822\.SIZE (\d+)"), re.compile(rb"\bUID (\d+)")


class Place(msgspec.Struct, frozen=True):
    """Where a message lies."""

    validity: int
    uid: int
    folder: str

    def __str__(self) -> str:
        return f"{self.validity}/{self.uid}/{self.folder}"


class Mail(msgspec.Struct, frozen=True):
    """A message as it was read: the library's own, and where it lies. `whole`: with its body."""

    place: Place
    message: Any
    size: int
    whole: bool


class _Listed(msgspec.Struct, frozen=True):
    uid: int
    size: int
    arrived_s: float


def place_of(text: str) -> Place:
    """Return the place that a message's id means; raises ValueError."""
    found = _ID.fullmatch(text)
    if found is None:
        raise ValueError("a message is given by its id, as {{ trigger.id }}")
    return Place(int(found[1]), int(found[2]), found[3])


@asynccontextmanager
async def opened(ctx: Context) -> AsyncIterator[Mailbox]:
    """Log in at the connection's IMAP server; raises `ConnectorError`."""
    auth = ctx.auth
    if not auth.imap_host:
        raise Permanent("the connection has no IMAP server, so mail cannot be read")
    sock = await ctx.dial(auth.imap_host, auth.imap_port)
    context = None if auth.imap_tls == "none" else await ctx.tls(auth.certificate)
    box = Mailbox(sock, auth, context)
    try:
        await box.run(box.log_in)
        yield box
        with contextlib.suppress(Transient):
            await box.run(box.log_out)
    finally:
        box.drop()


class Mailbox:
    """A connection that is logged in. Its methods in lower case without `async` block: see `run`."""

    def __init__(self, sock: socket.socket, auth: Any, context: Any) -> None:
        self._sock, self._auth, self._context = sock, auth, context
        self._box: Any = None
        self.validity = 0

    async def run(self, step: Callable[..., T], *args: Any) -> T:
        """Take a step in a thread; its errors become `ConnectorError`s."""
        try:
            return await asyncio.to_thread(_judged, step, self._auth.imap_host, *args)
        except asyncio.CancelledError:
            self.drop()  # so that the thread ends soon
            raise

    def drop(self) -> None:
        """Close the socket."""
        sock = self._box.client.sock if self._box is not None else self._sock
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        if (file := self._file()) is not None:
            file.close()
        sock.close()

    # -- steps that block

    def log_in(self) -> None:
        """Greet the server."""
        from imap_tools.errors import MailboxLoginError

        auth, self._sock = self._auth, self._secured()
        self._box = _library(self._sock, auth)
        if auth.imap_tls == "starttls":
            self._box.client.starttls(self._context)
        name, password = auth.username or auth.address, auth.password
        try:
            log_in = self._box.login if (name + password).isascii() else self._box.login_utf8
            log_in(name, password, initial_folder=None)
        except MailboxLoginError as error:
            if "[UNAVAILABLE]" in str(error):
                raise
            raise AuthExpired(f"{auth.imap_host} does not accept the user name and password") from error

    def log_out(self) -> None:
        """Take leave."""
        self._box.logout()

    def select(self, folder: str, *, readonly: bool = True) -> int:
        """Open a folder, and return the number that its next message will have; notes its validity."""
        from imap_tools.errors import MailboxFolderSelectError

        try:
            self._box.folder.set(folder, readonly)
        except MailboxFolderSelectError as error:
            there = ", ".join(self.folders()[:20])
            raise Permanent(f"there is no folder {folder}; there is {there}") from error
        self.validity = self._said("UIDVALIDITY")
        return self._said("UIDNEXT") or max(self._search("ALL"), default=0) + 1

    def folders(self) -> list[str]:
        """Return the names of the folders that messages lie in."""
        return [found.name for found in self._box.folder.list() if "\\Noselect" not in found.flags]

    def special(self, flag: str) -> str:
        """Return the folder with a special use (RFC 6154), as the trash; empty if there is none."""
        return next((found.name for found in self._box.folder.list() if flag in found.flags), "")

    def after(self, uid: int) -> list[_Listed]:
        """Return what came after a number, in order."""
        self.more_came()
        return self._listed([found for found in self._search(f"UID {uid + 1}:*") if found > uid])

    def since(self, arrived_s: float) -> list[_Listed]:
        """Return what came after a time."""
        day = time.strftime("%d-%b-%Y", time.gmtime(arrived_s - 86_400))
        return [found for found in self._listed(self._search(f"SINCE {day}")) if found.arrived_s > arrived_s]

    def more_came(self) -> bool:
        """Tell whether the server spoke of new messages since the last listing."""
        return bool(self._box.client.response("EXISTS")[1] != [None])

    def read(self, folder: str, uid: int, size: int = 0, *, body: bool = True) -> Mail | None:
        """Return a message and leave it unread; None if it is gone."""
        whole = body and size <= BODY_MAX
        found: Any = next(self._box.fetch(uid_list=[str(uid)], mark_seen=False, headers_only=not whole), None)
        if found is None:
            return None
        return Mail(Place(self.validity, uid, folder), found, size or found.size_rfc822, whole)

    def find(self, place: Place, *, readonly: bool = True) -> bool:
        """Open a message's folder, and tell whether it is still there; raises `Permanent` if nobody can tell."""
        self.select(place.folder, readonly=readonly)
        if self.validity != place.validity:
            raise Permanent(
                f"the server has numbered the folder {place.folder} anew, so the message is not to be found"
            )
        there = self._search(f"UID {place.uid}")
        return place.uid in there

    def flag(self, uid: int, flag: str, on: bool = True) -> None:  # noqa: FBT001, FBT002 -- for `run`
        """Set a flag of a message, or take it away."""
        self._box.flag([str(uid)], flag, on)

    def move(self, place: Place, folder: str) -> Place | None:
        """Move a message, and return where it lies now if the server says so (RFC 4315)."""
        self._box.client.response("COPYUID")
        self._box.move([str(place.uid)], folder)
        said = self._box.client.response("COPYUID")[1][-1]
        numbers = said.decode().split() if said else []
        return Place(int(numbers[0]), int(numbers[2]), folder) if len(numbers) == 3 and numbers[2].isdigit() else None

    def copy(self, place: Place, folder: str) -> None:
        """Copy a message."""
        self._box.copy([str(place.uid)], folder)

    def delete(self, uid: int) -> None:
        """Delete a message for ever, and no other that is marked as deleted if the server can tell them apart."""
        self.flag(uid, "\\Deleted")
        if "UIDPLUS" in self._box.client.capabilities:
            self._box.client.uid("EXPUNGE", str(uid))
        else:
            self._box.expunge()

    # -- waiting

    async def wait(self) -> None:
        """Wait until something happens in the folder, or a while."""
        if "IDLE" not in self._box.client.capabilities:
            await asyncio.sleep(NO_IDLE_S)
            return
        if not await self.run(self._idle):
            loop, bell = asyncio.get_running_loop(), asyncio.Event()
            number = self._box.client.sock.fileno()
            loop.add_reader(number, bell.set)
            try:
                async with asyncio.timeout(IDLE_S):
                    await bell.wait()
            except TimeoutError:
                pass
            finally:
                loop.remove_reader(number)
        await self.run(self._box.idle.stop)

    def _idle(self) -> bool:
        """Begin to wait, and tell whether the server has spoken already."""
        self._box.idle.start()
        client = self._box.client
        file = self._file()
        client.sock.settimeout(0)
        try:
            return bool(file is not None and file.peek(1))
        except OSError:
            return False
        finally:
            client.sock.settimeout(ANSWER_S)

    # -- the wire

    def _file(self) -> Any:
        """Return the buffer that the library reads from, if it has one: Python 3.14 reads from the socket."""
        known = vars(self._box.client) if self._box is not None else {}
        return known.get("file") or known.get("_file")

    def _secured(self) -> socket.socket:
        self._sock.settimeout(ANSWER_S)
        if self._auth.imap_tls != "tls":
            return self._sock
        made: socket.socket = self._context.wrap_socket(self._sock, server_hostname=self._auth.imap_host)
        return made

    def _said(self, name: str) -> int:
        value = self._box.client.response(name)[1][-1]
        return int(value) if value else 0

    def _search(self, criteria: str) -> list[int]:
        return sorted(int(uid) for uid in self._box.uids(criteria, charset=None))

    def _listed(self, uids: list[int]) -> list[_Listed]:
        import imaplib

        found = []
        for start in range(0, len(uids), BATCH):
            some = ",".join(map(str, uids[start : start + BATCH]))
            _, lines = self._box.client.uid("FETCH", some, "(UID RFC822.SIZE INTERNALDATE)")
            for line in lines:
                uid, size = _UID.search(line or b""), _SIZE.search(line or b"")
                if uid is not None:
                    arrived = imaplib.Internaldate2tuple(line)
                    arrived_s = time.mktime(arrived) if arrived else 0.0
                    found.append(_Listed(int(uid[1]), int(size[1]) if size else 0, arrived_s))
        wanted = set(uids)
        return sorted((one for one in found if one.uid in wanted), key=lambda one: one.uid)


async def watch(
    box: Mailbox, folder: str, cursor: dict[str, Any], *, readonly: bool = True
) -> AsyncIterator[Mail | None]:
    """Yield what comes into a folder, with `cursor` as it is when that is dealt with; first None, as all is well.

    The first time nothing is new. Where the server has numbered the folder anew, what arrived after the last message
    that was seen is new.
    """
    upcoming = await box.run(lambda: box.select(folder, readonly=readonly))
    listed: list[_Listed] = []
    if not cursor.get("validity"):
        cursor.update(validity=box.validity, uid=upcoming - 1, arrived=time.time())
    elif cursor["validity"] != box.validity:
        listed = await box.run(box.since, cursor["arrived"])
        cursor.update(validity=box.validity, uid=listed[0].uid - 1 if listed else upcoming - 1)
    yield None
    while True:
        listed = listed or await box.run(box.after, cursor["uid"])
        for one in listed:
            mail = await box.run(lambda one=one: box.read(folder, one.uid, one.size))
            cursor.update(uid=one.uid, arrived=max(one.arrived_s, cursor["arrived"]))
            if mail is not None:
                yield mail
        if not listed and not await box.run(box.more_came):
            await box.wait()
        listed = []


def _judged(step: Callable[..., T], host: str, *args: Any) -> T:
    """Take a step, and raise what its errors mean."""
    import imaplib

    from imap_tools.errors import ImapToolsError

    try:
        return step(*args)
    except (OSError, imaplib.IMAP4.abort, EOFError) as error:
        raise Transient(f"the connection to {host} failed: {error}") from error
    except ImapToolsError as error:
        said = _said_by(error)
        raise (Transient if "[UNAVAILABLE]" in said or "[INUSE]" in said else Permanent)(
            f"{host} refuses: {said}"
        ) from error
    except imaplib.IMAP4.error as error:
        raise Permanent(f"{host} refuses: {error}") from error


def _said_by(error: Any) -> str:
    """Return what the server said."""
    parts: Iterator[Any] = iter(getattr(error, "command_result", (str(error),)))
    texts = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in _flat(parts)]
    return " ".join(text for text in texts if text != "NO")[:300]


def _flat(parts: Iterator[Any]) -> Iterator[Any]:
    for part in parts:
        if isinstance(part, (list, tuple)):
            yield from _flat(iter(part))
        else:
            yield part


def _library(sock: socket.socket, auth: Any) -> Any:
    """Return the library's mailbox over a socket that is connected."""
    import imaplib

    from imap_tools import BaseMailBox

    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout: float | None) -> socket.socket:
            del timeout
            return sock

    class Box(BaseMailBox):
        def _get_mailbox_client(self) -> imaplib.IMAP4:
            return Client(auth.imap_host, auth.imap_port)

    return Box()

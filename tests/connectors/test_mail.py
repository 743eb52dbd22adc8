"""`mail`, against Dovecot and aiosmtpd: what comes fires once and stays unread, what is sent is sent once."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import ssl
import zlib
from types import SimpleNamespace

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from areabox.actions.subscriptions import Wanted
from areabox.errors import AuthExpired, InputError, Permanent, Transient, Uncertain
from tests.connectors.brokers import free_port, until
from tests.connectors.mailers import PASSWORD, Dovecot, letter


@pytest.fixture(scope="module")
def shared(certificate):
    made = Dovecot(certificate)
    made.start()
    yield made
    made.close()


@pytest.fixture
async def box(house, shared, request):
    """A house with a connection to a mailbox that is new for each test."""
    user = f"u{zlib.crc32(request.node.nodeid.encode())}@example.org"
    values = {
        "address": user, "password": PASSWORD, "imap_host": "127.0.0.1", "imap_port": shared.port, "imap_tls": "none",
    }  # fmt: skip
    connection = await house.connections.create("u1", "mail", values)

    async def area(id="a", **params):
        want = Wanted(place="m", action="mail.received", params=params, connection=connection.id)
        (sub,) = await house.world.area(id, want)
        await house.awake()

        async def ready():
            return (await house.world.subscriptions.load(sub.id)).cursor

        await until(ready)
        return sub

    async def payloads(count, seconds=8.0):
        async def there():
            return len(await house.world.payloads()) >= count

        with contextlib.suppress(TimeoutError):
            await until(there, seconds)
        return await house.world.payloads()

    async def deliver(*messages, folder="INBOX"):
        await asyncio.to_thread(lambda: shared.deliver(*messages, folder=folder, user=user))

    async def react(operation, /, **params):
        return await house.react(operation, connection, **params)

    shared.client = lambda user=user, made=Dovecot.client: made(shared, user)
    return SimpleNamespace(
        house=house, world=house.world, server=shared, user=user, connection=connection, area=area, payloads=payloads,
        deliver=deliver, react=react, values=values,
    )  # fmt: skip


async def test_a_mail_is_an_event_at_once_and_stays_unread(box):
    await box.deliver(letter("old"))
    await box.area()
    mail = letter("The invoice", "Here it is.", invoice_pdf=b"%PDF-1.4")
    mail.add_alternative("<p>Here it is.</p>", subtype="html") if not mail.is_multipart() else None
    begun = asyncio.get_running_loop().time()
    await box.deliver(mail)
    (found,) = await box.payloads(1)
    assert asyncio.get_running_loop().time() - begun < 3  # no poll: the server said so
    validity, uid, folder = found.pop("id").split("/")
    assert (int(validity) > 0, uid, folder) == (True, "2", "INBOX")
    assert found.pop("size") > 300
    assert found == {
        "folder": "INBOX", "sender": "bob@example.org", "sender_name": "Bob", "to": ["ann@example.org"], "cc": [],
        "reply_to": [], "subject": "The invoice", "date": "2026-01-01T12:00:00Z", "text": "Here it is.\n", "html": "",
        "attachments": [{"name": "invoice.pdf", "type": "application/pdf", "size": 8}],
        "message_id": mail["Message-ID"], "truncated": False,
    }  # fmt: skip
    assert box.server.flags() == ["", ""]


async def test_mails_fire_once_each_in_order_also_what_came_while_areabox_was_away(box):
    await box.area()
    await box.house.asleep()
    await box.deliver(*(letter(f"s{n}") for n in range(60)))
    await box.house.awake()
    assert [mail["subject"] for mail in await box.payloads(60)] == [f"s{n}" for n in range(60)]
    await box.deliver(letter("s60"), letter("s61"))
    assert [mail["subject"] for mail in await box.payloads(62)][60:] == ["s60", "s61"]
    await box.house.asleep()
    await box.house.awake()
    await box.deliver(letter("s62"))
    assert [mail["subject"] for mail in await box.payloads(63)][62:] == ["s62"]


async def test_a_mail_that_was_not_stored_comes_again(box):
    await box.area()
    reached = asyncio.Event()

    async def never(unit):
        reached.set()
        await asyncio.Event().wait()

    box.world.backend.before_commit = never
    await box.deliver(letter("precious"))
    await asyncio.wait_for(reached.wait(), 30)
    await box.house.asleep()
    assert await box.world.payloads() == []
    await box.house.awake()
    assert [mail["subject"] for mail in await box.payloads(1)] == ["precious"]


async def test_a_folder_that_is_numbered_anew_fires_what_came_after_only(box):
    client = await asyncio.to_thread(box.server.client)
    client.create("Todo")
    await box.deliver(letter("one"), letter("two"), folder="Todo")
    await box.area(folder="Todo")
    await box.deliver(letter("three"), folder="Todo")
    await box.payloads(1)
    await box.house.asleep()
    await asyncio.sleep(1.1)  # IMAP's times are whole seconds
    client.select("Todo")
    client.create("Keep")
    client.copy("1:3", "Keep")  # Dovecot keeps the time of arrival
    client.close()
    client.delete("Todo")
    client.rename("Keep", "Todo")
    await box.deliver(letter("four"), folder="Todo")
    await box.house.awake()
    assert [mail["subject"] for mail in await box.payloads(2)] == ["three", "four"]
    await box.deliver(letter("five"), folder="Todo")
    assert [mail["subject"] for mail in await box.payloads(3)] == ["three", "four", "five"]
    client.logout()


@pytest.mark.parametrize(
    ("params", "fits"),
    [
        ({"sender": "BOB@"}, ["bill", "cake"]),
        ({"sender": "*@shop.example.org"}, ["Bill of Eve"]),
        ({"sender": "Eve"}, ["Bill of Eve"]),
        ({"subject": "bill"}, ["bill", "Bill of Eve"]),
        ({"subject": "bill*", "attachment": "*.PDF"}, ["bill"]),
    ],
)
async def test_only_some_mails_fire_if_an_area_says_so(box, params, fits):
    await box.area(**params)
    await box.deliver(
        letter("bill", bill_pdf=b"x"), letter("cake"), letter("Bill of Eve", sender="Eve <eve@shop.example.org>")
    )
    assert [mail["subject"] for mail in await box.payloads(len(fits), 5)] == fits


async def test_a_mail_is_marked_as_read_only_if_that_is_asked_for_and_after_it_is_stored(box):
    await box.area(mark_read=True)
    await box.deliver(letter("a"))
    await box.payloads(1)
    await until(lambda: box.server.flags() == ["\\Seen"])


async def test_a_mail_is_flagged_copied_moved_and_deleted(box):
    await box.area()
    await box.deliver(letter("a"), letter("b"))
    first, second = [mail["id"] for mail in await box.payloads(2)]
    await box.react("mail.flag", message=first, flag="flagged")
    await box.react("mail.flag", message=first)
    assert box.server.flags()[0].split() == ["\\Flagged", "\\Seen"]
    await box.react("mail.flag", message=first, flag="read", on=False)
    assert box.server.flags() == ["\\Flagged", ""]
    await box.react("mail.copy", message=first, to="Archive")
    moved = await box.react("mail.move", message=first, to="Archive")
    assert (moved["folder"], box.server.subjects("Archive"), box.server.subjects()) == ("Archive", ["a", "a"], ["b"])
    await box.react("mail.flag", message=moved["id"], flag="answered")
    assert "\\Answered" in box.server.flags("Archive")[1]
    assert (await box.react("mail.delete", message=second))["folder"] == "Trash"
    assert (box.server.subjects("Trash"), box.server.subjects()) == (["b"], [])
    assert await box.react("mail.delete", message=moved["id"], forever=True) == {"folder": "", "id": ""}
    assert box.server.subjects("Archive") == ["a"]


async def test_a_mail_that_is_gone_was_moved_by_an_attempt_before_or_is_an_error(box):
    await box.area()
    await box.deliver(letter("a"))
    ((id,),) = [[mail["id"] for mail in await box.payloads(1)]]
    await box.react("mail.move", message=id, to="Archive")
    with pytest.raises(Permanent, match="no longer in INBOX"):
        await box.react("mail.move", message=id, to="Archive")
    assert await box.react("mail.move", message=id, to="Archive", attempt=2) == {"folder": "Archive", "id": ""}
    with pytest.raises(Permanent, match=r"there is no folder Nowhere; there is .*INBOX"):
        await box.react("mail.move", message=id.replace("INBOX", "Nowhere"), to="Archive")
    with pytest.raises(Permanent, match="numbered the folder INBOX anew"):
        await box.react("mail.move", message="1/1/INBOX", to="Archive")
    with pytest.raises(InputError, match="given by its id"):
        await box.react("mail.move", message="abc", to="Archive")


async def test_attachments_are_given_with_what_is_in_them(box):
    await box.area()
    await box.deliver(letter("a", a_pdf=b"%PDF", b_txt=b"\xff"))
    (mail,) = await box.payloads(1)
    found = await box.react("mail.attachments", message=mail["id"], name="*.pdf")
    assert found == {
        "attachments": [{"name": "a.pdf", "type": "application/pdf", "size": 4, "base64": "JVBERg==", "text": ""}]
    }
    assert box.server.flags() == [""]


async def test_attachments_are_saved_in_the_folders_that_are_allowed(box):
    await box.area()
    mail = letter("a", a_pdf=b"%PDF")
    for name in ("a.pdf", "../../etc/passwd"):
        mail.add_attachment(b"other", maintype="application", subtype="pdf", filename=name)
    await box.deliver(mail)
    ((id,),) = [[mail["id"] for mail in await box.payloads(1)]]
    with pytest.raises(Permanent, match="files_allow"):
        await box.react("mail.save", message=id, folder="/srv")
    folder = box.house.files
    saved = await box.react("mail.save", message=id, folder=f"{folder}/scans/")
    names = ["a.pdf", "a-2.pdf", "_.._etc_passwd"]
    assert [(file["name"], file["path"]) for file in saved["files"]] == [(n, f"{folder}/scans/{n}") for n in names]
    assert [(folder / "scans" / name).read_bytes() for name in names] == [b"%PDF", b"other", b"other"]


async def test_folders_are_offered(box):
    await box.house.awake()
    options = await box.house.services.options(
        "reaction", "mail.move", "to", {}, owner="u1", connection=box.connection.id, q="ar"
    )
    assert [option.value for option in options] == ["Archive"]


async def test_a_wrong_password_needs_a_person(box):
    await box.house.awake()
    wrong = await box.house.connections.create("u1", "mail", box.values | {"password": "wrong battery"}, name="wrong")
    with pytest.raises(AuthExpired, match="does not accept"):
        await box.house.react("mail.delete", wrong, message="1/1/INBOX")
    assert (await box.house.connections.test("u1", box.connection.id)).account == box.user


@pytest.mark.parametrize("way", ["tls", "starttls"])
async def test_mail_is_read_over_tls(box, certificate, way):
    port = box.server.secure if way == "tls" else box.server.port
    at = box.values | {"imap_tls": way, "imap_port": port, "imap_host": "home.example.org"}
    pem = certificate[0].decode()
    friend = await box.house.connections.create("u1", "mail", at | {"certificate": pem}, name="friend")
    stranger = await box.house.connections.create("u1", "mail", at, name="stranger")
    await box.house.awake()
    assert (await box.house.connections.test("u1", friend.id)).state == "ok"
    tried = await box.house.connections.test("u1", stranger.id)
    assert (tried.state, "certificate verify failed" in tried.error) == ("dead", True)
    want = Wanted(place="m", action="mail.received", params={}, connection=friend.id)
    (sub,) = await box.world.area("t", want)
    await box.house.listener.tick()

    async def ready():
        return (await box.world.subscriptions.load(sub.id)).cursor

    await until(ready)
    await box.deliver(letter("secret"))
    assert [mail["subject"] for mail in await box.payloads(1)] == ["secret"]


# -- sending -----------------------------------------------------------------------------------------------------------


class Post:
    """What a server got, and what it says to the next."""

    def __init__(self):
        self.got, self.open, self.says, self.after = [], [], "250 OK", None

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such user"
        if address.startswith("later"):
            return "450 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.got.append(envelope)
        if self.after is not None:
            self.after(server)
        return self.says

    def mail(self, index=-1):
        return email.message_from_bytes(self.got[index].content, policy=email.policy.default)


@pytest.fixture
async def post(house):
    """A house with a connection to an SMTP server that asks for no password."""
    await house.awake()
    handler = Post()
    server = await serving(handler)
    values = {
        "address": "ann@example.org", "smtp_host": "127.0.0.1", "smtp_port": port_of(server), "smtp_tls": "none",
    }  # fmt: skip
    connection = await house.connections.create("u1", "mail", values)
    handler.values, handler.house, handler.connection = values, house, connection
    handler.send = lambda **params: house.react("mail.send", connection, **({"subject": "s", "text": "t"} | params))
    yield handler
    await close(handler, server)


class Server(SMTP):
    """A server whose sockets a test can close: it waits half a minute for the end of TLS."""

    def connection_made(self, transport):
        inner = getattr(transport, "_ssl_protocol", None)
        self.event_handler.open.append(inner._transport if inner is not None else transport)
        super().connection_made(transport)


async def serving(handler, *, ssl=None, **options):
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Server(handler, loop=loop, **options), "127.0.0.1", 0, ssl=ssl)


async def close(handler, server):
    server.close()
    for transport in handler.open:
        transport.abort()
    for _ in range(10):
        await asyncio.sleep(0.002)  # so that they see their end


def port_of(server):
    return server.sockets[0].getsockname()[1]


async def test_a_mail_is_sent_whole(post):
    sent = await post.send(
        to="Bob <bob@example.org>, carol@example.org", cc=["dan@example.org"], bcc="eve@example.org", subject="Grüße\n!",
        text="Hällo", html="<b>Hällo</b>", reply_to="office@example.org", sender="Änne <ann@example.org>",
        attachments=[{"name": "a.txt", "text": "x"}, {"name": "b.pdf", "base64": "JVBERg=="}],
    )  # fmt: skip
    everybody = ["bob@example.org", "carol@example.org", "dan@example.org", "eve@example.org"]
    mail = post.mail()
    assert sent == {"message_id": mail["Message-ID"], "accepted": everybody, "refused": []}
    assert (post.got[0].mail_from, post.got[0].rcpt_tos) == ("ann@example.org", everybody)
    assert (mail["From"], mail["To"]) == ("Änne <ann@example.org>", "Bob <bob@example.org>, carol@example.org")
    assert (mail["Cc"], mail["Bcc"], mail["Reply-To"]) == ("dan@example.org", None, "office@example.org")
    assert (mail["Subject"], mail["Date"]) == ("Grüße !", "Thu, 01 Jan 2026 00:00:00 +0000")
    assert mail.get_body(("plain",)).get_content().strip() == "Hällo"
    assert mail.get_body(("html",)).get_content().strip() == "<b>Hällo</b>"
    assert [(file.get_filename(), file.get_content_type()) for file in mail.iter_attachments()] == [
        ("a.txt", "text/plain"), ("b.pdf", "application/pdf"),
    ]  # fmt: skip
    assert post.got[0].content.isascii()


async def test_every_attempt_has_the_same_id_and_every_step_another(post):
    ids = [(await post.send(to="bob@example.org", key=key))["message_id"] for key in ("k1", "k1", "k2")]
    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)


async def test_who_is_refused_is_told_and_the_others_get_it(post):
    sent = await post.send(to=["bob@example.org", "nobody@example.org"])
    assert (sent["accepted"], sent["refused"]) == (["bob@example.org"], ["nobody@example.org"])
    with pytest.raises(Permanent, match=r"nobody@example\.org: no such user"):
        await post.send(to="nobody@example.org")
    with pytest.raises(Transient, match="greylisted"):
        await post.send(to="later@example.org")


async def test_a_lost_answer_is_uncertain_and_a_refusal_is_not(post):
    post.says = "452 too busy"
    with pytest.raises(Transient, match="too busy"):
        await post.send(to="bob@example.org")
    post.says = "554 this is spam"
    with pytest.raises(Permanent, match="this is spam"):
        await post.send(to="bob@example.org")
    post.after = lambda server: server.transport.abort()
    with pytest.raises(Uncertain, match="gave no answer"):
        await post.send(to="bob@example.org")


async def test_a_server_that_is_not_there_is_tried_again(post):
    gone = await post.house.connections.create("u1", "mail", post.values | {"smtp_port": free_port()}, name="gone")
    with pytest.raises(Transient, match="connection refused"):
        await post.house.react("mail.send", gone, to="bob@example.org", subject="s", text="t")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"to": "bob"}, "no address"), ({"to": ""}, "1 to 100 recipients"), ({"to": "bob@example.org\nBcc: x@y.z"}, "no address"),
        ({"to": "bob@example.org", "attachments": [{"name": "a"}]}, "neither a text nor base64"),
        ({"to": "bob@example.org", "attachments": [{"text": "a"}]}, "has a name"),
    ],
)  # fmt: skip
async def test_what_is_no_mail_is_not_sent(post, params, message):
    with pytest.raises(Permanent, match=message):
        await post.send(**params)
    assert post.got == []


async def test_a_question_goes_by_mail_with_a_link_for_each_choice(post):
    page = "https://box.example.org/answer/1.x"
    choices = [{"choice": "Delete", "url": f"{page}/1", "data": "1.x/1"}, {"choice": "<Keep>", "url": f"{page}/2", "data": "1.x/2"}]
    await post.house.react("mail.ask", post.connection, to="bob@example.org", question="Delete\nit?", choices=choices)
    mail = post.mail()
    assert mail["Subject"] == "Delete it?"
    assert mail.get_body(("plain",)).get_content().split() == ["Delete", "it?", "Delete:", f"{page}/1", "<Keep>:", f"{page}/2"]
    html = mail.get_body(("html",)).get_content()
    assert f'<a href="{page}/2"><b>&lt;Keep&gt;</b></a>' in html
    with pytest.raises(Permanent, match="via of an ask step"):
        await post.house.react("mail.ask", post.connection, to="bob@example.org", question="?")


def test_a_mail_has_a_text_or_html(known):
    operation = known.reaction("mail.send")
    params = {"to": "bob@example.org", "subject": "s", "text": "", "html": ""}
    assert [problem.pointer for problem in operation.check(params)] == ["/text"]
    assert operation.effect_of(params) == "once"


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # aiosmtpd does not see TLS that was there from the start
@pytest.mark.parametrize("way", ["tls", "starttls"])
async def test_mail_is_sent_over_tls_with_a_password(house, certificate, tmp_path, way):
    for name, content in zip(("cert.pem", "key.pem"), certificate[:2], strict=True):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    handler = Post()

    def believe(server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (b"ann@example.org", PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    options = {"ssl": context} if way == "tls" else {"tls_context": context, "require_starttls": True}
    server = await serving(handler, authenticator=believe, auth_required=True, auth_require_tls=way != "tls", **options)
    try:
        await house.awake()
        values = {
            "address": "ann@example.org", "password": PASSWORD, "smtp_host": "home.example.org",
            "smtp_port": port_of(server), "smtp_tls": way, "certificate": certificate[0].decode(),
        }  # fmt: skip
        right = await house.connections.create("u1", "mail", values, name="right")
        tried = await house.connections.test("u1", "right")
        assert (tried.account, tried.error) == ("ann@example.org", None)
        await house.react("mail.send", right, to="bob@example.org", subject="s", text="t")
        assert len(handler.got) == 1
        wrong = await house.connections.create("u1", "mail", values | {"password": "wrong battery"}, name="wrong")
        with pytest.raises(AuthExpired, match="does not accept"):
            await house.react("mail.send", wrong, to="bob@example.org", subject="s", text="t")
    finally:
        await close(handler, server)


async def test_a_mail_is_answered_in_its_thread_and_marked(box, post):
    both = post.values | box.values
    connection = await box.house.connections.create("u1", "mail", both, name="both")
    await box.area()
    mail = letter("Lunch?")
    mail["Cc"], mail["References"] = f"dan@example.org, {box.user}", "<0@example.org>"
    await box.deliver(mail)
    (found,) = await box.payloads(1)
    sent = await box.house.react("mail.reply", connection, message=found["id"], text="Yes.", all=True)
    assert sent["accepted"] == ["bob@example.org", "ann@example.org", "dan@example.org"]
    answer = post.mail()
    assert (answer["Subject"], answer["To"]) == ("Re: Lunch?", "bob@example.org")
    assert answer["In-Reply-To"] == mail["Message-ID"]
    assert answer["References"].split() == ["<0@example.org>", mail["Message-ID"]]
    assert box.server.flags() == ["\\Answered"]

"""A mail server: Dovecot to receive, and aiosmtpd to send."""

from __future__ import annotations

import grp
import imaplib
import os
import pwd
import shutil
import signal
import tempfile
from email.message import EmailMessage
from pathlib import Path

from tests.connectors.brokers import Daemon, free_port, program

PASSWORD = "correct-horse"
CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
mail_max_userip_connections = 50
auth_mechanisms = plain login
auth_failure_delay = 0
ssl = {ssl}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  mailbox Trash {{
    auto = create
    special_use = \\Trash
  }}
  mailbox Archive {{
    auto = create
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {secure}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
{more}
"""


class Dovecot:
    """An IMAP server with a mailbox for whoever knows the password."""

    def __init__(self, certificate: tuple[bytes, bytes, str] | None = None) -> None:
        self._command = program("dovecot")
        self.folder = Path(tempfile.mkdtemp(prefix="areabox-dovecot-"))
        self.port, self.secure = free_port(), free_port() if certificate else 0
        user, more = self._people()
        if certificate is not None:
            for name, content in (("cert", certificate[0]), ("key", certificate[1])):
                (self.folder / f"{name}.pem").write_bytes(content)
                more += f"ssl_{name} = <{self.folder}/{name}.pem\n"
        config = self.folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(
                folder=self.folder, port=self.port, secure=self.secure, user=user.pw_name, password=PASSWORD,
                group=grp.getgrgid(user.pw_gid).gr_name, ssl="yes" if certificate else "no", more=more,
            )
        )  # fmt: skip
        self._daemon = Daemon(self.port, self._command, "-F", "-c", str(config), log=self.folder / "start.log")

    def _people(self) -> tuple[pwd.struct_passwd, str]:
        """Return who owns the mail, and what the server must know if it is not started by root."""
        mail = self.folder / "mail"
        mail.mkdir()
        if os.getuid() == 0:
            self.folder.chmod(0o755)
            user = pwd.getpwnam("mail")
            os.chown(mail, user.pw_uid, user.pw_gid)
            return user, ""
        me = pwd.getpwuid(os.getuid())
        group = grp.getgrgid(me.pw_gid).gr_name
        return me, (
            f"default_internal_user = {me.pw_name}\ndefault_login_user = {me.pw_name}\n"
            f"default_internal_group = {group}\n"
        )

    def start(self) -> None:
        self._daemon.start()

    def stop(self) -> None:
        self._daemon.stop()

    def close(self) -> None:
        self._daemon.stop(signal.SIGTERM)
        shutil.rmtree(self.folder)

    def client(self, user: str = "ann@example.org") -> imaplib.IMAP4:
        made = imaplib.IMAP4("127.0.0.1", self.port, timeout=10)
        made.login(user, PASSWORD)
        return made

    def deliver(self, *messages: EmailMessage, folder: str = "INBOX", user: str = "ann@example.org") -> None:
        client = self.client(user)
        for message in messages:
            assert client.append(folder, None, None, message.as_bytes())[0] == "OK"
        client.logout()

    def flags(self, folder: str = "INBOX") -> list[str]:
        """Return the flags of each message of a folder."""
        client = self.client()
        count = int(client.select(folder, readonly=True)[1][0])
        _, lines = client.fetch("1:*", "(FLAGS)") if count else ("OK", [])
        client.logout()
        found = [line.decode().partition("(FLAGS (")[2].rstrip(")") for line in lines if line]
        return [flags.replace("\\Recent", "").strip() for flags in found]

    def subjects(self, folder: str = "INBOX") -> list[str]:
        client = self.client()
        count = int(client.select(folder, readonly=True)[1][0])
        _, lines = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if count else ("OK", [])
        client.logout()
        return [line[1].decode().partition(":")[2].strip() for line in lines if isinstance(line, tuple)]


def letter(subject: str, text: str = "Hello.", sender: str = "Bob <bob@example.org>", **files: bytes) -> EmailMessage:
    """Return a mail; a file `a_txt` is called `a.txt`."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, "ann@example.org", subject
    made["Date"] = "Thu, 01 Jan 2026 13:00:00 +0100"
    made["Message-ID"] = f"<{abs(hash(subject))}@example.org>"
    made.set_content(text)
    for name, content in files.items():
        made.add_attachment(content, maintype="application", subtype="pdf", filename=name.replace("_", "."))
    return made

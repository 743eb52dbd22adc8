"""TLS by areabox itself, with certificates that change while it runs."""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from areabox.deployment import certificates, lifecycle
from areabox.deployment.certificates import Watch
from areabox.deployment.settings import load
from areabox.errors import ConfigurationError
from tests.deployment.test_lifecycle import FakeDaemon, get, serving


def write(folder: Path, name: str, days: int = 2) -> tuple[Path, Path]:
    """Write a certificate of `name` and its key, as who renews certificates does."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, content in ((folder / "cert.pem", pem), (folder / "key.pem", private)):
        path.with_suffix(".new").write_bytes(content)
        os.replace(path.with_suffix(".new"), path)
    return folder / "cert.pem", folder / "key.pem"


def shown(address: str) -> str:
    """Return the name of the certificate that a server shows, after a handshake with it."""
    from cryptography import x509

    host, port = address.removeprefix("https://").rsplit(":", 1)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, int(port)), 30) as raw, context.wrap_socket(raw) as secure:
        found = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
        return str(found.subject.rfc4514_string())


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    write(tmp_path, "first.example.org")
    flags = {"port": "0", "tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    return load(flags, {"AREABOX_DATA_DIR": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path)})


async def test_a_new_certificate_is_used_without_a_restart(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    made: list[Watch] = []
    monkeypatch.setattr(certificates, "Watch", lambda *given: made.append(Watch(*given)) or made[-1])
    settings.data_dir.mkdir()
    async with serving(FakeDaemon(), settings) as address:
        assert address.startswith("https://127.0.0.1:")
        assert await asyncio.to_thread(shown, address) == "CN=first.example.org"
        write(tmp_path, "second.example.org")
        assert made[0].tick() is True
        assert made[0].tick() is False
        assert await asyncio.to_thread(shown, address) == "CN=second.example.org"
        assert await get("http://localhost", settings.data_dir / "areabox.sock") == "local"


def test_half_of_a_renewal_changes_nothing_until_the_other_half_is_there(tmp_path: Path, caplog: Any) -> None:
    cert, key = write(tmp_path, "first.example.org")
    watch = Watch(certificates.load(cert, key), cert, key)
    old = key.read_bytes()
    write(tmp_path, "second.example.org")
    new = key.read_bytes()
    key.write_bytes(old)
    assert watch.tick() is False
    assert "the new certificate is not used yet" in caplog.text
    key.write_bytes(new + b"\n")
    assert watch.tick() is True
    cert.unlink()
    assert watch.tick() is False


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_what_is_no_certificate_stops_the_start(content: bytes | None, tmp_path: Path) -> None:
    cert, key = write(tmp_path, "first.example.org")
    if content is None:
        cert.unlink()
    else:
        cert.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"tls_cert .* cannot be used"):
        certificates.load(cert, key)


@pytest.mark.parametrize(("days", "state"), [(60, "ok"), (5, "warning"), (-1, "failed")])
async def test_the_doctor_says_when_it_ends(days: int, state: str, tmp_path: Path) -> None:
    from areabox.deployment.check import examine

    cert, key = write(tmp_path, "x.example.org", days)
    flags = {"tls_cert": str(cert), "tls_key": str(key), "data_dir": str(tmp_path / "data")}
    found = {finding.about: finding async for finding in examine(load(flags, {"XDG_CONFIG_HOME": str(tmp_path)}))}
    assert found["certificate"].state == state
    key.write_bytes(b"")
    found = {finding.about: finding async for finding in examine(load(flags, {"XDG_CONFIG_HOME": str(tmp_path)}))}
    assert found["certificate"].state == "failed"


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    assert certificates.load(*write(tmp_path, "x.example.org")).minimum_version == ssl.TLSVersion.TLSv1_2


async def test_webhooks_have_a_listener_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Daemon(FakeDaemon):
        async def hooks_asgi(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hooks"})

    bound: list[list[socket.socket]] = []
    real = lifecycle.sockets.tcp
    monkeypatch.setattr(lifecycle.sockets, "tcp", lambda host, port: bound.append(real(host, port)) or bound[-1])
    flags = {"port": "0", "hooks_listen": "127.0.0.1:0"}
    settings = load(flags, {"AREABOX_DATA_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    async with serving(Daemon(), settings) as address:
        assert await get(address) == "stranger"
        assert await get(f"http://127.0.0.1:{bound[-1][0].getsockname()[1]}") == "hooks"
    assert len(bound) == 2


@pytest.mark.parametrize(
    ("name", "given"),
    [("hooks_listen", "8081"), ("hooks_listen", "a:b"), ("base_path", "box"), ("base_path", "/a b"), ("base_path", "/../x"), ("cors_origins", "*"), ("cors_origins", "https://a.example/x"),
     ("access_log", "5"), ("access_log", "101%"), ("access_log", "often"), ("allow_from", "home"), ("preconditions", "maybe")],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(name: str, given: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=name):
        load({name: given}, {"AREABOX_DATA_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})

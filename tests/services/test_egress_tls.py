"""Certificates: the machine's authorities, and what a person pinned."""

from __future__ import annotations

import ssl

import pytest

from areabox.errors import Permanent
from areabox.services.wire import NotSent
from tests.services.loopback import Connection, echo, names, opened, serving


@pytest.fixture(scope="session")
def certificate() -> tuple[bytes, bytes, str]:
    """A certificate of `home.example.org` by nobody's authority: PEM, key, fingerprint."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "home.example.org")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("home.example.org")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private, made.fingerprint(hashes.SHA256()).hex()


@pytest.fixture
def tls(certificate, tmp_path) -> ssl.SSLContext:
    (tmp_path / "cert.pem").write_bytes(certificate[0])
    (tmp_path / "key.pem").write_bytes(certificate[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


HOME = names({"home.example.org": ["127.0.0.1"], "other.example.org": ["127.0.0.1"]})


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(clock, tls):
    async with serving(echo, tls=tls) as server, opened(clock, resolve=HOME) as egress:
        with pytest.raises(NotSent, match="its certificate is not trusted"):
            await egress.request("GET", server.url(host="home.example.org", scheme="https"))
        assert server.requests == []


async def test_a_pinned_certificate_is_trusted_for_its_name(clock, tls, certificate):
    pem = "pem:" + certificate[0].decode()
    async with serving(echo, tls=tls) as server, opened(clock, resolve=HOME) as egress:
        for _ in range(2):
            reply = await egress.request("GET", server.url(host="home.example.org", scheme="https"), trust=pem)
            assert reply.text == "GET / "
        assert server.connections == 1
        with pytest.raises(NotSent, match="not trusted"):
            await egress.request("GET", server.url(host="other.example.org", scheme="https"), trust=pem)
        with pytest.raises(Permanent, match="cannot be read"):
            await egress.request("GET", server.url(host="home.example.org", scheme="https"), trust="pem:rubbish")


async def test_a_pinned_fingerprint_is_trusted_and_another_is_not(clock, tls, certificate):
    async with serving(echo, tls=tls) as server, opened(clock, resolve=HOME) as egress:
        url = server.url(host="other.example.org", scheme="https")
        assert (await egress.request("GET", url, trust="sha256:" + certificate[2])).text == "GET / "
        server.requests.clear()
        with pytest.raises(Permanent, match="shows another certificate"):
            await egress.request("GET", url, trust="sha256:" + "0" * 64)
        assert server.requests == []


async def test_plain_http_on_the_other_side_is_no_secure_connection(clock):
    async def greets(connection: Connection) -> None:
        await connection.send(b"220 mail.example.org ESMTP\r\n")
        await connection.reader.read()

    async with serving(greets) as server, opened(clock) as egress:
        with pytest.raises(NotSent, match="no secure connection"):
            await egress.request("GET", server.url(scheme="https"))

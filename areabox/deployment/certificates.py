"""How does areabox speak TLS by itself? With a certificate and a key from files, read again when they change.

    context = load(cert, key)           raises ConfigurationError where they do not fit each other
    await Watch(context, cert, key).run()

Whoever renews certificates (certbot, acme.sh, step) only writes files: connections made from then on get the new one,
those that are open go on. A pair that does not fit, as in the middle of a renewal, is looked at again later.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import ssl
from pathlib import Path
from typing import Final

from areabox.errors import ConfigurationError

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
_Seen = tuple[tuple[int, int, int], ...]


def load(cert: Path, key: Path | None) -> ssl.SSLContext:
    """Return a context for a server: TLS 1.2 or later, OpenSSL's own choice of ciphers. Raises ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"tls_cert {cert} cannot be used: {_said(error)}") from error
    return context


def ends(cert: Path) -> dt.datetime:
    """Return when the first certificate of a file ends, in UTC; raises ConfigurationError."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(cert.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"tls_cert {cert} cannot be read: {error}") from error


def _said(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).replace("_", " ").lower()


class Watch:
    """Looks at the files, and gives the context what has changed."""

    def __init__(self, context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
        self._context, self._cert, self._key = context, cert, key
        self._seen = self._look()

    async def run(self) -> None:
        """Look now and then until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.tick()

    def tick(self) -> bool:
        """Read the files again if they changed; return whether the context got another certificate."""
        found = self._look()
        if found == self._seen or not found:
            return False
        try:
            load(self._cert, self._key)  # apart first: a context whose half was replaced could not speak any more
            self._context.load_cert_chain(self._cert, self._key)
        except (ConfigurationError, OSError, ssl.SSLError) as error:
            log.warning("the new certificate is not used yet: %s", error)
            self._seen = found
            return False
        self._seen = found
        log.info("the certificate was read again", extra={"path": str(self._cert)})
        return True

    def _look(self) -> _Seen:
        """Return what tells the files from later ones; nothing while one of them is not there."""
        try:
            found = [path.stat() for path in (self._cert, self._key) if path is not None]
        except OSError:
            return ()
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)

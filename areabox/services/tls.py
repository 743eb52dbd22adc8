"""Whose certificates are believed? The machine's own authorities; for a connection also one that a person pinned.

There is no switch that turns verification off. A server at home with a certificate of its own is trusted by
`pem:…` (the certificate of its authority, or its own) or by `sha256:…` (its fingerprint, then all that counts).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl

import httpx2

from areabox.errors import Permanent

_CONTEXTS_MAX = 64


class Trust:
    """The TLS contexts of one process: making one reads hundreds of certificates, so each is made once, in a thread."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._lock = asyncio.Lock()

    async def context(self, trust: str, *, http: bool = True) -> ssl.SSLContext:
        """Return the context for the machine's authorities (`""`) or a pinned certificate; raises `Permanent`.

        It offers HTTP, or no protocol in particular.
        """
        trusted = "sha256:" if trust.startswith("sha256:") else trust
        name = (trusted, http)
        if name not in self._contexts:
            async with self._lock:
                if name not in self._contexts:
                    if len(self._contexts) >= _CONTEXTS_MAX:
                        self._contexts.clear()
                    self._contexts[name] = await asyncio.to_thread(_make, *name)
        return self._contexts[name]

    @staticmethod
    def check(trust: str, name: str, transport: asyncio.BaseTransport) -> None:
        """Raise `Permanent` if a fingerprint was pinned and the other side shows another certificate."""
        if not trust.startswith("sha256:"):
            return
        connection = transport.get_extra_info("ssl_object")
        shown = connection.getpeercert(binary_form=True) if connection is not None else b""
        wanted = trust.removeprefix("sha256:").replace(":", "").lower()
        if not hmac.compare_digest(hashlib.sha256(shown or b"").hexdigest(), wanted):
            raise Permanent(f"{name} shows another certificate than the one whose fingerprint is trusted")


def _make(name: str, http: bool) -> ssl.SSLContext:  # noqa: FBT001 -- private
    context = _bare(name)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if http:
        context.set_alpn_protocols(["http/1.1"])
    return context


def _bare(name: str) -> ssl.SSLContext:
    if name == "sha256:":  # the fingerprint is compared before anything is sent
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if name.startswith("pem:"):
        try:
            context = ssl.create_default_context(cadata=name.removeprefix("pem:"))
        except (ssl.SSLError, ValueError) as error:
            raise Permanent(f"the trusted certificate cannot be read: {error}") from error
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # the server's own one will do
        return context
    if name:
        raise Permanent("a trusted certificate is given as pem:… or as sha256:…")
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return ssl.create_default_context()
    return httpx2.create_ssl_context(trust_env=False)  # a machine without authorities of its own

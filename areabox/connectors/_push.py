"""How is a push message encrypted and signed? RFC 8291 (aes128gcm of RFC 8188, one record) and VAPID, RFC 8292."""

from __future__ import annotations

import base64
import os
import struct
from typing import Any
from urllib.parse import urlsplit

import msgspec

RECORD = 4096
PLAIN_MAX = RECORD - 16 - 1 - 86  # without tag, delimiter and header
TOKEN_S = 12 * 3600  # a push service takes a day at most


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return what base64url means, padded or not; raises ValueError."""
    plain = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))


def private(scalar: bytes) -> Any:
    """Return the private key of P-256 that 32 bytes stand for."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())


def point(key: Any) -> bytes:
    """Return a public key as the 65 bytes of its uncompressed point."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found: bytes = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return found


def encrypted(plain: bytes, p256dh: str, auth: str, *, sender: Any = None, salt: bytes | None = None) -> bytes:
    """Return a message as a push service takes it, for the one browser that has the keys; raises ValueError.

    `sender` and `salt` are made anew for each message unless they are given.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    receiver = unb64(p256dh)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), receiver)
    sender, salt = sender or ec.generate_private_key(ec.SECP256R1()), salt or os.urandom(16)
    own = point(sender.public_key())
    shared = _derived(unb64(auth), sender.exchange(ec.ECDH(), public), b"WebPush: info\0" + receiver + own, 32)
    key = _derived(salt, shared, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(salt, shared, b"Content-Encoding: nonce\0", 12)
    head = salt + struct.pack(">IB", RECORD, len(own)) + own
    return head + AESGCM(key).encrypt(nonce, plain + b"\x02", None)


def authorization(scalar: bytes, endpoint: str, contact: str, now_s: float) -> str:
    """Return the header that says who sends: a token that this push service alone may take, and the public key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    key, parts = private(scalar), urlsplit(endpoint)
    claims: dict[str, Any] = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int(now_s) + TOKEN_S}
    if contact:
        claims["sub"] = contact if ":" in contact else f"mailto:{contact}"
    text = f"{b64(_json({'typ': 'JWT', 'alg': 'ES256'}))}.{b64(_json(claims))}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    signature = b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return f"vapid t={text}.{signature}, k={b64(point(key.public_key()))}"


def _derived(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt, info).derive(secret)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)

"""Which key signs push messages of this areabox? One of its own for each installation, derived from the master key."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from areabox.services.vault import Vault

PURPOSE = "push|vapid"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, FIPS 186-5


def push_key(vault: Vault) -> bytes:
    """Return the private key, 32 bytes; a new master key makes it another, and browsers must register anew."""
    return (int.from_bytes(vault.keys(PURPOSE)[0], "big") % (_ORDER - 1) + 1).to_bytes(32, "big")


def public_key(private: bytes) -> str:
    """Return the public key as browsers want it for `applicationServerKey`: the point in base64url."""
    key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()

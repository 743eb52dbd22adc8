"""What are the codes of a second factor? Of time, by RFC 6238 and RFC 4226; and those for when the phone is gone. Pure.

Time codes are six digits of HMAC-SHA-1 over the number of half minutes since 1970, since that is what every
authenticator understands. A clock may be one step off; a step is taken once, so that nobody can repeat what was seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final
from urllib.parse import quote, urlencode

STEP_MS: Final = 30_000
DIGITS: Final = 6
SKEW: Final = 1  # steps that a clock may be off, either way
SECRET_BYTES: Final = 20  # RFC 4226, section 4: as long as the hash
RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 10  # 80 bits: the hashes may be guessed at without end by whoever has the database
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # neither l, o, 0 nor 1, which look like others


def code(secret: bytes, step: int) -> str:
    """Return the code of a step (RFC 4226, section 5.3)."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def fitting_step(secret: bytes, given: str, now_ms: int, *, after: int = 0) -> int | None:
    """Return the step whose code was given, one later than `after`; None if it is none of now."""
    text = re.sub(r"[\s-]", "", given)
    now, found = now_ms // STEP_MS, None
    for step in range(now - SKEW, now + SKEW + 1):  # all of them, so that the time tells nothing
        if hmac.compare_digest(code(secret, step).encode(), text.encode()) and step > after:
            found = step
    return found


def address(secret: bytes, email: str, issuer: str = "areabox") -> str:
    """Return what the picture for an authenticator says (https://github.com/google/google-authenticator/wiki)."""
    label = quote(f"{issuer}:{email}", safe="")
    return f"otpauth://totp/{label}?{urlencode({'secret': as_text(secret), 'issuer': issuer})}"


def as_text(secret: bytes) -> str:
    """Return a secret as it is typed where there is no camera."""
    return base64.b32encode(secret).decode().rstrip("=")


def recovery_code(random: bytes) -> str:
    """Return 80 random bits as a code to write down."""
    number = int.from_bytes(random, "big")
    letters = "".join(_ALPHABET[number >> shift & 31] for shift in range(0, RECOVERY_BYTES * 8, 5))
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def recovery_hash(given: str) -> str:
    """Return what is stored of a recovery code, however it was typed."""
    return hashlib.sha256(re.sub(r"[\s-]", "", given).lower().encode()).hexdigest()

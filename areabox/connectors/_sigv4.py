"""How is a request to S3 signed? AWS Signature Version 4, in the header or in the address.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"


def quoted(text: str, *, safe: str = "") -> str:
    """Return a text as a path or query holds it; all but letters, digits and `-_.~` is encoded."""
    return quote(text, safe=f"{safe}-_.~")


def query_of(params: Mapping[str, str]) -> str:
    """Return a query in the order in which it is signed."""
    return "&".join(sorted(f"{quoted(name)}={quoted(value)}" for name, value in params.items()))


def headers(auth: Any, now: datetime, method: str, url: str, content: bytes) -> dict[str, str]:
    """Return the headers that sign a request whose address is quoted already."""
    digest = hashlib.sha256(content).hexdigest()
    sent = {"host": _host(url), "x-amz-content-sha256": digest, "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}"}
    signed = ";".join(sent)
    parts = urlsplit(url)
    lines = "".join(f"{name}:{value}\n" for name, value in sent.items())
    asked = "\n".join([method, parts.path or "/", parts.query, lines, signed, digest])
    credential = f"Credential={auth.access_key}/{_scope(auth, now)}"
    del sent["host"]
    return sent | {
        "Authorization": f"{ALGORITHM} {credential}, SignedHeaders={signed}, Signature={_signature(auth, now, asked)}"
    }


def address(auth: Any, now: datetime, method: str, url: str, expires_s: int) -> str:
    """Return an address that lets whoever has it do one thing for some seconds."""
    query = query_of({
        "X-Amz-Algorithm": ALGORITHM, "X-Amz-Credential": f"{auth.access_key}/{_scope(auth, now)}",
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}", "X-Amz-Expires": str(expires_s), "X-Amz-SignedHeaders": "host",
    })  # fmt: skip
    asked = "\n".join([method, urlsplit(url).path or "/", query, f"host:{_host(url)}\n", "host", UNSIGNED])
    return f"{url}?{query}&X-Amz-Signature={_signature(auth, now, asked)}"


def _host(url: str) -> str:
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return name if parts.port in (None, usual) else f"{name}:{parts.port}"


def _scope(auth: Any, now: datetime) -> str:
    return f"{now:%Y%m%d}/{auth.region}/s3/aws4_request"


def _signature(auth: Any, now: datetime, asked: str) -> str:
    key = f"AWS4{auth.secret_key}".encode()
    for part in _scope(auth, now).split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    said = [ALGORITHM, f"{now:%Y%m%dT%H%M%SZ}", _scope(auth, now), hashlib.sha256(asked.encode()).hexdigest()]
    return hmac.digest(key, "\n".join(said).encode(), "sha256").hex()

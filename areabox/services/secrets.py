"""How are secrets kept from being seen? A type that prints stars, and a scrubber that knows what must not be said."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

STARS = "***"
LENGTH_MIN = 6  # what is shorter would star out half of the language
_PERCENT = re.compile("%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")


class Secret:
    """A text that shows itself to `reveal` only: it prints as stars, and neither JSON nor pickle take it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text."""
        return self._value

    def __repr__(self) -> str:
        return STARS

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return STARS

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Scrubber:
    """Replaces known secrets by stars: as they are, and as URLs, base64, JSON, HTML, Python and hex write them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._shapes: list[str] = []  # the longest first, so that no end of one is left behind
        self.learn(secrets)

    def __bool__(self) -> bool:
        return bool(self._shapes)

    @property
    def known(self) -> frozenset[str]:
        """Return the secrets themselves, for a scrubber that is to know them, too."""
        return frozenset(self._known)

    def learn(self, secrets: Iterable[str]) -> None:
        """Add secrets; they are never forgotten, since a log line may come late."""
        new = {secret for secret in secrets if len(secret) >= LENGTH_MIN} - self._known
        if new:
            self._known |= new
            shapes = {shape for secret in self._known for shape in _shapes(secret)}
            self._shapes = sorted(shapes, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        for shape in self._shapes:
            if shape in text:
                text = text.replace(shape, STARS)
        return text

    def json(self, value: Any) -> Any:
        """Return a JSON value without secrets in its texts, keys included."""
        return self._json(value) if self._shapes else value

    def _json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value) if len(value) >= LENGTH_MIN else value
        if isinstance(value, dict):
            return {self.text(str(key)): self._json(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._json(item) for item in value]
        return value


def _shapes(secret: str) -> set[str]:
    raw, in_json = secret.encode(), [json.dumps(secret)[1:-1]]
    for _ in range(3):  # JSON in a text in JSON
        in_json.append(json.dumps(in_json[-1])[1:-1])
    urls = {quote(secret, safe=safe) for safe in ("", "/", "!'()*~")} | {quote_plus(secret)}
    return {
        secret,
        *urls,
        *(_PERCENT.sub(lambda found: found[0].lower(), url) for url in urls),
        *in_json,
        in_json[0].replace("/", "\\/"),
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        repr(secret)[1:-1],
        raw.hex(),
        raw.hex().upper(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        *_inner_base64(raw),
    }


def _inner_base64(raw: bytes) -> set[str]:
    """Return what base64 gives wherever the secret begins and ends inside a longer text, as in `user:password`."""
    found = set[str]()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        core = encoded[4 if before else 0 : (len(raw) + before) // 3 * 4]
        if len(core) >= LENGTH_MIN:
            found |= {core, core.translate(_URL_SAFE)}
    return found

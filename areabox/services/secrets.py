"""How are secrets kept from being seen? A type that prints stars, and a scrubber that knows what must not be said."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

STARS = "***"
LENGTH_MIN = 6  # what is shorter would star out half of the language


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
    """Replaces known secrets by stars: as they are, URL-encoded, in base64 and JSON-escaped."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def __bool__(self) -> bool:
        return self._pattern is not None

    def learn(self, secrets: Iterable[str]) -> None:
        """Add secrets; they are never forgotten, since a log line may come late."""
        new = {secret for secret in secrets if len(secret) >= LENGTH_MIN} - self._known
        if new:
            self._known |= new
            shapes = {shape for secret in self._known for shape in _shapes(secret)}
            self._pattern = re.compile("|".join(re.escape(shape) for shape in sorted(shapes, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        return text if self._pattern is None else self._pattern.sub(STARS, text)

    def json(self, value: Any) -> Any:
        """Return a JSON value without secrets in its texts, keys included."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(STARS, value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.json(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.json(item) for item in value]
        return value


def _shapes(secret: str) -> set[str]:
    raw = secret.encode()
    return {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        *_inner_base64(raw),
    }


def _inner_base64(raw: bytes) -> set[str]:
    """Return the middles that base64 gives where one or two bytes stand before it, as in `user:password`."""
    return {base64.b64encode(b"\0" * before + raw).decode().rstrip("=")[4:-2] for before in (1, 2) if len(raw) > 7}

"""What an expression may cost, and what it is told when it asks for something that is not there.

Nothing that a template does is free: work is counted in steps (less than a microsecond each), text and lists
that it makes are counted by size. A template that is out of budget fails; it never slows the house down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from areabox.areas.nearest import did_you_mean
from areabox.errors import AreaboxError

MAX_STEPS = 100_000
MAX_TEXT = 1_000_000  # characters that one evaluation may make, all results between included
MAX_BULK = 16_000_000  # characters inside a result that was put together, what was handed in included
MAX_DEPTH = 64  # of values inside values
REGEX_S = 0.05  # seconds that all regular expressions of one evaluation may take together


class EvaluationError(AreaboxError):
    """An expression could not be evaluated with the values that it was given; `path` says where in a larger value."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message, self.path = message, path

    def inside(self, key: str | int) -> EvaluationError:
        """Return the same error, seen from the value around."""
        return EvaluationError(self.message, f"{key}.{self.path}" if self.path else str(key))


class Undefined:
    """The answer to a name, key or index that is not there; using it is an error, asking `is defined` is not."""

    __slots__ = ("holder", "key", "spelled")

    def __init__(self, spelled: str, key: object = None, holder: Any = None) -> None:
        self.spelled, self.key, self.holder = spelled, key, holder

    def error(self) -> EvaluationError:
        """Return the error that its use causes, with the nearest name that is there."""
        return EvaluationError(f"{self.spelled} is undefined{self._hint()}")

    def _hint(self) -> str:
        if isinstance(self.holder, Mapping) and isinstance(self.key, str):
            stem = self.spelled[: -len(self.key)] if self.spelled.endswith(self.key) else ""
            hint = did_you_mean(self.key, self.holder)
            return hint.replace("mean ", f"mean {stem}", 1)
        if self.holder is None and self.key is not None:
            return " because what it is asked of is null"
        return ""


class Budget:
    """What one evaluation may still spend, and the names it sees."""

    __slots__ = ("bulk", "chars", "names", "regex_s", "steps")

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.steps = MAX_STEPS
        self.chars = MAX_TEXT
        self.bulk = MAX_BULK
        self.regex_s = REGEX_S

    def take(self, steps: int) -> None:
        """Spend steps."""
        self.steps -= steps
        if self.steps < 0:
            raise EvaluationError("the expression takes too many steps; let it do less, or use an each step")

    def room(self, length: int) -> None:
        """Spend room for text, before it is made."""
        self.chars -= length
        if self.chars < 0:
            raise EvaluationError(f"the expression makes more than {MAX_TEXT:,} characters of text")

    def made(self, text: str) -> str:
        """Spend room for a text that was just made, and return it."""
        self.chars -= len(text)
        if self.chars < 0:
            raise EvaluationError(f"the expression makes more than {MAX_TEXT:,} characters of text")
        return text

    def carry(self, length: int) -> None:
        """Spend room for text that was handed in and goes out again inside a list or object."""
        self.bulk -= length
        if self.bulk < 0:
            raise EvaluationError(f"the result holds more than {MAX_BULK:,} characters of text")

    def scan(self, text: str) -> str:
        """Spend steps for reading through a text once at the speed of C, and return it."""
        if len(text) > 255:
            self.take(len(text) >> 8)
        return text

    def listed(self, items: Iterable[Any]) -> list[Any]:
        """Return a list, paid for by its length."""
        made = items if isinstance(items, list) else list(items)
        self.take(len(made))
        return made

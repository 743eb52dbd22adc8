"""Which known word the writer most likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

_LONGEST, _MOST = 64, 1000


def nearest(word: str, known: Iterable[object]) -> str | None:
    """Return the known word that is most like `word`, or None where none is alike."""
    words = [name for name in islice(known, _MOST) if isinstance(name, str)]
    found = difflib.get_close_matches(word[:_LONGEST], words, 1, 0.6)
    if not found:
        lower = {name.lower(): name for name in words}
        found = [lower[match] for match in difflib.get_close_matches(word[:_LONGEST].lower(), lower, 1, 0.6)]
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[object]) -> str:
    """Return `; did you mean x?`, or nothing where no known word is alike."""
    found = nearest(word, known)
    return f"; did you mean {found}?" if found else ""

"""How long is `1h30m`? The durations of the area language, for connectors and their forms."""

from __future__ import annotations

import re

_UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_NUMBER = r"(\d{1,15}(?:\.\d{1,9})?)"
_PART = re.compile(rf"{_NUMBER}(ms|[wdhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_ISO = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?", re.IGNORECASE
)


def duration_ms(text: str) -> int:
    """Return a duration in milliseconds: `500ms 10s 5m 1h30m 2d 1w` or ISO 8601; raises ValueError."""
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return round(sum(float(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text)))
    iso = _ISO.fullmatch(text)
    if iso is None or not any(iso.groups()):
        raise ValueError(f"{text!r} is not a duration; write 500ms, 10s, 5m, 1h30m, 2d or 1w")
    return round(sum(float(n) * ms for n, ms in zip(iso.groups(), _UNITS_MS.values(), strict=False) if n))

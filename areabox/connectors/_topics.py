"""What is a topic of MQTT, and what a filter of topics? (MQTT 5, 4.7)."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

TOPIC_BYTES_MAX = 65_535
LEVELS_MAX = 10  # of a topic whose filter is looked for


def check_topic(text: str) -> None:
    """Raise ValueError for what no message can be sent to."""
    if not text or "\0" in text or len(text.encode()) > TOPIC_BYTES_MAX:
        raise ValueError("a topic has 1 to 65535 bytes, none of them zero")
    if "+" in text or "#" in text:
        raise ValueError("a message is sent to one topic, without + and #")


def check_filter(text: str) -> None:
    """Raise ValueError for what cannot be subscribed to."""
    levels = text.split("/")
    plain = "/".join("" if level in ("+", "#") else level for level in levels)
    if plain.strip("/") or not any(levels):
        check_topic(plain or text)
    if "#" in levels[:-1]:
        raise ValueError("# stands for all that follows, so it comes last")
    if levels[0] == "$share" and len(levels) < 3:
        raise ValueError("a shared topic is $share/GROUP/TOPIC")


def number(filter: str) -> int:
    """Return the number that a filter has at every broker: the same in every session, since brokers remember it."""
    return zlib.crc32(filter.encode()) % 0x0FFFFFFF + 1


def filter_of(topic: str, wanted: int) -> str | None:
    """Return the filter with a number for which a message on a topic came; None if it cannot be told."""
    return next((filter for filter in _filters(topic) if number(filter) == wanted), None)


def _filters(topic: str) -> Iterator[str]:
    levels = topic.split("/")
    if len(levels) > LEVELS_MAX:
        return
    for length in range(len(levels) + 1):
        for choice in itertools.product(*((level, "+") for level in levels[:length])):
            yield "/".join((*choice, "#"))
            if length == len(levels):
                yield "/".join(choice)

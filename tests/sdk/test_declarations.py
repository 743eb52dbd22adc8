"""A service as its connector declares it."""

from __future__ import annotations

import pytest

from areabox.sdk import Connector, Event, Field, Url, duration_ms, hmac_sha256

demo = Connector("demo", "Demo")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500), ("10s", 10_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("1w", 604_800_000),
        ("PT5M", 300_000), ("P1DT2H", 93_600_000), ("1.5s", 1500),
    ],
)  # fmt: skip
def test_a_duration_is_read_as_in_the_area_language(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "5x", "P", "PT", "m5", "-5m"])
def test_what_is_no_duration_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_ms(text)


def test_the_last_field_that_says_something_wins() -> None:
    server = Field("Server", help="At home.").over(Url.__metadata__[0])
    assert (server.label, server.help, server.format) == ("Server", "At home.", "url")


def test_an_action_is_of_one_kind_only() -> None:
    with pytest.raises(TypeError, match="only one of poll, hook"):

        @demo.action("Both", sentence="both", sample=Event(id="1"), poll="5m", hook=hmac_sha256("X"))
        def both() -> None:
            """Fire."""


def test_what_was_decorated_can_still_be_called() -> None:
    @demo.reaction("Add", sentence="add {a}")
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    with pytest.raises(StopIteration, match="3"):
        add(1, 2).send(None)

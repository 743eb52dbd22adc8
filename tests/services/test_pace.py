"""How fast may a service be asked?"""

from __future__ import annotations

import pytest

from areabox.services.pace import parse_rate


@pytest.mark.parametrize(
    ("text", "rate"), [("5000/h", (5000, 3600)), ("200/15m", (200, 900)), ("10/s", (10, 1)), ("1/500ms", (1, 0.5))]
)
def test_a_rate_is_so_many_in_such_a_time(text: str, rate: tuple[int, float]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "5", "/h", "0/h", "5/", "5/y", "-5/h"])
def test_what_is_no_rate_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)

"""How are secrets kept from being seen?"""

from __future__ import annotations

import base64
import json
import pickle
from urllib.parse import quote

import msgspec
import pytest

from areabox.services.secrets import Scrubber, Secret

CANARY = 'caña/ry "5ecret"'


def test_a_secret_prints_as_stars_and_shows_itself_to_reveal_only() -> None:
    secret = Secret(CANARY)
    assert f"{secret} {secret!r} {secret:>20} {[secret]}" == "*** *** *** [***]"
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert not Secret("")


@pytest.mark.parametrize("write", [json.dumps, msgspec.json.encode, pickle.dumps])
def test_a_secret_cannot_be_written(write: object) -> None:
    with pytest.raises(TypeError):
        write(Secret(CANARY))  # type: ignore[operator]


@pytest.mark.parametrize(
    "shape",
    [
        CANARY,
        quote(CANARY, safe=""),
        json.dumps(CANARY),
        json.dumps(CANARY, ensure_ascii=False),
        base64.b64encode(CANARY.encode()).decode(),
        base64.urlsafe_b64encode(CANARY.encode()).decode(),
        base64.b64encode(f"u:{CANARY}".encode()).decode(),
        base64.b64encode(f"user:{CANARY}".encode()).decode(),
    ],
)
def test_the_scrubber_knows_a_secret_in_every_shape(shape: str) -> None:
    found = Scrubber([CANARY]).text(f"before {shape} after")
    assert "***" in found
    assert shape not in found
    assert found.startswith("before ")
    assert found.endswith(" after")


def test_json_is_scrubbed_in_keys_and_at_every_depth() -> None:
    scrubber = Scrubber(["hunter2hunter2"])
    value = {"a": ["x hunter2hunter2"], "hunter2hunter2": 1, "n": None}
    assert scrubber.json(value) == {"a": ["x ***"], "***": 1, "n": None}


def test_short_words_are_left_alone_and_nothing_is_done_without_secrets() -> None:
    value = {"a": "1234"}
    assert Scrubber(["1234"]).json(value) is value
    assert not Scrubber(["1234"])


def test_a_scrubber_learns() -> None:
    scrubber = Scrubber(["first-secret"])
    scrubber.learn(["other-secret"])
    assert scrubber.text("first-secret other-secret") == "*** ***"

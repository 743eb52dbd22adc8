"""How secrets lie in documents."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from areabox.areas.sealing import STARS, Sealing
from areabox.errors import ConfigurationError, InputError


class Field(msgspec.Struct, frozen=True):
    secret: bool = False


class Operation(msgspec.Struct, frozen=True):
    fields: dict[str, Field]


class Catalogue:
    def action(self, name: str) -> Operation | None:
        return Operation({"topic": Field(), "password": Field(secret=True)}) if name == "mq.message" else None

    def reaction(self, name: str) -> Operation | None:
        return Operation({"url": Field(), "token": Field(secret=True)}) if name in ("web.call", "web.other") else None

    def names(self, kind: str) -> list[str]:
        return []


class Vault:
    """Turns texts round, so that a test sees what was done."""

    def seal(self, purpose: str, data: bytes) -> bytes:
        return f"{purpose}#{data.decode()[::-1]}".encode()

    def open(self, purpose: str, sealed: bytes) -> bytes:
        whose, _, text = sealed.decode().partition("#")
        if whose != purpose:
            raise ConfigurationError("another key")
        return text[::-1].encode()


DOCUMENT: dict[str, Any] = {
    "area": "one",
    "when": [{"mq.message": {"topic": "t", "password": "pw"}, "id": "a"}],
    "then": [
        {"web.call": {"url": "u", "token": "first"}, "id": "a"},
        {"each": "[1]", "id": "l", "then": [{"web.call": {"url": "u", "token": "second"}, "id": "b", "on_error": [
            {"web.other": {"token": "{{ trigger.t }}"}, "id": "c"}]}]},
        {"wait_for": {"mq.message": {"topic": "t", "password": "third"}}, "id": "w"},
        {"web.call": {"url": "u", "token": ""}, "id": "e"},
        {"probe.do": {"token": "no secret"}, "id": "p"},
    ],
}  # fmt: skip


@pytest.fixture
def sealing() -> Sealing:
    return Sealing(Catalogue(), Vault())


def test_what_is_sealed_is_opened_again_and_only_for_its_own_area(sealing: Sealing) -> None:
    stored = sealing.seal("id1", DOCUMENT)
    text = msgspec.json.encode(stored).decode()
    assert not any(secret in text for secret in ('"pw"', "first", "second", "third", "trigger.t"))
    assert "no secret" in text
    assert sealing.open("id1", stored) == DOCUMENT
    with pytest.raises(InputError):
        sealing.open("id2", stored)


def test_stars_stand_where_secrets_are_and_nowhere_else(sealing: Sealing) -> None:
    for document in (DOCUMENT, sealing.seal("id1", DOCUMENT)):
        shown = sealing.star(document)
        assert shown["when"][0]["mq.message"] == {"topic": "t", "password": STARS}
        assert shown["then"][1]["then"][0]["on_error"][0]["web.other"] == {"token": STARS}
        assert shown["then"][2]["wait_for"]["mq.message"]["password"] == STARS
        assert shown["then"][3]["web.call"]["token"] == ""
        assert shown["then"][4]["probe.do"] == {"token": "no secret"}


def test_stars_become_the_secrets_of_the_same_steps(sealing: Sealing) -> None:
    starred = sealing.star(DOCUMENT)
    assert sealing.restore(starred, DOCUMENT) == DOCUMENT
    starred["then"].reverse()
    starred["then"].insert(0, {"return": 1, "id": "r"})
    restored = sealing.restore(starred, DOCUMENT)
    assert restored["then"][1:] == list(reversed(DOCUMENT["then"]))


@pytest.mark.parametrize("change", [
    lambda d: d["then"][0].update(id="new"),
    lambda d: d["then"].__setitem__(0, {"web.other": {"token": STARS}, "id": "a"}),
    lambda d: d["when"][0].update(id="new"),
    lambda d: d["then"].append({"mq.message": {"password": STARS}, "id": "a2"}),
])  # fmt: skip
def test_stars_are_not_the_secret_of_another_step_or_operation(sealing: Sealing, change: Any) -> None:
    starred = msgspec.json.decode(msgspec.json.encode(sealing.star(DOCUMENT)))
    change(starred)
    with pytest.raises(InputError) as told:
        sealing.restore(starred, DOCUMENT)
    assert len(told.value.problems) == 1
    assert told.value.problems[0].pointer.rpartition("/")[2] in ("token", "password")


def test_a_trigger_and_a_step_of_the_same_name_are_two(sealing: Sealing) -> None:
    document = {
        "when": [{"web.call": {"token": "when"}, "id": "a"}],
        "then": [{"web.call": {"token": "then"}, "id": "a"}],
    }
    assert sealing.restore(sealing.star(document), document) == document


def test_stars_without_a_former_document_are_refused(sealing: Sealing) -> None:
    with pytest.raises(InputError):
        sealing.restore(sealing.star(DOCUMENT), None)


@pytest.mark.parametrize("value", [{"$sealed": "bm90aGluZw=="}, {"$sealed": "no base64!"}, {"$sealed": None}])
def test_what_looks_sealed_is_not_taken_from_a_document(sealing: Sealing, value: Any) -> None:
    with pytest.raises(InputError):
        sealing.restore({"then": [{"probe.do": {"value": [value]}, "id": "a"}]}, None)

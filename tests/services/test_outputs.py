"""What do later steps see of an event or a result?"""

from __future__ import annotations

import datetime as dt

import msgspec

from areabox.sdk import Event
from areabox.services.outputs import Output


class User(msgspec.Struct, rename={"name": "login"}):
    name: str


class Issue(Event, rename={"url": "html_url"}):
    url: str
    user: User
    labels: tuple[str, ...] = ()
    due: dt.date | None = None


ISSUE = Issue(id="1", url="u", user=User("ann"), labels=("a",), due=dt.date(2026, 1, 1))
PLAIN = {"url": "u", "user": {"name": "ann"}, "labels": ["a"], "due": "2026-01-01", "id": "1"}


def test_a_struct_gives_its_own_names_whatever_the_provider_calls_them() -> None:
    assert Output(Issue, ISSUE).plain(ISSUE) == PLAIN


def test_the_schema_has_those_names_too() -> None:
    schema = Output(Issue, ISSUE).schema()
    assert set(schema["properties"]) == {"id", "url", "user", "labels", "due"}
    assert schema["required"] == ["url", "user"]
    assert schema["$defs"]["User"]["properties"] == {"name": {"type": "string"}}


def test_an_untyped_mapping_looks_like_its_sample() -> None:
    output = Output(dict, {"status": 200, "items": [{"a": None}]})
    assert output.schema()["properties"]["items"]["items"] == {"type": "object", "properties": {"a": {}}}


def test_an_event_without_an_id_does_not_show_one() -> None:
    class Due(Event):
        due: str

    output = Output(Due, Due(due="now"))
    assert output.shown() == {"due": "now"}
    assert set(output.schema()["properties"]) == {"due"}


def test_json_stays_as_it_is_and_everything_else_becomes_json() -> None:
    answer = {"a": [1, {"b": None}]}
    assert Output(dict).plain(answer) is answer
    assert Output(dict).plain({"a": (1, 2), 3: b"x"}) == {"a": [1, 2], "3": "eA=="}

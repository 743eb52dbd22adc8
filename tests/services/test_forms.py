"""What does a form ask for, and is what was filled in all right?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from areabox.errors import InputError
from areabox.sdk import UNSET, Context, Field, Secret, Text, Url
from areabox.services import forms

Topic = Annotated[str, Field("Topic", "Letters.", pattern=r"^[a-z]{1,8}$")]


async def publish(
    ctx: Context,
    topic: Topic,
    message: Text,
    priority: Annotated[int, Field("Priority", ge=1, le=5)] = 3,
    click: Url = "",
    tags: list[str] = [],  # noqa: B006 -- as a connector might write it
    headers: dict[str, str] | None = None,
    mode: Literal["loud", "quiet"] = "loud",
    json: Any = UNSET,
    token: Secret = "",
) -> None:
    """Push."""


FORM = forms.of_function(publish)


def details(values: dict[str, Any]) -> dict[str, str]:
    return {problem.pointer: problem.detail for problem in FORM.check_all(values)}


def test_the_signature_is_the_form() -> None:
    assert list(FORM.fields) == [
        "topic", "message", "priority", "click", "tags", "headers", "mode", "json", "token",
    ]  # fmt: skip
    assert [name for name, field in FORM.fields.items() if field.required] == ["topic", "message"]
    widgets = {name: field.widget for name, field in FORM.fields.items()}
    assert widgets == {
        "topic": "text", "message": "textarea", "priority": "number", "click": "url", "tags": "list",
        "headers": "keyvalue", "mode": "select", "json": "json", "token": "password",
    }  # fmt: skip
    assert FORM.secrets == ("token",)


def test_values_are_converted_and_defaults_filled_in() -> None:
    found = FORM.convert({"topic": "news", "message": "hi", "priority": "5"})
    assert found["priority"] == 5
    assert found["click"] == ""
    assert found["json"] is UNSET
    assert FORM.convert({"topic": "news", "message": "hi", "json": None})["json"] is None


def test_lists_that_are_defaults_are_not_shared_between_calls() -> None:
    first = FORM.convert({"topic": "news", "message": "hi"})
    first["tags"].append("x")
    assert FORM.convert({"topic": "news", "message": "hi"})["tags"] == []


@pytest.mark.parametrize(
    ("value", "text"), [(5, "5"), (1.5, "1.5"), (True, "true"), ({"a": [1]}, '{"a":[1]}'), ([1, "b"], '[1,"b"]')]
)
def test_what_is_no_text_becomes_text_where_text_is_wanted(value: Any, text: str) -> None:
    found = FORM.convert({"topic": "news", "message": value, "headers": {"a": value}, "tags": [value]})
    assert (found["message"], found["headers"], found["tags"]) == (text, {"a": text}, [text])


def test_null_means_not_given_where_that_may_be_left_out() -> None:
    assert FORM.convert({"topic": "news", "message": "hi", "click": None, "priority": None})["priority"] == 3
    with pytest.raises(InputError, match="/message: expected text, got null"):
        FORM.convert({"topic": "news", "message": None})


def test_all_problems_are_told_at_once_and_each_says_where() -> None:
    assert details({"topic": "NEWS", "priority": 9, "mode": "silent", "click": "ftp://x", "massage": ""}) == {
        "/massage": "there is no massage here; did you mean message?",
        "/message": "it is missing",
        "/topic": "expected text matching regex '^[a-z]{1,8}$'",
        "/priority": "expected a whole number <= 5",
        "/mode": "'silent' is none of loud, quiet",
        "/click": "'ftp://x' is not an address that begins with http:// or https://",
    }


def test_what_is_given_may_be_checked_while_the_rest_is_missing() -> None:
    assert FORM.check({"topic": "news"}) == []
    assert [p.pointer for p in FORM.check({"topic": 5.5})] == ["/topic"]


def test_a_wrong_place_inside_of_a_value_is_named() -> None:
    assert details({"topic": "a", "message": "b", "headers": {"x": None}})["/headers"].endswith("at [...]")


def test_the_json_schema_says_what_the_form_shows() -> None:
    schema = FORM.schema()
    assert schema["required"] == ["topic", "message"]
    assert schema["properties"]["topic"] == {
        "title": "Topic", "description": "Letters.", "type": "string", "pattern": "^[a-z]{1,8}$",
    }  # fmt: skip
    assert schema["properties"]["click"]["format"] == "uri"
    assert schema["properties"]["token"]["writeOnly"] is True
    msgspec.json.encode(schema)


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        ("url", "https://example.org:8443/a", "https://example.org:99999/"),
        ("email", "ann@example.org", "ann"),
        ("cron", "*/5 * * * *", "61 * * * *"),
        ("duration", "1h30m", "soon"),
        ("datetime", "2026-01-01T08:00:00Z", "tomorrow"),
        ("timezone", "Europe/Paris", "Europe/Atlantis"),
        ("color", "#f80", "red"),
    ],
)
def test_formats_are_checked(format: Any, good: str, bad: str) -> None:
    form = forms.of_types("one", {"value": Annotated[str, Field(format=format)]})
    assert form.check({"value": good}) == []
    assert form.check({"value": bad})


def test_a_field_may_have_a_check_of_its_own() -> None:
    def even(value: int) -> None:
        if value % 2:
            raise ValueError(f"{value} is odd")

    form = forms.of_types("one", {"n": (Annotated[int, Field(check=even)], 2)})
    assert form.check({"n": 3})[0].detail == "3 is odd"
    with pytest.raises(InputError, match="3 is odd"):
        form.convert({"n": 3})


def test_a_signature_that_is_no_form_is_refused() -> None:
    async def any_number(ctx: Context, *names: str) -> None: ...
    async def untyped(ctx: Context, name) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match="any number"):
        forms.of_function(any_number)
    with pytest.raises(TypeError, match="name has no type"):
        forms.of_function(untyped)

"""`page.changed`, against a real server."""

from __future__ import annotations

from typing import Any

import pytest

from areabox.connectors.page import _difference, _found, _number
from areabox.errors import Permanent, Transient
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from tests.connectors.calls import poll
from tests.services.web import Request, Server, reply


@pytest.fixture
def services(alone: Services) -> Services:
    return alone


class Watch:
    def __init__(self, services: Services, server: Server) -> None:
        self.services, self.server, self.cursor = services, server, dict[str, Any]()

    async def __call__(self, content: str | bytes, kind: str = "text/html; charset=utf-8", **params: Any) -> list[Any]:
        body = content if isinstance(content, bytes) else content.encode()
        self.server.answer = reply(200, body, content_type=kind)
        return await poll(self.services, "page.changed", self.cursor, url=self.server.url, **params)


@pytest.fixture
def watch(services: Services, server: Server) -> Watch:
    return Watch(services, server)


def page(price: str, more: str = "") -> str:
    return f"<html><head><title>T {more}</title></head><body><p class=price>{price}</p><p>b</p>{more}</body></html>"


async def test_a_change_tells_what_was_and_what_is(watch: Watch) -> None:
    assert await watch(page("24.90 €"), css=".price") == []
    assert await watch(page("24.90 €", "<p>more</p>"), css=".price") == []
    (event,) = await watch(page("19.90 €"), css=".price")
    assert event.pop("id").startswith("1-")
    assert event == {
        "url": watch.server.url, "text": "19.90 €", "old": "24.90 €", "new": "19.90 €",
        "difference": "- 24.90 €\n+ 19.90 €", "number": 19.9, "old_number": 24.9,
    }  # fmt: skip


async def test_what_goes_back_and_forth_fires_each_time_under_an_id_of_its_own(watch: Watch) -> None:
    found = [await watch(page(price), css=".price") for price in ("1", "2", "1", "2")]
    assert [len(events) for events in found] == [0, 1, 1, 1]
    assert len({events[0]["id"] for events in found[1:]}) == 3


async def test_the_whole_page_is_its_text_without_scripts_and_white_space(watch: Watch) -> None:
    assert await watch(page("1", "<script>let t = 1</script>")) == []
    assert await watch(page("  1\n", "\n <script>let t = 2</script><style>p {}</style>")) == []
    (event,) = await watch(page("1", "<p>new</p>"))
    assert (event["text"], event["difference"]) == ("1\nb\nnew", "+ new")


async def test_an_attribute_is_watched(watch: Watch) -> None:
    link = "<a class=x href='/{}'>same</a>"
    await watch(link.format("v1.zip"), css="a.x::attr(href)")
    (event,) = await watch(link.format("v2.zip"), css="a.x::attr(href)")
    assert event["text"] == "/v2.zip"


async def test_json_is_watched_by_a_path(watch: Watch) -> None:
    await watch('{"items": [{"a": 1, "t": 1}, {"a": 2}]}', "application/json", json="items[*].a")
    assert await watch('{"items": [{"a": 1, "t": 2}, {"a": 2}]}', "application/json", json="items[*].a") == []
    (event,) = await watch('{"items": [{"a": 1}, {"a": 3}]}', "application/json", json="items[*].a")
    assert (event["old"], event["new"], event["difference"]) == ("1\n2", "1\n3", "- 2\n+ 3")


async def test_a_regular_expression_gives_its_groups(watch: Watch) -> None:
    await watch("Version 1.2, built by 9", "text/plain", regex=r"Version ([\d.]+)")
    assert await watch("Version 1.2, built by 10", "text/plain", regex=r"Version ([\d.]+)") == []
    (event,) = await watch("Version 1.3", "text/plain", regex=r"Version ([\d.]+)")
    assert event["text"] == "1.3"


async def test_a_regular_expression_that_explodes_is_stopped(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("areabox.connectors.page.REGEX_S", 0.1)
    with pytest.raises(Permanent, match="takes too long"):
        await watch("a" * 5000 + "b", "text/plain", regex=r"(?:a|aa)+$")


async def test_what_is_not_there_is_an_error_and_no_change_unless_wanted(watch: Watch) -> None:
    await watch(page("1"), css=".price")
    with pytest.raises(Permanent, match=r"nothing at this address matches \.price"):
        await watch("<p>we are closed</p>", css=".price")
    assert await watch(page("1"), css=".price") == []
    (event,) = await watch("<p>sold out</p>", css=".price", absent="empty")
    assert (event["text"], event["number"], event["old_number"]) == ("", None, 1.0)


async def test_a_page_that_has_not_changed_is_not_sent_again(services: Services, server: Server) -> None:
    def answer(request: Request) -> bytes:
        return reply(304) if request.headers.get("if-none-match") == '"1"' else reply(200, b"<p>a</p>", etag='"1"')

    cursor: dict[str, Any] = {}
    server.answer = answer
    for _ in range(2):
        assert await poll(services, "page.changed", cursor, url=server.url) == []
    assert server.requests[1].headers["if-none-match"] == '"1"'


async def test_an_old_charset_is_read(watch: Watch) -> None:
    text = "<meta charset=iso-8859-1><p>{}</p>"
    await watch(text.format("Käse").encode("latin-1"), "text/html", css="p")
    (event,) = await watch(text.format("Brötchen").encode("latin-1"), "text/html", css="p")
    assert (event["old"], event["new"]) == ("Käse", "Brötchen")


async def test_a_server_in_trouble_is_no_change(watch: Watch, server: Server, services: Services) -> None:
    await watch(page("1"), css=".price")
    server.answer = reply(503, b"<p class=price>2</p>")
    with pytest.raises(Transient):
        await poll(services, "page.changed", watch.cursor, url=server.url, css=".price")
    with pytest.raises(Transient, match="not JSON"):
        await watch("<p>log in</p>", json="a")


@pytest.mark.parametrize(
    ("params", "pointer"),
    [({"css": "a[["}, "/css"), ({"regex": "("}, "/regex"), ({"json": "a..b"}, "/json"), ({"json": "[x]"}, "/json"),
     ({"css": "a", "regex": "b"}, "/regex"), ({"url": "example.org"}, "/url")],
)  # fmt: skip
def test_mistakes_are_found_when_the_area_is_stored(catalogue: Catalogue, params: dict[str, Any], pointer: str) -> None:
    operation = catalogue.action("page.changed")
    assert operation is not None
    assert [problem.pointer for problem in operation.check({"url": "https://example.org"} | params)] == [pointer]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", [{"b c": [1, 2, 3]}]), ('a."b c"[0]', [1]), ("$.a.*[-1]", [3]), ('a["b c"]', None), ("a.x", []), ("b[7]", []),
        ("b[*].n", [1, 2]), ("b[*]", [{"n": 1}, {"n": 2}]), ("b.n", []), ("[0]", []), ("$", [{"a": {"b c": [1, 2, 3]}, "b": [{"n": 1}, {"n": 2}]}]),
    ],
)  # fmt: skip
def test_paths_lead_into_json(path: str, found: list[Any] | None) -> None:
    value = {"a": {"b c": [1, 2, 3]}, "b": [{"n": 1}, {"n": 2}]}
    if found is None:
        with pytest.raises(ValueError, match="is no path"):
            _found(value, path)
    else:
        assert _found(value, path) == found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("€ 19.90", 19.9), ("19,90 €", 19.9), ("1,234.50", 1234.5), ("1.234,50", 1234.5), ("1 234,5 kr", 1234.5),
        ("1'000", 1000), ("12,345 km", 12345), ("21.125 °C", 21.125), ("-3", -3), ("\u22125 °C", -5), ("1.234.567", 1234567),
        ("none", None), ("in 5 of 7", 5), ("2026", 2026),
    ],
)  # fmt: skip
def test_the_first_number_is_read_however_it_is_written(text: str, number: float | None) -> None:
    assert _number(text) == number


def test_a_difference_shows_lines_that_begin_with_signs() -> None:
    assert _difference("a\n-- b\nc", "a\n++ b\nc") == "- -- b\n+ ++ b"

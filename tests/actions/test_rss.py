"""Feeds as they are: ids, order, times, quirks, and what is no feed at all."""

from __future__ import annotations

import pytest

from areabox.connectors.rss import parse
from areabox.sdk import Permanent

URL = "https://example.org/feed.xml"


def rss(*items: str, channel: str = "") -> bytes:
    return f"<rss version='2.0'><channel><title>T</title>{channel}{''.join(items)}</channel></rss>".encode()


def item(n: int, **fields: str) -> str:
    fields = {"guid": f"g{n}", "title": f"t{n}", "link": f"https://example.org/{n}"} | fields
    return "<item>" + "".join(f"<{k}>{v}</{k}>" for k, v in fields.items() if v) + "</item>"


def test_the_newest_comes_last():
    assert [e.title for e in parse(rss(item(3), item(2), item(1)), URL, "")] == ["t1", "t2", "t3"]


def test_times_decide_where_all_entries_have_one():
    days = {
        1: "Mon, 05 Jan 2026 10:00:00 +0100",
        2: "Tue, 06 Jan 2026 10:00:00 GMT",
        3: "Wed, 07 Jan 2026 10:00:00 GMT",
    }
    found = parse(rss(*(item(n, pubDate=days[n]) for n in (1, 3, 2))), URL, "")
    assert [e.title for e in found] == ["t1", "t2", "t3"]
    assert found[0].published == "2026-01-05T09:00:00Z"


def test_an_atom_entry_has_all_its_fields():
    atom = b"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><entry><id>tag:x,1</id><title type="html">A &amp;amp; B</title>
      <link href="https://example.org/a"/><link rel="enclosure" href="https://example.org/a.mp3"/><author><name>Ann</name></author>
      <updated>2026-01-05T10:00:00+01:00</updated><category term="news"/><content type="html">&lt;p&gt;text&lt;script&gt;x()&lt;/script&gt;&lt;/p&gt;</content></entry></feed>"""
    (entry,) = parse(atom, URL, "application/atom+xml")
    assert (entry.id, entry.link, entry.author) == ("tag:x,1", "https://example.org/a", "Ann")
    assert entry.title == "A &amp; B"
    assert entry.published == "2026-01-05T09:00:00Z"
    assert entry.tags == ("news",)
    assert entry.enclosures == ("https://example.org/a.mp3",)
    assert "text" in entry.summary
    assert "script" not in entry.summary


def test_an_entry_without_an_id_is_known_by_its_link_or_its_text():
    link, text, nothing = item(1, guid=""), item(2, guid="", link=""), "<item></item>"
    one, two = sorted(parse(rss(link, text, nothing), URL, ""), key=lambda entry: entry.title)
    assert one.id == "https://example.org/1"
    assert len(two.id) == 32


def test_ids_stay_when_a_feed_moves():
    moved = parse(rss(item(1, guid="/posts/1")), URL, "")
    assert moved[0].id == parse(rss(item(1, guid="/posts/1")), URL, "text/xml")[0].id


@pytest.mark.parametrize(
    "body",
    [
        rss(item(1)).replace(b"t1", b"Fish & Chips"),  # a bare &
        b"\n\n  " + rss(item(1)),  # blanks before it begins
        rss(item(1)).replace(b"</channel></rss>", b""),  # cut off
        b"\xef\xbb\xbf" + rss(item(1)),
        rss(item(1)).replace(b"t1", "ü".encode("latin-1")),  # wrong encoding
        ("<?xml version='1.0' encoding='utf-16'?>" + rss(item(1)).decode()).encode("utf-16"),
        rss(item(1)).replace(b"<rss version='2.0'>", b"<?xml version='1.0' encoding='nonsense'?><rss version='2.0'>"),
        rss(item(1)).replace(b"t1", b"a\x00b\x0bc"),
    ],
)
def test_feeds_with_quirks_are_read(body):
    (entry,) = parse(body, URL, "application/rss+xml")
    assert entry.id.endswith("g1")


@pytest.mark.parametrize(
    "body",
    [b"/etc/passwd", b"https://example.org/other", b"<html><body>404</body></html>", b"{}", b"\x00" * 9, b"GIF89a"],
)
def test_what_is_no_feed_is_an_error_and_nothing_is_opened(body):
    with pytest.raises(Permanent, match="no feed"):
        parse(body, URL, "text/html")


def test_an_empty_feed_is_a_feed():
    assert parse(rss(), URL, "") == []


def test_entities_are_not_expanded_without_end_nor_read_from_files():
    laughs = (
        "<!DOCTYPE r [" + "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 9)) + "<!ENTITY l0 'ha'>]>"
    )
    file = "<!DOCTYPE r [<!ENTITY f SYSTEM 'file:///etc/passwd'>]>"
    with pytest.raises(Permanent, match="entities that grow"):
        parse(laughs.encode() + rss(item(1, title="&l8;")), URL, "")
    space = "<!DOCTYPE r [<!ENTITY f '&#160;'>]>"  # what honest feeds declare
    for head in (file, space):
        (entry,) = parse(head.encode() + rss(item(1, title="a&f;")), URL, "")
        assert len(entry.title) < 100
        assert "root" not in entry.title


def test_a_feed_without_end_is_cut():
    found = parse(rss(*(item(n, title="t" * 100_000 if n == 0 else f"t{n}") for n in range(1_200))), URL, "")
    assert len(found) == 1_000
    assert max(len(entry.title) for entry in found) == 64 * 1024

"""The commands about the audit log, and maintenance."""

from __future__ import annotations

import json

ENTRY = {
    "seq": 1, "id": "01k", "at": "2026-01-01T00:00:00.000Z", "actor": "owner@example.org", "address": "127.0.0.1", "verb": "area.put",
    "object": "hello", "detail": {"via": "local"}, "chain": "ab",
}  # fmt: skip
WHOLE = {"ok": True, "entries": 7, "head": "7:abc", "broken": None, "because": None}


def test_entries_are_a_table(areabox, api):
    api.on("GET /audit", {"items": [ENTRY], "next": None})
    result = areabox("audit", "list", "--verb", "area", "--since", "7d", "--actor", "owner@example.org")
    assert result.code == 0
    assert "area.put" in result.out
    assert "hello" in result.out
    assert api.asked[0]["query"] == "verb=area&since=7d&actor=owner%40example.org"


def test_a_whole_log_prints_its_head(areabox, api):
    api.on("GET /audit/check", WHOLE)
    result = areabox("audit", "verify", "--head", "3:xyz")
    assert (result.code, result.out, result.err) == (0, "7:abc\n", "the audit log is whole: 7 entries\n")
    assert api.asked[0]["query"] == "head=3%3Axyz"


def test_a_changed_log_names_the_entry_and_needs_attention(areabox, api):
    api.on("GET /audit/check", WHOLE | {"ok": False, "broken": "01k", "because": "entry 3 was changed"})
    result = areabox("audit", "verify")
    assert (result.code, result.out) == (3, "")
    assert "the audit log was changed: entry 3 was changed (id 01k)" in result.err
    result = areabox("audit", "verify", "--json")
    assert (result.code, result.json["broken"], result.err) == (3, "01k", "")


def test_the_export_is_one_entry_a_line(areabox, api):
    api.on("GET /audit/export", ENTRY)
    result = areabox("audit", "export", "--object", "hello")
    assert [json.loads(line) for line in result.out.splitlines()] == [ENTRY]
    api.on("GET /audit", {"items": [ENTRY], "next": None})
    assert areabox("audit", "export", "--json").json == [ENTRY]


def test_maintenance_is_switched_with_a_message(areabox, api):
    api.on("POST /system/maintenance", {})
    result = areabox("maintenance", "on", "--message", "back at noon", "--retry-after", "60")
    assert (result.code, result.err) == (0, "maintenance is on\n")
    assert api.asked[0]["body"] == {"on": True, "message": "back at noon", "retry_after_s": 60}
    assert areabox("maintenance", "off").err == "maintenance is off\n"
    assert areabox("maintenance", "perhaps").code == 2

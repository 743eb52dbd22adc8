"""Documents as YAML: read back they are the same."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import yaml

from areabox.areas.document import parse
from areabox.areas.emit import emit_yaml
from areabox.areas.source import read
from tests.areas.fake_catalogue import FakeCatalogue

DOCUMENT = """\
area: kernel-news
name: Kernel news to my phone
about: |
  Two lines
  of **Markdown**.
tags: [news, linux]
mode: queued
at_most: 10
key: "{{ trigger.repo }}"
timeout: 24h
when:
  - rss.new_entry: {feed: "https://lwn.net/headlines/rss"}
    id: feed
    every: 15m
  - schedule.cron: {cron: "0 7 * * 1-5", timezone: Europe/Paris}
    id: morning
    missed: skip
if: "'kernel' in trigger.title | lower"
then:
  - ntfy.publish: {topic: alerts, message: "{{ trigger.title }}", click: "{{ trigger.link }}"}
    id: push
    connection: home-ntfy
    retry: {attempts: 3}
    on_error: continue
  - choose:
      - if: trigger.n > 10
        then:
          - wait: 10m
            id: s1
    id: s2
    else: []
  - parallel:
      - - probe.do: {a: 1}
          id: s3
      - []
    id: s4
  - wait_for:
      mqtt.message: {topic: home/door}
      if: event.payload == 'open'
    id: s5
    timeout: 1h
    else: []
  - ask: {question: "Delete {{ trigger.name }}?", choices: [Delete, Keep]}
    id: s6
  - http.request:
      url: "https://example.org/a/rather/long/address/that/does/not/fit/in/one/line"
      json: {text: "{{ trigger.text }}", list: [1, null, true]}
      headers: {X-Long: "a long header, so that all this does not fit in the rest of the line"}
    id: s7
  - return: {x: "{{ vars.total }}"}
    id: s8
"""


def test_a_document_is_written_as_a_person_would_write_it() -> None:
    program = parse(DOCUMENT, catalogue=FakeCatalogue())
    assert emit_yaml(program.document) == DOCUMENT


def test_what_is_written_is_in_the_order_of_the_documentation_however_it_was_given() -> None:
    shuffled = (
        "then:\n- id: s1\n  probe.do:\n    a: 1\nwhen:\n- id: received\n  webhook.received: {}\nname: X\narea: x\n"
    )
    written = emit_yaml(parse(shuffled, catalogue=FakeCatalogue()).document)
    assert written == (
        "area: x\nname: X\nwhen:\n  - webhook.received: {}\n    id: received\nthen:\n  - probe.do: {a: 1}\n    id: s1\n"
    )


TEXTS = ["", " ", "a", "yes", "No", "on", "null", "~", "1", "1.5", "0x1f", "1e3", "12:30", "2026-01-01", "true", "- a", "a: b",
         "a #b", "#a", "'a'", '"a"', "a\nb", "a\nb\n", "a\nb\n\n", "\na", " a\nb", "a\n b\n", "a\r\nb", "a\tb", "\ta", "{a}", "[a]",
         "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", "a,b", "?", "? a", "-", "--- ", "...", "=", "<<", "é", "日本", "😀", "\x07",
         "\x7f", "\u2028", "\ufeff", "a" * 300, "\\", "\\n", "a\\\"b'c", "10m", "1h30m", "1d2", "5", "a ", "{{ x }}", "{% if %}",
         "a\n---\nb", "a\n\n\nb", "\n", "\n\n", "#\n#", "key: |\n  x"]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_reads_back_as_it_was(text: str) -> None:
    document = {"a": text, "b": [text, {"c": text}], "x.y": {"k": text, text: 1}, "d": {"e": text}}
    written = emit_yaml(document)
    assert read(written)[0].data == document
    assert yaml.safe_load(written) == document  # YAML 1.1 readers, too


KEYS = ["a", "b.c", "then", "when", "return", "set", "x y", "", "é", "1", "null", "a: b", "\n", "yes", "x" * 130]


def invented(random: Random, depth: int = 0) -> Any:
    """Return some JSON value."""
    kind = random.randrange(9 if depth < 5 else 7)
    if kind < 3:
        return random.choice(TEXTS)
    if kind == 3:
        return "".join(chr(random.choice([random.randrange(32, 127), random.randrange(0xD000), 10])) for _ in range(8))
    if kind < 7:
        return random.choice([None, True, False, 0, -12, 1.5, -1e-7, 1e22, 10**15])
    if kind == 7:
        return [invented(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(KEYS): invented(random, depth + 1) for _ in range(random.randrange(4))}


@pytest.mark.parametrize("seed", range(50))
def test_any_json_reads_back_as_it_was(seed: int) -> None:
    random = Random(seed)
    for _ in range(10):
        document = {random.choice(KEYS): invented(random) for _ in range(4)}
        assert read(emit_yaml(document))[0].data == document

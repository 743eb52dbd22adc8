"""Area files that somebody damaged, by accident or on purpose: they are refused with problems, or they are areas."""

from __future__ import annotations

import time
from random import Random

import pytest

from areabox.areas.document import from_data, parse_many
from areabox.areas.emit import emit_yaml
from areabox.errors import InputError
from tests.areas.fake_catalogue import FakeCatalogue
from tests.areas.test_emit import DOCUMENT
from tests.support import any_machine

_PIECES = ["{{ ", " }}", "{% for x in y %}", "- ", ": ", "\n", "  ", "&a ", "*a", "!!python/object:os.system ", "<<: *a", "\t", "#", "'", '"', "[", "]",
           "{", "}", "|", ">", "\x00", "\ufeff", "\u2028", "😀", "null", "1e999", "0x", "---\n", "...\n", "? ", "@", "`", "%YAML 1.1\n", "then:", "id: push",
           "steps.push", "item", "9" * 400, "((((", "a" * 5000]  # fmt: skip


def mutant(random: Random) -> str:
    """Return the document with a few places damaged."""
    text = DOCUMENT
    for _ in range(random.randrange(1, 6)):
        start = random.randrange(len(text))
        end = start + random.choice([0, 0, 1, 5, 40, 200])
        piece = random.choice(
            [*_PIECES, text[start : start + random.randrange(60)], DOCUMENT[random.randrange(len(DOCUMENT)) :][:80]]
        )
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.parametrize("seed", range(0, 300, 50))
def test_a_damaged_document_is_an_area_or_has_problems_with_places(seed: int) -> None:
    catalogue, told = FakeCatalogue(), []
    for number in range(seed, seed + 50):
        text = mutant(Random(number))
        start = time.process_time()
        try:
            programs = parse_many(text, catalogue=catalogue, name="mutant")
        except InputError as error:
            told += [len(error.problems)]
        else:
            for program in programs:
                again = from_data(program.document, catalogue=catalogue)
                assert again.document == program.document
                assert parse_many(emit_yaml(program.document), catalogue=catalogue)[0].document == program.document
        assert time.process_time() - start < any_machine(1)
    assert told
    assert min(told) > 0


def test_deep_brackets_are_refused_quickly() -> None:
    start = time.process_time()
    for text in (
        "[" * 500_000,
        "- " * 300_000,
        "? " * 300_000,
        "{a: " * 200_000,
        "a: " * 200_000,
        "!!a " * 100_000,
        "'" * 900_001,
        "\n" * 900_000 + "[",
    ):
        with pytest.raises(InputError):
            parse_many(text, catalogue=FakeCatalogue())
    assert time.process_time() - start < any_machine(3)

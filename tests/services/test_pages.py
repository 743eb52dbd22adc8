"""The pages of the services: as the code has them today."""

from __future__ import annotations

from pathlib import Path

import pytest

from areabox.services import pages
from areabox.services.catalogue import Catalogue

DOCS = Path(__file__).parents[2] / "docs"
SERVICES = Catalogue.discover(None).services()


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.id)
def test_the_page_of_a_service_says_what_the_code_says(service):
    path = DOCS / "services" / f"{service.id}.md"
    assert path.exists(), "run `make docs`"
    assert path.read_text(encoding="utf-8") == pages.page(service), "run `make docs`"


def test_the_table_of_services_is_that_of_the_code():
    text = (DOCS / "services.md").read_text(encoding="utf-8")
    assert text == pages.index(text, SERVICES), "run `make docs`"


def test_there_is_no_page_of_a_service_that_is_gone():
    assert {path.stem for path in (DOCS / "services").glob("*.md")} == {service.id for service in SERVICES}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.id)
def test_a_page_says_what_its_service_was_tested_against(service):
    assert "\n## How it was tested\n\nTested against " in pages.page(service)


def test_a_table_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="marks"):
        pages.index("# Services\n", SERVICES)


def test_pages_are_written_and_those_of_services_that_are_gone_go(tmp_path):
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "gone.md").write_text("gone")
    (tmp_path / "services.md").write_text(f"by hand\n{pages.BEGIN}\nold\n{pages.END}\nby hand, too\n")
    pages.write(tmp_path)
    assert not (tmp_path / "services" / "gone.md").exists()
    assert (tmp_path / "services" / "mqtt.md").read_text().startswith("<!-- made by `make docs`")
    table = (tmp_path / "services.md").read_text()
    assert table.startswith("by hand\n")
    assert table.endswith("by hand, too\n")
    assert "old" not in table.splitlines()

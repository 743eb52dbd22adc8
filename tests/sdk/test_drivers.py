"""Libraries that not everybody installs: got at first use, or the line that installs them."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from areabox.sdk import Permanent, driver

ROOT = Path(__file__).parent.parent.parent


def test_a_library_is_imported_at_its_first_use(tmp_path, monkeypatch):
    (tmp_path / "driver_that_is_there.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert driver("driver_that_is_there", extra="there").answer == 42
    assert sys.modules.pop("driver_that_is_there") is not None


@pytest.mark.parametrize("module", ["no_such_driver", "no_such_driver.asyncio"])
def test_who_lacks_it_is_told_what_to_install(module):
    with pytest.raises(Permanent, match=r"needs no_such_driver, which is not installed: pip install 'areabox\[this\]'"):
        driver(module, extra="this")


@pytest.mark.parametrize("body", ["import no_such_part\n", "from math import no_such_name\n"])
def test_a_library_that_is_broken_says_so(tmp_path, monkeypatch, body):
    (tmp_path / "driver_that_is_broken.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Permanent, match=r"no_such_.*install it anew: pip install 'areabox\[this\]'"):
        driver("driver_that_is_broken", extra="this")


def test_every_extra_that_a_connector_names_can_be_installed_and_is_part_of_all():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    called = re.compile(r"""\bdriver\(\s*"[\w.]+",\s*(?:extra=)?"([\w-]+)"\s*\)""")
    for file in (ROOT / "areabox" / "connectors").glob("*.py"):
        for extra in called.findall(file.read_text()):
            assert extra in extras, f"{file.name}: there is no extra {extra}"
            assert set(extras[extra]) <= set(extras["all"]), f"{file.name}: {extra} is missing in the extra `all`"

"""Would the proofs notice? Six bugs are planted in a copy of areabox, and each must be found by the test that it names.

The first lines of a patch say what it breaks, which test finds it, and what that test says then. Only `make faults`
runs this, since finding a bug may take a minute.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted(Path(__file__).with_name("planted").glob("*.patch"))
COPIED = ("areabox", "migrations", "tests", "web", "pyproject.toml")

pytestmark = pytest.mark.skipif(os.environ.get("AREABOX_FAULTS") != "full", reason="only `make faults` looks for planted bugs")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_is_found(patch: Path, copy: Path) -> None:
    head = dict(re.findall(r"^(found by|says): (.+)$", patch.read_text(), re.MULTILINE))
    applied = subprocess.run(["git", "apply", str(patch)], cwd=copy, check=False, capture_output=True, text=True)
    assert not applied.returncode, f"the sources have changed; plant it anew: {applied.stderr}"
    environ = {**os.environ, "AREABOX_SEEDS": "60", "AREABOX_FAULTS": "", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *head["found by"].split()]
    done = subprocess.run(command, cwd=copy, env=environ, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1, f"nothing was found: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert re.search(head["says"], done.stdout), f"it failed, but did not say why: {done.stdout[-4000:]}"


def test_all_six_bugs_are_there() -> None:
    assert len(PATCHES) == 6

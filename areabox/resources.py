"""Where `web/` and `migrations/` lie: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path


def directory(name: str) -> Path:
    """Return the folder `name` of the package, or of the checkout around it."""
    package = Path(__file__).parent
    inside, beside = package / name, package.parent / name
    return inside if inside.is_dir() else beside

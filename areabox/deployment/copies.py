"""Backup and restore as a whole: the database by `database.backup`, and the key that its secrets need.

With a passphrase the master key goes into the copy, encrypted under it, so that one file restores everything. Without,
a copy is useless for who does not have the key file.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from areabox.clock import SystemClock
from areabox.database import backup as copier
from areabox.deployment.settings import Settings
from areabox.errors import ConfigurationError, InputError, NotFoundError
from areabox.services.vault import Vault

WRAPPED = "wrapped_key"  # in `meta` of a copy: the master key under the passphrase


def key_path(settings: Settings) -> Path:
    """Return where the master key lies."""
    return settings.key_file or settings.data_dir / "areabox.key"


def backup(settings: Settings, target: Path, *, passphrase: str, overwrite: bool) -> dict[str, Any]:
    """Copy the database to `target`, with the key if there is a passphrase; return what was copied.

    Raises `NotFoundError` without a database, `ConflictError` if `target` is there, `ConfigurationError` without key.
    """
    source = settings.database_path
    if not source.exists():
        raise NotFoundError(f"there is no database {source}")
    wrapped = Vault.load(SystemClock(), key_path(settings)).wrap(passphrase) if passphrase else ""
    summary = copier.backup(source, target, overwrite=overwrite)
    if wrapped:
        _write_key(target, wrapped)
    return {**msgspec.to_builtins(summary), "key": bool(wrapped)}


def restore(settings: Settings, source: Path, *, passphrase: str, check_only: bool, overwrite: bool) -> dict[str, Any]:
    """Bring a copy back into the data directory, paused; return what was in it.

    Raises `InputError` for a file that is no sound copy or a passphrase that does not fit, `ConflictError` where there
    is a database already, and `ConfigurationError` if the data directory is in use. `lacks` says what its secrets still
    need: the `passphrase` of the key in it, or the `key` file that it was made with.
    """
    if not source.exists():
        raise NotFoundError(f"there is no file {source}")
    vault = _unwrap(source, passphrase) if passphrase else None
    summary = copier.restore(source, settings.database_path, check_only=check_only, overwrite=overwrite)
    if vault is not None and not check_only:
        _put_key(vault, key_path(settings))
    lacks = ""
    if vault is None and not key_path(settings).exists():
        lacks = "passphrase" if _wrapped(source) else "key"
    return {**msgspec.to_builtins(summary), "key": vault is not None, "lacks": lacks}


def _write_key(copy: Path, wrapped: str) -> None:
    try:
        with contextlib.closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute("insert or replace into meta (key, value) values (?, ?)", (WRAPPED, wrapped))
    except sqlite3.Error as error:
        copy.unlink()
        raise ConfigurationError(f"the key could not be put into {copy}, so it was removed: {error}") from error


def _unwrap(copy: Path, passphrase: str) -> Vault:
    """Return the keys that a copy holds; raises InputError where there are none, or the passphrase is another."""
    wrapped = _wrapped(copy)
    if not wrapped:
        raise InputError(f"{copy} was made without a passphrase: it holds no key")
    return Vault.unwrap(SystemClock(), passphrase, wrapped)


def _wrapped(copy: Path) -> str:
    """Return the keys that a copy holds under a passphrase; nothing if it has none."""
    try:
        with contextlib.closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("select value from meta where key = ?", (WRAPPED,)).fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{copy} is no backup of areabox: {error}") from error
    return str(row[0]) if row else ""


def _put_key(vault: Vault, path: Path) -> None:
    if path.exists():
        path.replace(path.with_name(path.name + ".before-restore"))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    vault.save(path)

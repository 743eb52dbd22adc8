"""How is the file opened? One connection writes and copies its log back; all others can only read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from areabox.errors import ConfigurationError

STATEMENTS_KEPT = 512  # compiled ones, per connection
CHECKPOINT_PAGES = 1_000  # of log, 4 MiB: a commit that leaves more copies it back, which a slow card must bear
LOG_LIMIT_BYTES = 16 * 1024 * 1024  # it is cut to that when it begins anew
_BOTH = """
pragma trusted_schema = off;
pragma cell_size_check = on;
pragma temp_store = memory;
pragma mmap_size = 0;
"""
WRITING = f"""{_BOTH}
pragma synchronous = full;
pragma fullfsync = on;
pragma checkpoint_fullfsync = on;
pragma foreign_keys = on;
pragma busy_timeout = 0;
pragma wal_autocheckpoint = {CHECKPOINT_PAGES};
pragma journal_size_limit = {LOG_LIMIT_BYTES};
pragma cache_size = -8192;
"""
READING = f"""{_BOTH}
pragma query_only = on;
pragma busy_timeout = 10000;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes; a new file gets its shape here, and is its owner's only."""
    path.touch(0o600)
    path.chmod(0o600)  # its log gets the same mode
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_KEPT, timeout=0
    )
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("pragma auto_vacuum = incremental")  # of a new file; an old one keeps what it has
        mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
        connection.executescript(WRITING)
    except BaseException:
        connection.close()
        raise
    if mode != "wal":
        connection.close()
        raise ConfigurationError(f"{path} lies where SQLite can keep no write-ahead log; give another --data-dir")
    return connection


def reading_uri(path: Path) -> str:
    """Return the address under which SQLite opens a file for reading only, in use or not."""
    return f"{path.absolute().as_uri()}?mode=ro"


def connect_reading(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write, also on a file in use; raises ConfigurationError."""
    try:
        connection = sqlite3.connect(reading_uri(path), uri=True, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.executescript(READING)
    except sqlite3.Error as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    return connection

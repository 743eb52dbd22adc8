"""The doctor: everything that a user would ask before asking for help, each with what to do about it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from areabox.database import migrate
from areabox.database.disk import check_filesystem
from areabox.deployment import certificates
from areabox.deployment.local import answers, in_use
from areabox.deployment.settings import Settings, shown
from areabox.deployment.sockets import unix_path
from areabox.errors import AreaboxError, ConfigurationError

OK, NOTE, WARNING, FAILED = "ok", "note", "warning", "failed"
FREE_WARNING_BYTES, FREE_FAILED_BYTES = 1024**3, 64 * 1024**2
OPEN_FILES_MIN = 1024
CERTIFICATE_DAYS_MIN = 14
QUICK_CHECK_S = 10.0
TIMEOUT_S = 10.0
_RELEASED = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of the doctor: ok, note, warning or failed, and what to do about it."""

    about: str
    state: str
    detail: str
    advice: str = ""


def worst(findings: list[Finding]) -> str:
    """Return the gravest state among findings."""
    order = (OK, NOTE, WARNING, FAILED)
    return max((finding.state for finding in findings), key=order.index, default=OK)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what the doctor finds, one after the other."""
    yield _configuration(settings)
    yield _data_dir(settings.data_dir)
    for look in (_key, _database, _disk, _open_files, _clock, _zone, _certificate):
        for finding in look(settings):
            yield finding
    running = await daemon(settings)
    yield running
    if running.state == OK:
        async for finding in _inside(unix_path(settings.data_dir)):
            yield finding
    yield await _public_address(settings)


async def daemon(settings: Settings) -> Finding:
    """Return whether the daemon of the data directory is alive and ready."""
    path = unix_path(settings.data_dir)
    if not answers(path):
        if in_use(settings.database_path):
            return Finding("daemon", FAILED, f"a process has the database, but is mute at {path}", "restart it")
        return Finding("daemon", NOTE, "none runs on this data directory", "areabox serve")
    try:
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path)), timeout=TIMEOUT_S) as http:
            alive = await http.get("http://localhost/health")
            ready = await http.get("http://localhost/ready")
    except httpx2.HTTPError as error:
        return Finding("daemon", FAILED, f"it does not answer: {error or type(error).__name__}", "look at its log")
    if alive.is_success and ready.is_success:
        return Finding("daemon", OK, f"alive and ready at {path}")
    return Finding("daemon", FAILED, f"it is not ready: {ready.text[:200]}", "look at its log")


async def _inside(path: Path) -> AsyncIterator[Finding]:
    """Yield what a running daemon says of itself."""
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost/api/v1", timeout=TIMEOUT_S) as http:
        try:
            answers = [await http.get(name) for name in ("system", "areas?limit=1000", "connections?limit=1000")]
        except httpx2.HTTPError as error:
            yield Finding("daemon", FAILED, f"it does not answer: {error or type(error).__name__}", "look at its log")
            return
    for look, answer in zip((_system, _sources, _connections), answers, strict=True):
        if answer.is_success:
            for finding in look(answer.json()):
                yield finding
        elif answer.is_server_error:
            yield Finding("daemon", FAILED, str(answer.json().get("detail") or answer.reason_phrase), "look at its log")


def _system(found: dict[str, Any]) -> Iterator[Finding]:
    if found.get("facts", {}).get("paused"):
        yield Finding("paused", WARNING, "nothing runs by itself, as after a restore", "areabox resume")
    for broken in found.get("connector_errors", []):
        yield Finding("connector", WARNING, f"{broken['source']}: {broken['message']}", "areabox service check")


def _sources(found: dict[str, Any]) -> Iterator[Finding]:
    for area in found["items"]:
        for source in area["subscriptions"]:
            if source.get("error"):
                detail = f"{source['action']}: {source['error']}"
                yield Finding(f"area {area['area']}", WARNING, detail, f"areabox area show {area['area']}")


def _connections(found: dict[str, Any]) -> Iterator[Finding]:
    for one in found["items"]:
        if one.get("state") == "dead":
            advice = f"areabox connection test {one['name']}"
            yield Finding(f"connection {one['name']}", WARNING, one.get("error") or "it does not work", advice)


def _configuration(settings: Settings) -> Finding:
    places = sorted({origin.partition(" line ")[0] for _, _, origin in shown(settings)} - {"default"})
    return Finding("configuration", OK, ", ".join(places) or "defaults only")


def _data_dir(path: Path) -> Finding:
    if not path.exists():
        return Finding("data directory", NOTE, f"{path} does not exist yet", "the first start makes it")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding("data directory", FAILED, f"{path} cannot be written by this user", f"chown -R $USER {path}")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding("data directory", WARNING, f"others on this machine may look into {path}", f"chmod 700 {path}")
    return Finding("data directory", OK, str(path))


def _key(settings: Settings) -> Iterator[Finding]:
    path = settings.key_file or settings.data_dir / "areabox.key"
    if not path.exists():
        if settings.database_path.exists():
            yield Finding("key", FAILED, f"{path} is missing, so secrets cannot be read", "restore it from a backup")
    elif not os.access(path, os.R_OK):
        yield Finding("key", FAILED, f"{path} cannot be read by this user", "run this as the user of the daemon")
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("key", WARNING, f"others on this machine may read {path}", f"chmod 600 {path}")
    else:
        yield Finding("key", OK, str(path))


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.database_path
    if not path.exists():
        return
    try:
        status = migrate.status(path)
        schema = status.applied[-1] if status.applied else "none"
        yield Finding("database", OK, f"{path}, {_megabytes(_size(path))}, schema {schema}")
        if status.pending:
            yield Finding("schema", NOTE, f"to come: {', '.join(status.pending)}", "the next start brings it")
        with _read_only(path) as connection:
            yield _integrity(connection)
    except (AreaboxError, OSError, sqlite3.Error) as error:
        yield Finding("database", FAILED, str(error), "areabox restore FILE brings a backup back")


@contextlib.contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def _integrity(connection: sqlite3.Connection) -> Finding:
    """Return what SQLite's own check says, as far as it comes in `QUICK_CHECK_S`."""
    until = time.monotonic() + QUICK_CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        problems = [row[0] for row in connection.execute("pragma quick_check(5)")]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        return Finding("integrity", OK, f"nothing wrong in the first {QUICK_CHECK_S:.0f} s of the check")
    if problems == ["ok"]:
        return Finding("integrity", OK, "every page of the database is sound")
    return Finding("integrity", FAILED, "; ".join(problems), "areabox restore FILE brings a backup back")


def database_status(path: Path) -> dict[str, Any]:
    """Return the size of a database, its migrations and the number of rows of each table."""
    status = migrate.status(path)
    with _read_only(path) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        counts = {name: connection.execute(f'select count(*) from "{name}"').fetchone()[0] for name in sorted(tables)}  # noqa: S608 -- names from the schema
    known = {"applied": status.applied, "pending": status.pending}
    return {"path": str(path), "bytes": _size(path), **known, "rows": counts}


def pending(path: Path) -> list[str]:
    """Return the migrations that a database lacks; all of them where there is none yet."""
    if not path.exists():
        return [f"{step.number:04} {step.name}" for step in migrate.known()]
    return migrate.status(path).pending


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    state = FAILED if free < FREE_FAILED_BYTES else WARNING if free < FREE_WARNING_BYTES else OK
    advice = "" if state == OK else "free some, or lower retention_age and run areabox db prune"
    yield Finding("disk", state, f"{_megabytes(free)} free", advice)
    try:
        check_filesystem(folder)
    except AreaboxError as error:
        yield Finding("file system", FAILED, str(error), "put the data directory on a local disk")


def _open_files(settings: Settings) -> Iterator[Finding]:
    import resource

    del settings
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < OPEN_FILES_MIN:
        yield Finding("open files", WARNING, f"at most {soft}", f"ulimit -n {OPEN_FILES_MIN} or more")


def _clock(settings: Settings) -> Iterator[Finding]:
    del settings
    now = dt.datetime.now(dt.UTC)
    shown_now = now.strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < _RELEASED:
        yield Finding("clock", FAILED, f"it says {shown_now}, before this version was made", "synchronise it")
    elif sys.platform == "linux" and Path("/run/systemd/timesync").exists():
        synced = Path("/run/systemd/timesync/synchronized").exists()
        yield Finding(
            "clock", OK if synced else WARNING, f"{shown_now}{'' if synced else ', not synchronised'}",
            "" if synced else "timedatectl set-ntp true",
        )  # fmt: skip
    else:
        yield Finding("clock", OK, shown_now)


def _zone(settings: Settings) -> Iterator[Finding]:
    del settings
    now = dt.datetime.now().astimezone()
    yield Finding("time zone", OK, f"{now.tzname()}, it is {now.strftime('%H:%M')}")


def _certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_cert is None:
        return
    try:
        certificates.load(settings.tls_cert, settings.tls_key)
        end = certificates.ends(settings.tls_cert)
    except ConfigurationError as error:
        yield Finding("certificate", FAILED, str(error), "put a certificate and its key there")
        return
    days, shown_end = (end - dt.datetime.now(dt.UTC)).days, end.strftime("%Y-%m-%d")
    if days < CERTIFICATE_DAYS_MIN:
        state = WARNING if days >= 0 else FAILED
        yield Finding("certificate", state, f"it ends on {shown_end}", "renew it; areabox reads it again by itself")
    else:
        yield Finding("certificate", OK, f"good until {shown_end}")


async def _public_address(settings: Settings) -> Finding:
    if not settings.public_url:
        return Finding("public address", NOTE, "not set: others cannot reach webhooks", "set public_url if they should")
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
            answer = await http.get(f"{settings.public_url}/about.json")
            ours = answer.is_success and "services" in answer.json().get("server", {})
    except (httpx2.HTTPError, ValueError, AttributeError) as error:
        detail = f"{settings.public_url} does not answer: {error or type(error).__name__}"
        return Finding("public address", WARNING, detail, "look at the proxy, its certificate and the DNS entry")
    if ours:
        return Finding("public address", OK, settings.public_url)
    detail = f"{settings.public_url} answers {answer.status_code}, and not as areabox does"
    return Finding("public address", WARNING, detail, "look at the proxy's upstream")


def _size(path: Path) -> int:
    """Return the size of a database with what was not copied into its file yet."""
    log = path.with_name(path.name + "-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB"

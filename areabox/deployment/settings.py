"""What may be set, where each value comes from, and the only place that reads the environment.

    flags  >  AREABOX_* variables (secrets also as *_FILE)  >  one areabox.toml  >  defaults

The file is the one of `--config` (or AREABOX_CONFIG), or the first that exists of `<data>/areabox.toml`,
`~/.config/areabox/areabox.toml` and `/etc/areabox/areabox.toml`. A setting has one name: `retention_age` is
`--retention-age` where there is a flag, `AREABOX_RETENTION_AGE`, and `retention_age` in the file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

from areabox.deployment import commands, values
from areabox.errors import ConfigurationError
from areabox.sdk import Command

PREFIX = "AREABOX_"
FILE_NAME = "areabox.toml"
_UNITS = re.compile(r"_(ms|bytes)$")
_KUBERNETES = re.compile(r"(SERVICE_|PORT_\d)")  # variables that Kubernetes adds for a Service named areabox
_TYPO = 0.75
_DAY_MS = 86_400_000


class Setting(NamedTuple):
    """What is known of a setting beside its type: its meaning, how it is read, whether it is a secret."""

    help: str
    read: values.Reader
    secret: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, ready to use; `origins` says for each public name where its value came from."""

    host: Annotated[str, Setting("address to listen on", values.text)] = "127.0.0.1"
    port: Annotated[int, Setting("port to listen on; 0 takes any free one", values.number(0, 65535))] = 8080
    data_dir: Annotated[Path, Setting("folder of the database, the key and your connectors", values.path)]
    database: Annotated[str, Setting("database file, if not areabox.db in data_dir", values.database)] = ""
    key_file: Annotated[
        Path | None, Setting("file of the master key, if not areabox.key in data_dir", values.optional_path)
    ] = None
    public_url: Annotated[str, Setting("address under which others reach areabox", values.address)] = ""
    allowed_hosts: Annotated[
        tuple[str, ...], Setting("further host names that browsers may use; public_url's is allowed", values.names)
    ] = ()
    trusted_proxies: Annotated[
        tuple[values.Network, ...], Setting("networks of proxies whose X-Forwarded-* is believed", values.networks)
    ] = ()
    base_path: Annotated[
        str, Setting("path below which areabox lies, such as /areabox; public_url's if not given", values.base_path)
    ] = ""
    cors_origins: Annotated[
        tuple[str, ...], Setting("origins whose pages may call the API with a token", values.origins)
    ] = ()
    allow_from: Annotated[
        tuple[values.Network, ...], Setting("networks that may reach pages and API; all if not given", values.networks)
    ] = ()
    hooks_allow_from: Annotated[
        tuple[values.Network, ...], Setting("networks that may deliver webhooks; all if not given", values.networks)
    ] = ()
    hooks_listen: Annotated[
        str, Setting("further address and port at which only webhooks are taken", values.listener)
    ] = ""
    tls_cert: Annotated[
        Path | None, Setting("file of a certificate with its chain; areabox then speaks https", values.optional_path)
    ] = None
    tls_key: Annotated[
        Path | None, Setting("file of its key, if not in tls_cert", values.optional_path)
    ] = None
    preconditions: Annotated[bool, Setting("on refuses changes by the API without If-Match", values.switch)] = False
    access_log: Annotated[float, Setting("on, off, or the share of requests that is logged", values.share)] = 0.0
    egress_allow: Annotated[
        tuple[values.Network, ...], Setting("networks that requests may reach besides public ones", values.networks)
    ] = ()
    sockets_allow: Annotated[
        tuple[Path, ...], Setting("sockets of this machine that connections of admins may reach", values.paths)
    ] = ()
    files_allow: Annotated[
        tuple[Path, ...], Setting("folders whose files areas may read, write and watch", values.paths)
    ] = ()
    shell: Annotated[
        tuple[Command, ...], Setting("commands that areas may run, each a table of the file", commands.read)
    ] = ()
    apprise: Annotated[
        bool, Setting("on lets the service apprise open connections by itself, past egress_allow", values.switch)
    ] = False
    registration: Annotated[
        bool, Setting("on lets whoever proves a mail address have an account, as viewer", values.switch)
    ] = False
    rate_limits: Annotated[bool, Setting("off switches every request limit off", values.switch)] = True
    timezone: Annotated[
        str, Setting("zone of local times, such as Europe/Paris; the machine's if not given", values.zone)
    ] = ""
    slots: Annotated[int, Setting("how many jobs run at once", values.number(1, 10_000))] = 256
    stop_grace_ms: Annotated[int, Setting("how long running steps may finish at a stop", values.duration_ms)] = 20_000
    log_level: Annotated[
        str, Setting("debug, info, warning or error", values.choice("debug", "info", "warning", "error"))
    ] = "info"
    log_format: Annotated[str, Setting("logfmt or json", values.choice("logfmt", "json"))] = "logfmt"
    retention_age_ms: Annotated[
        int, Setting("how long ended runs, events and notices are kept", values.duration_ms)
    ] = 30 * _DAY_MS
    retention_runs: Annotated[
        int, Setting("how many ended runs are kept at most", values.number(1_000, 100_000_000))
    ] = 500_000
    retention_size_bytes: Annotated[
        int, Setting("size of the database above which the oldest ended runs go", values.size_bytes)
    ] = 2 * 1024**3
    audit_age_ms: Annotated[int, Setting("how long the audit log is kept", values.duration_ms)] = 365 * _DAY_MS
    url: Annotated[str, Setting("areabox that the command line speaks to", values.address)] = ""
    token: Annotated[str, Setting("API token for url", values.text, secret=True)] = ""
    passphrase: Annotated[str, Setting("passphrase of backups", values.text, secret=True)] = ""
    origins: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def own_ports(self) -> set[int]:
        """Return the ports that areabox listens on, which its own requests do not reach."""
        others = {int(self.hooks_listen.rpartition(":")[2])} if self.hooks_listen else set()
        return {self.port} | others

    @property
    def zone(self) -> tzinfo:
        """Return the zone of local times."""
        return ZoneInfo(self.zone_name)

    @property
    def zone_name(self) -> str:
        """Return the name of the zone of local times: the one that was set, or the machine's."""
        return self.timezone or machine_zone()

    @property
    def database_path(self) -> Path:
        """Return where the database file lies."""
        return Path(self.database) if self.database else self.data_dir / "areabox.db"


class ServiceManager(msgspec.Struct, frozen=True):
    """What systemd told the process: where to report, how often, and which sockets it opened already."""

    notify_socket: str = ""
    watchdog_s: float = 0.0
    sockets: int = 0


@cache
def known() -> dict[str, tuple[str, Setting]]:
    """Return every setting by its public name: the field of `Settings`, and what is known of it."""
    hints = get_type_hints(Settings, include_extras=True)
    return {
        _UNITS.sub("", field): (field, hint.__metadata__[0])
        for field, hint in hints.items()
        if hasattr(hint, "__metadata__")
    }


def load(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the effective settings.

    `flags` holds what was given on the command line by public name (None: not given; `config` is the file).
    Raises `ConfigurationError` with every problem, one a line.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    layers = _Layers(os.environ if environ is None else environ)
    config = given.pop("config", None)
    for name, value in given.items():
        layers.take(name, value, f"flag --{name.replace('_', '-')}")
    layers.take_environment()
    layers.take_file(Path(config) if config else None)
    return layers.settings()


def service_manager(environ: Mapping[str, str] | None = None) -> ServiceManager:
    """Return what systemd said in the environment."""
    variables = os.environ if environ is None else environ
    mine = variables.get("LISTEN_PID") == str(os.getpid())
    return ServiceManager(
        notify_socket=variables.get("NOTIFY_SOCKET", ""),
        watchdog_s=int(variables.get("WATCHDOG_USEC", "0")) / 1_000_000,
        sockets=int(variables.get("LISTEN_FDS", "0")) if mine else 0,
    )


def shown(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield name, effective value as text (secrets starred) and origin of every setting."""
    derived = {
        "database": settings.database_path,
        "key_file": settings.key_file or settings.data_dir / "areabox.key",
        "timezone": settings.zone_name,
    }
    for name, (field, setting) in known().items():
        value = getattr(settings, field) or derived.get(name, getattr(settings, field))
        yield name, _star(value) if setting.secret else _as_text(name, field, value), settings.origins[name]


class _Layers:
    """Collects values from the strongest layer to the weakest, and every problem on the way."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.found: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def take(self, name: str, given: Any, origin: str) -> None:
        """Read one value unless a stronger layer has it."""
        field, setting = known()[name]
        if name in self.origins:
            return
        self.origins[name] = origin
        try:
            self.found[field] = setting.read(given)
        except ValueError as error:
            shown_value = "its value" if setting.secret else f"{given!r}"
            self.problems.append(f"{name} ({origin}): {shown_value} does not fit; {error}")

    def take_environment(self) -> None:
        """Read AREABOX_* variables, then what systemd passes as credentials and state folder."""
        for variable, value in sorted(self.environ.items()):
            if variable.startswith(PREFIX) and variable != f"{PREFIX}CONFIG":
                self._take_variable(variable, value)
        credential = Path(self.environ.get("CREDENTIALS_DIRECTORY", "")) / "areabox.key"
        if self.environ.get("CREDENTIALS_DIRECTORY") and credential.is_file():
            self.take("key_file", str(credential), "systemd credential areabox.key")

    def _take_variable(self, variable: str, value: str) -> None:
        name = variable.removeprefix(PREFIX).lower()
        base = name.removesuffix("_file")
        if name == "port" and value.startswith("tcp://"):
            return  # from Kubernetes, for a Service named areabox
        if name in known():
            self.take(name, value, f"environment {variable}")
        elif base in known() and known()[base][1].secret:
            self._take_secret_file(base, variable, value)
        elif not _KUBERNETES.match(variable.removeprefix(PREFIX)) and (near := nearest(name, _TYPO)):
            self.problems.append(f"{variable} is no setting; did you mean {PREFIX}{near.upper()}?")

    def _take_secret_file(self, name: str, variable: str, file: str) -> None:
        try:
            self.take(name, Path(file).read_text(encoding="utf-8"), f"environment {variable}")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{variable}: {file} cannot be read ({error})")

    def take_file(self, config: Path | None) -> None:
        """Read the configuration file, then settle where the data lies."""
        named = config or (Path(value) if (value := self.environ.get(f"{PREFIX}CONFIG")) else None)
        file = named or next((path for path in self._places() if path.is_file()), None)
        if file:
            self._take_toml(file)
        state = self.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if state:
            self.take("data_dir", state, "systemd StateDirectory")

    def _places(self) -> Iterator[Path]:
        if "data_dir" in self.found:
            yield self.found["data_dir"] / FILE_NAME
        elif state := self.environ.get("STATE_DIRECTORY"):
            yield Path(state.split(":")[0]) / FILE_NAME
        else:
            yield default_data_dir() / FILE_NAME
        home = self.environ.get("XDG_CONFIG_HOME") or "~/.config"
        yield Path(home).expanduser() / "areabox" / FILE_NAME
        yield Path("/etc/areabox") / FILE_NAME

    def _take_toml(self, file: Path) -> None:
        try:
            content = file.read_text(encoding="utf-8")
            document = tomllib.loads(content)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.problems.append(f"{file} cannot be read: {error}")
            return
        for key, value in document.items():
            line = _line(content, key)
            if key in known():
                self.take(key, value, f"{file} line {line}")
            else:
                near = nearest(key)
                self.problems.append(
                    f"{file} line {line}: {key} is no setting" + (f"; did you mean {near}?" if near else "")
                )

    def settings(self) -> Settings:
        """Return the settings, or raise with every problem."""
        if self.problems:
            raise ConfigurationError("\n".join(self.problems))
        self.found.setdefault("data_dir", default_data_dir())
        origins = {name: self.origins.get(name, "default") for name in known()}
        return Settings(**self.found, origins=origins)


def default_data_dir() -> Path:
    """Return the user's data folder for areabox on this system."""
    import platformdirs

    return platformdirs.user_data_path("areabox", appauthor=False)


@cache
def machine_zone() -> str:
    """Return the name of this machine's time zone; UTC where it has none, or contradicts itself."""
    from tzlocal import get_localzone_name

    try:
        return get_localzone_name() or "UTC"
    except (LookupError, OSError, ValueError):
        return "UTC"


def nearest(name: str, cutoff: float = 0.6) -> str | None:
    """Return the known setting whose name is most like `name`."""
    return next(iter(difflib.get_close_matches(name.lower(), known(), 1, cutoff)), None)


def _line(content: str, key: str) -> int:
    pattern = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.\]]|\s*\[\[?\s*{re.escape(key)}""")
    return next((n for n, line in enumerate(content.splitlines(), 1) if pattern.match(line)), 1)


def _star(value: Any) -> str:
    return "***" if value else ""


def _as_text(name: str, field: str, value: Any) -> str:
    if field != name:
        return values.in_units(value, values.TIMES if field.endswith("_ms") else values.SIZES)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return "on" if value == 1.0 else f"{value * 100:g}%" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)

"""What does the gateway need to know of the settings? How areabox is reached, by whom, and how much."""

from __future__ import annotations

from urllib.parse import urlsplit

from areabox import __version__
from areabox.deployment.settings import Settings
from areabox.gateway.parts import Site


def site_of(settings: Settings) -> Site:
    """Return what the settings say about being reached from outside."""
    return Site(
        version=__version__,
        public_url=settings.public_url,
        allowed_hosts=settings.allowed_hosts,
        trusted_proxies=settings.trusted_proxies,
        rate_limits=settings.rate_limits,
        base_path=base_path_of(settings),
        cors_origins=settings.cors_origins,
        allow_from=settings.allow_from,
        hooks_allow_from=settings.hooks_allow_from,
        preconditions=settings.preconditions,
        access_log=settings.access_log,
    )


def base_path_of(settings: Settings) -> str:
    """Return the path below which everything lies: the one that was set, or that of the public address."""
    return settings.base_path or urlsplit(settings.public_url).path.rstrip("/")


def base_url_of(settings: Settings) -> str:
    """Return the address under which this areabox is reached."""
    if settings.public_url:
        path = urlsplit(settings.public_url).path.rstrip("/")
        return settings.public_url if path else settings.public_url + settings.base_path
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{settings.port}{settings.base_path}"


def listeners_of(settings: Settings) -> list[dict[str, str]]:
    """Return where areabox listens, for what and for whom."""
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    own, hooks = _networks(settings.allow_from), _networks(settings.hooks_allow_from)
    found = [{"address": f"{scheme}://{host}:{settings.port}", "what": "pages, API and webhooks", "who": own}]
    if settings.hooks_allow_from:
        found[0]["who"] += f"; webhooks from {hooks}"
    if settings.hooks_listen:
        found.append({"address": f"{scheme}://{settings.hooks_listen}", "what": "webhooks alone", "who": hooks})
    socket = {"address": "areabox.sock in the data directory", "what": "everything", "who": "whoever may open it"}
    return [*found, socket]


def _networks(allowed: tuple[object, ...]) -> str:
    return ", ".join(map(str, allowed)) or "whoever reaches it"

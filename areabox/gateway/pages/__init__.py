"""The web pages: each answers one address with HTML."""

from areabox.gateway.pages import area, docs, entrance, home, run, static

MODULES = (home, area, run, entrance, docs, static)

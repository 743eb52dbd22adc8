"""The web pages: each answers one address with HTML."""

from areabox.gateway.pages import acts, area, docs, entrance, home, run, static

MODULES = (home, area, run, acts, entrance, docs, static)

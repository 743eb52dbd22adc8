"""The web pages: each answers one address with HTML."""

from areabox.gateway.pages import acts, answer, area, audit, docs, entrance, home, joining, run, safety, static, system

MODULES = (home, area, run, acts, answer, audit, system, entrance, joining, safety, docs, static)

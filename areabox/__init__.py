"""areabox: when something happens at one service, do things at others."""

__version__ = "0.1.0"

"""The web pages: each answers one address with HTML."""

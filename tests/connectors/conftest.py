"""The services with everything real below them."""

from tests.services.conftest import backend, catalogue, connections, server, services, vault

__all__ = ["backend", "catalogue", "connections", "server", "services", "vault"]

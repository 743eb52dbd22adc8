"""Services: what this areabox can listen to and do, with forms and outputs as JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from areabox.gateway.routes import Answer, Ask, Page, Route, get
from areabox.gateway.shapes import ServiceView

if TYPE_CHECKING:
    from areabox.services.catalogue import Service
    from areabox.services.operations import Operation


async def list_(ask: Ask) -> Page[Any]:
    """List all services, and the connectors that could not be loaded."""
    await ask.parts.catalogue.settle()
    broken = [_broken(error.source, error.message) for error in ask.parts.catalogue.errors()]
    return Page([view(service) for service in ask.parts.catalogue.services()] + broken, None)


async def show(ask: Ask, id: str) -> Answer:
    """Show a service."""
    return Answer(value=view(ask.parts.catalogue.service(id)))


def view(service: Service) -> dict[str, Any]:
    """Return a service as the API shows it."""
    return {
        "id": service.id,
        "name": service.name,
        "about": service.about,
        "origin": service.origin,
        "needs_connection": service.needs_connection,
        "actions": [_operation(operation) for operation in service.actions.values()],
        "reactions": [_operation(operation) for operation in service.reactions.values()],
        "auth": [
            {"id": way.id, "label": way.label, "help": way.help, "optional": way.optional, "schema": way.form.schema()}
            for way in service.ways.values()
        ],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "title": operation.title,
        "help": operation.help,
        "kind": operation.kind,
        "sentence": operation.sentence,
        "effect": operation.effect,
        "needs_connection": operation.needs_connection,
        "poll_ms": operation.poll_ms,
        "schema": operation.schema(),
        "output": operation.output_schema(),
        "sample": operation.sample,
    }


def _broken(source: str, message: str) -> dict[str, Any]:
    return {
        "id": source.rpartition("/")[2], "name": source.rpartition("/")[2], "about": "", "origin": "file",
        "needs_connection": False, "actions": [], "reactions": [], "auth": [], "error": message,
    }  # fmt: skip


ROUTES: tuple[Route, ...] = (
    get("/api/v1/services", list_, "services:read", answer=Page[ServiceView]),
    get("/api/v1/services/{id}", show, "services:read", answer=ServiceView),
)

"""The resources of `/api/v1`: one file per resource, each a table of routes and what they call."""

from areabox.gateway.api import (
    areas,
    audit,
    connections,
    events,
    factors,
    invitations,
    machine,
    me,
    notices,
    runs,
    services,
    shares,
    stream,
    system,
    tokens,
    users,
)

MODULES = (
    areas, runs, events, services, connections, me, factors, users, invitations, shares, tokens, audit, notices,
    system, stream, machine,
)  # fmt: skip

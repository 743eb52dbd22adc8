"""The resources of `/api/v1`: one file per resource, each a table of routes and what they call."""

"""How do services that watch others tell areabox? By a webhook; its sender adds a secret to a header if it has one."""

from __future__ import annotations

from typing import Annotated, Any

from areabox.sdk import Field, Secret, Verifier, shared_token

Told = Annotated[Secret, Field("Secret", "Sent as the header Authorization: Bearer …; empty: the address is enough.")]
_BEARER = shared_token(prefix="Bearer ")


def verifier(params: dict[str, Any]) -> Verifier | None:
    """Return how a delivery is verified: by the secret that the sender was given, or by nothing but its address."""
    return _BEARER if params.get("secret") else None


def texts(value: Any) -> dict[str, str]:
    """Return an object's values as texts, nothing of anything else."""
    return {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else {}

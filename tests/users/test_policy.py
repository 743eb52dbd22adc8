"""Who may do what."""

from __future__ import annotations

import itertools

import pytest

from areabox.errors import InputError, NotAllowedError
from areabox.users.policy import (
    BY_ROLE,
    PERMISSIONS,
    ROLES,
    SCOPES,
    SETUP,
    Actor,
    check_role,
    check_scopes,
    may_change,
    may_grant,
)


def actor(role: str, *scopes: str) -> Actor:
    return Actor("a", "a@example.org", role, frozenset(scopes or ("all",)))


def test_every_role_may_do_all_that_the_next_lower_one_may() -> None:
    for higher, lower in itertools.pairwise(ROLES):
        assert BY_ROLE[higher] > BY_ROLE[lower]


def test_a_viewer_changes_nothing_but_what_is_its_own() -> None:
    writes = {name for name in BY_ROLE["viewer"] if not name.endswith(":read")}
    assert writes == {"me:write", "tokens:write", "notices:write"}


def test_an_editor_does_not_see_accounts_or_the_audit_log() -> None:
    for permission in ("users:read", "users:write", "audit:read", "system:read"):
        assert not actor("editor").allows(permission)
        assert actor("admin").allows(permission)


def test_a_scope_never_gives_more_than_the_role_has() -> None:
    assert not actor("viewer", "areas:write").allows("areas:write")
    assert actor("viewer", "areas:write").allows("areas:read")


def test_a_narrow_scope_leaves_the_rest_out() -> None:
    narrow = actor("owner", "areas:read")
    assert narrow.permissions == {"areas:read", "me:read", "services:read"}
    with pytest.raises(NotAllowedError, match="runs:read is not allowed"):
        narrow.require("runs:read")


def test_every_scope_grants_permissions_that_exist() -> None:
    for granted in SCOPES.values():
        assert granted <= PERMISSIONS


def test_an_unknown_permission_is_allowed_to_nobody() -> None:
    assert not actor("owner").allows("areas:fly")


def test_nobody_grants_a_token_more_than_it_has() -> None:
    assert may_grant(actor("owner"), ["all"])
    assert may_grant(actor("viewer"), ["all"])  # all that a viewer may do
    assert not may_grant(actor("owner", "areas:read"), ["areas:read"])  # it may not make tokens at all
    assert not may_grant(actor("owner", "admin"), ["all"])


def test_admins_neither_make_nor_change_owners() -> None:
    assert may_change(actor("admin"), role="editor", to="admin")
    assert not may_change(actor("admin"), role="owner")
    assert not may_change(actor("admin"), role="editor", to="owner")
    assert may_change(actor("owner"), role="owner", to="viewer")


def test_before_there_is_an_account_the_machines_owner_makes_the_first_and_nothing_else() -> None:
    assert may_change(SETUP, role="owner")
    assert not SETUP.allows("areas:write")
    assert not Actor("", "somebody else", "owner", frozenset()).allows("users:write")


def test_unknown_roles_and_scopes_are_named() -> None:
    with pytest.raises(InputError, match="there is no role king"):
        check_role("king")
    with pytest.raises(InputError, match="there is no scope areas:fly"):
        check_scopes(["areas:read", "areas:fly"])
    with pytest.raises(InputError, match="at least one"):
        check_scopes([])
    assert check_scopes(["runs:read", "areas:read", "runs:read"]) == ["areas:read", "runs:read"]

"""The services that are part of the house: store, notify, area."""

from __future__ import annotations

from typing import Any

import pytest

from areabox.errors import InputError
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue


async def react(services: Services, name: str, params: dict[str, Any], key: str = "k") -> Any:
    return await services.react(name, params, owner="ann", connection=None, key=key, attempt=1, timeout_s=30)


async def test_a_value_is_stored_for_later_runs(services: Services) -> None:
    assert await react(services, "store.get", {"key": "a"}) == {"value": None}
    assert await react(services, "store.get", {"key": "a", "value": "none yet"}) == {"value": "none yet"}
    assert await react(services, "store.set", {"key": "a", "value": {"b": [1]}}) == {"value": {"b": [1]}}
    assert await react(services, "store.get", {"key": "a", "value": "none yet"}) == {"value": {"b": [1]}}


async def test_a_counter_counts_each_step_once(services: Services) -> None:
    assert await react(services, "store.increment", {"key": "n"}, "k1") == {"value": 1}
    assert await react(services, "store.increment", {"key": "n", "value": "2"}, "k2") == {"value": 3}
    assert await react(services, "store.increment", {"key": "n"}, "k1") == {"value": 1}
    assert await react(services, "store.get", {"key": "n"}) == {"value": 3}


async def test_a_key_is_needed(services: Services) -> None:
    with pytest.raises(InputError, match="/key"):
        await react(services, "store.set", {"key": "", "value": 1})


async def test_a_notice_is_passed_on(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, ...]] = []

    async def notify(*words: str) -> None:
        told.append(words)

    monkeypatch.setattr(services._house, "_notify", notify)
    assert await react(services, "notify.user", {"title": "Door", "message": 5}) is None
    assert told == [("ann", "Door", "5", "", "k")]


def test_the_ends_of_areas_are_told_by_the_house_itself(catalogue: Catalogue) -> None:
    ended, called = catalogue.action("area.ended"), catalogue.action("area.called")
    assert ended is not None
    assert called is not None
    assert (ended.kind, called.kind) == ("internal", "internal")
    assert list(ended.sample) == ["area", "run", "state", "result", "error"]
    assert called.sample == {}
    assert ended.check({"area": "backup", "state": "failed"}) == []
    assert [p.pointer for p in ended.check({"area": "My Backup", "state": "broken"})] == ["/area", "/state"]

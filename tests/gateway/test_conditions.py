"""Changes to what somebody else may have changed meanwhile, and answers with some fields only."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from areabox.app import App
from tests.gateway.conftest import HELLO

YAML = {"Content-Type": "application/yaml"}


@pytest.fixture
async def places(owner: httpx2.AsyncClient, hello: dict[str, Any], app: App) -> dict[str, dict[str, Any]]:
    """Return one thing of every kind that can be changed, by its address, and a change of it."""
    values = {"service": "http", "name": "c", "auth": "token", "values": {"site": "http://127.0.0.1:9", "key": "k"}, "test": False}
    connection = (await owner.post("/api/v1/connections", json=values)).json()
    user = (await owner.post("/api/v1/users", json={"email": "n@example.org", "role": "viewer"})).json()
    return {
        "/api/v1/areas/hello": {"name": "Other"},
        f"/api/v1/connections/{connection['id']}": {"name": "other"},
        f"/api/v1/users/{user['id']}": {"role": "editor"},
    }


async def test_of_two_writers_the_second_is_told(owner: httpx2.AsyncClient, places: dict[str, Any]) -> None:
    for place, change in places.items():
        seen = (await owner.get(place)).headers["etag"]
        assert (await owner.patch(place, json=change, headers={"If-Match": seen})).status_code == 200, place
        late = await owner.patch(place, json=change, headers={"If-Match": seen})
        assert (late.status_code, late.headers["content-type"]) == (412, "application/problem+json"), place
        assert (await owner.delete(place, headers={"If-Match": seen})).status_code == 412, place
        now = (await owner.get(place)).headers["etag"]
        assert (await owner.delete(place, headers={"If-Match": f"W/{now}"})).status_code == 204, place
        assert (await owner.delete(place, headers={"If-Match": now})).status_code in (404, 412), place


@pytest.mark.parametrize("given", ['"9-x"', '"nothing"', "rubbish", "W/", "9" * 400, '"-1"'])
async def test_a_tag_of_nothing_fits_nothing(given: str, owner: httpx2.AsyncClient, places: dict[str, Any]) -> None:
    for place, change in places.items():
        assert (await owner.patch(place, json=change, headers={"If-Match": given})).status_code == 412, place


async def test_a_star_fits_whatever_is_there(owner: httpx2.AsyncClient, hello: Any) -> None:
    assert (await owner.patch("/api/v1/areas/hello", json={"name": "x"}, headers={"If-Match": "*"})).status_code == 200
    missing = await owner.put("/api/v1/areas/new", content=HELLO.replace("area: hello", "area: new"), headers={**YAML, "If-Match": "*"})
    assert missing.status_code == 412


async def test_one_of_several_tags_is_enough(owner: httpx2.AsyncClient, hello: Any) -> None:
    seen = (await owner.get("/api/v1/users/editor@example.org")).headers["etag"]
    answer = await owner.patch("/api/v1/users/editor@example.org", json={"role": "viewer"}, headers={"If-Match": f'"a", {seen}'})
    assert answer.status_code == 200


async def test_what_must_be_new_replaces_nothing(owner: httpx2.AsyncClient, hello: Any) -> None:
    new = {**YAML, "If-None-Match": "*"}
    assert (await owner.put("/api/v1/areas/hello", content=HELLO, headers=new)).status_code == 412
    assert (await owner.put("/api/v1/areas/two", content=HELLO.replace("area: hello", "area: two"), headers=new)).status_code == 201


async def test_with_preconditions_a_change_says_what_it_has_seen(tmp_path: Any, clock: Any) -> None:
    from areabox.app import open_app
    from areabox.deployment.local import local
    from areabox.deployment.settings import load

    settings = load({"data_dir": str(tmp_path / "strict"), "preconditions": "on"}, {})
    settings.data_dir.mkdir()
    async with open_app(settings, role="cli", clock=clock) as app:
        account = await app.accounts.create("owner@example.org", None, "owner")
        _, token = await app.tokens.create(account.id, account.email, "strict", ["all"])
        named = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(base_url="http://localhost", transport=httpx2.ASGITransport(app=app.asgi), headers=named) as client,
            httpx2.AsyncClient(base_url="http://localhost", transport=httpx2.ASGITransport(app=local(app.asgi))) as command_line,
        ):
            assert (await client.put("/api/v1/areas/hello", content=HELLO, headers=YAML)).status_code == 201
            blind = await client.put("/api/v1/areas/hello", content=HELLO, headers=YAML)
            assert (blind.status_code, blind.json()["title"]) == (428, "Precondition Required")
            assert (await client.delete("/api/v1/areas/hello")).status_code == 428
            seen = (await client.get("/api/v1/areas/hello")).headers["etag"]
            assert (await client.delete("/api/v1/areas/hello", headers={"If-Match": seen})).status_code == 204
            assert (await client.put("/api/v1/areas/hello", content=HELLO, headers=YAML)).status_code == 201
            assert (await command_line.delete("/api/v1/areas/hello")).status_code == 204, "it asks a person instead"


async def test_some_fields_are_enough(owner: httpx2.AsyncClient, hello: Any) -> None:
    assert (await owner.get("/api/v1/areas/hello?fields=area,version")).json() == {"area": "hello", "version": 1}
    found = (await owner.get("/api/v1/areas?fields=area, state")).json()
    assert found["items"][0]["area"] == "hello"
    assert list(found["items"][0]) == ["area", "state"]
    assert (await owner.get("/api/v1/areas/hello?fields=nothing")).json() == {}
    assert (await owner.get("/api/v1/areas/hello?fields=")).json()["name"] == "Hello"
    too_many = await owner.get("/api/v1/areas/hello?fields=" + ",".join(f"f{n}" for n in range(60)))
    assert (too_many.status_code, too_many.json()["errors"][0]["pointer"]) == (422, "?/fields")


async def test_fields_keep_the_version_so_that_a_change_can_follow(owner: httpx2.AsyncClient, hello: Any) -> None:
    seen = (await owner.get("/api/v1/areas/hello?fields=area")).headers["etag"]
    assert (await owner.patch("/api/v1/areas/hello", json={"name": "x"}, headers={"If-Match": seen})).status_code == 200

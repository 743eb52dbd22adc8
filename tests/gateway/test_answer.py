"""A question answered from outside: by a link that opens this question only, once, while it waits."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from areabox.app import App
from tests.gateway.conftest import Connect

AREA = """\
area: approve
name: Approvals
when:
  - webhook.received: {}
then:
  - ask:
      question: "Delete {{ trigger.name }}?"
      choices: [Delete, Keep]
      via:
        - store.set: {key: link, value: "{{ ask }}"}
    id: sure
    timeout: 1d
  - return: "{{ steps.sure.choice }} by {{ steps.sure.by }}"
"""


class Question:
    """A run that asks, and the link that its question went out with."""

    def __init__(self, app: App, owner: httpx2.AsyncClient) -> None:
        self.app, self.owner = app, owner

    async def ask(self) -> None:
        await self.owner.post("/api/v1/areas", content=AREA, headers={"content-type": "application/yaml"})
        answer = await self.owner.post("/api/v1/areas/approve/runs", json={"trigger": {"name": "<backup>"}})
        self.run = answer.json()["id"]
        account = await self.app.accounts.first_owner()
        assert account is not None
        while (told := await self.app.house.get(account.id, "link")) is None:
            await self.owner.get(f"/api/v1/runs/{self.run}")
        self.told: dict[str, Any] = told
        self.path = told["url"].removeprefix(self.app.base_url)

    async def result(self) -> Any:
        for _ in range(3_000):
            found = (await self.owner.get(f"/api/v1/runs/{self.run}")).json()
            if found["ended"]:
                return found["result"]
        raise AssertionError("it does not end")


@pytest.fixture
async def question(running: App, owner: httpx2.AsyncClient) -> Question:
    made = Question(running, owner)
    await made.ask()
    return made


async def test_looking_at_it_changes_nothing_and_a_button_answers_once(question: Question, connect: Connect) -> None:
    client = connect(accept="text/html")
    for _ in range(2):  # a mail scanner, too
        page = await client.get(question.path)
        assert page.status_code == 200
        assert "Delete &lt;backup&gt;?" in page.text
        assert page.text.count('<form class="inline" method="post"') == 2
        assert page.headers["referrer-policy"] == "no-referrer"
    one = await client.get(f"{question.path}/2")
    assert one.text.count('<form class="inline" method="post"') == 1
    done = await client.post(f"{question.path}/2", headers={"sec-fetch-site": "same-origin"})
    assert done.status_code == 200
    assert "Answered: Keep" in done.text
    assert await question.result() == "Keep by link"
    for method, path in (("GET", question.path), ("POST", f"{question.path}/1"), ("GET", f"{question.path}/1")):
        gone = await client.request(method, path)
        assert gone.status_code == 404
        assert "answered already" in gone.text


async def test_a_push_service_may_send_the_answer_from_its_own_page(question: Question, connect: Connect) -> None:
    answer = await connect().post(
        f"{question.path}/1", headers={"origin": "https://ntfy.sh", "sec-fetch-site": "cross-site", "content-type": "text/plain;charset=UTF-8"}
    )  # fmt: skip
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert await question.result() == "Delete by link"
    entries = (await question.owner.get("/api/v1/audit")).json()["items"]
    assert [entry["object"] for entry in entries if entry["verb"] == "run.answer"] == [f"{question.run}/sure"]


async def test_nothing_else_opens_it(question: Question, connect: Connect, accounts: Any) -> None:
    client, (token, mac) = connect(), question.path.rpartition("/")[2].split(".")
    wrong = ["x", token, f"{token}.", f"{token}.{mac[:-1]}", f"{token}.{mac[::-1]}", f"{'0' * 26}.{mac}", f"{token}.{mac}x"]
    for one in wrong:
        assert (await client.get(f"/answer/{one}")).status_code == 404, one
        assert (await client.post(f"/answer/{one}/1")).status_code == 404, one
    for number in ("0", "3", "-1", "x", "²", "1" * 40):
        assert (await client.post(f"{question.path}/{number}")).status_code == 404
        assert (await client.get(f"{question.path}/{number}")).status_code == 404
    assert (await client.post(question.path)).status_code == 405
    assert (await client.get(question.path)).status_code == 200


async def test_the_link_is_each_choices_own_and_no_secret_is_kept_of_it(question: Question) -> None:
    base = question.told["url"]
    token = base.rpartition("/")[2]
    assert question.told["question"] == "Delete <backup>?"
    assert question.told["choices"] == [
        {"choice": "Delete", "url": f"{base}/1", "data": f"{token}/1"},
        {"choice": "Keep", "url": f"{base}/2", "data": f"{token}/2"},
    ]
    assert len(f"{token}/10") <= 64  # what Telegram takes as the data of a button


async def test_with_the_time_of_the_step_the_link_is_over(question: Question, connect: Connect, clock: Any) -> None:
    clock.advance(86_400_001)
    await question.app.worker.tick()
    assert await question.result() is None
    assert (await connect().get(question.path)).status_code == 404

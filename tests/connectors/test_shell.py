"""`shell`, with real programs: what an admin defined runs, within its limits, and nothing else."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from areabox.deployment import commands
from areabox.errors import InputError, Permanent, Transient, Uncertain
from areabox.sdk import Command
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.host import House
from tests.connectors.brokers import until
from tests.connectors.calls import poll, react


def program(text: str, *more: str, **options: Any) -> Command:
    return Command(name="it", argv=(sys.executable, "-c", text, *more), **options)


@pytest.fixture
async def run(services: Services, backend: Any, clock: Any) -> Any:
    """Return a function that runs a command; `only` says whom its owner is trusted as."""

    async def go(command: Command, *, trusted: bool = True, **params: Any) -> Any:
        async def trusts(_owner: str) -> bool:
            return trusted

        services._house = House(backend, clock, commands=[command], trusts=trusts)
        return await react(services, "shell.run", command=command.name, **params)

    return go


async def test_a_command_gets_its_arguments_and_input_and_no_environment(run: Any) -> None:
    text = "import os, sys; print(sys.argv[1:], sys.stdin.read(), dict(os.environ), os.getcwd())"
    found = await run(program(text, "{a}", "-x", "{b}", "{a}"), values={"a": "$(id); `id` 'x' \n&", "b": "é"}, stdin="in")
    assert found["exit_code"] == 0
    assert found["stdout"].startswith(repr(["$(id); `id` 'x' \n&", "-x", "é", "$(id); `id` 'x' \n&"]) + " in ")
    shown = found["stdout"].partition(" in ")[2]
    assert "AREABOX" not in shown
    assert "HOME" not in shown
    assert shown.strip().endswith(" /")
    env = await run(program("import os; print(os.environ['A'], os.getcwd())", env={"A": "1"}, folder="/tmp"))
    assert env["stdout"].split() == ["1", os.path.realpath("/tmp")]


async def test_values_are_only_those_that_the_command_has_places_for(run: Any) -> None:
    command = program("print(1)", "{unit}", "literal", patterns={"unit": "[a-z-]+"})
    for values in ({}, {"unit": "a", "more": "b"}, {"unit": "a b"}, {"unit": "a\0"}, {"unit": "x" * 5_000}):
        with pytest.raises(Permanent, match="value"):
            await run(command, values=values)
    with pytest.raises(Permanent, match="dash"):
        await run(program("print(1)", "{unit}"), values={"unit": "-rf"})
    assert (await run(program("print(1)", "{unit}", patterns={"unit": "-[a-z]+"}), values={"unit": "-rf"}))["stdout"] == "1\n"


async def test_a_command_that_fails_fails_the_step_unless_every_end_is_a_result(run: Any) -> None:
    command = program("import sys; print('half'); print('no disk', file=sys.stderr); sys.exit(3)")
    with pytest.raises(Permanent, match="it ended with the code 3: no disk"):
        await run(command)
    assert await run(command, fail=False) == {"exit_code": 3, "stdout": "half\n", "stderr": "no disk\n", "truncated": False}
    with pytest.raises(Permanent, match="cannot be run"):
        await run(Command(name="it", argv=("/nowhere/at/all",)))
    with pytest.raises(Permanent, match="cannot be run"):
        await run(program("1", folder="/nowhere"))


async def test_more_output_than_is_allowed_is_dropped_and_the_command_goes_on(run: Any) -> None:
    text = "import sys; sys.stdout.write('x' * 5_000_000); sys.stderr.write('y' * 300_000); sys.stdout.flush(); sys.exit(0)"
    found = await run(program(text, output_bytes=1_000))
    assert (found["exit_code"], found["stdout"], len(found["stderr"]), found["truncated"]) == (0, "x" * 1_000, 1_000, True)


async def test_input_that_nobody_reads_holds_nobody_up(run: Any) -> None:
    assert (await run(program("print(1)"), stdin="x" * 900_000))["stdout"] == "1\n"


CHILDREN = "import os, subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); open(sys.argv[1], 'w').write(f'{os.getpid()} {p.pid}'); time.sleep(%s)"


def lives(number: str) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(file: Path) -> bool:
    return not any(map(lives, file.read_text().split()))


async def test_at_the_end_of_its_time_it_is_ended_with_all_that_it_started(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    with pytest.raises(Permanent, match=r"did not end within 1\.5 s"):
        await run(program(CHILDREN % 600, str(file), timeout_ms=1_500))
    if file.exists():  # it got that far
        await until(lambda: gone(file))


async def test_what_it_leaves_behind_is_ended_too(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    assert (await run(program(CHILDREN % 0, str(file))))["exit_code"] == 0
    await until(lambda: gone(file))


async def test_a_step_that_is_cut_off_ends_its_command(services: Services, backend: Any, clock: Any, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    services._house = House(backend, clock, commands=[program(CHILDREN % 600, str(file), everybody=True)])
    step = asyncio.create_task(react(services, "shell.run", command="it"))

    async def begun() -> bool:
        return file.exists() and " " in file.read_text()

    await until(begun)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    await until(lambda: gone(file))


async def test_a_step_whose_time_is_over_is_uncertain(services: Services, backend: Any, clock: Any) -> None:
    services._house = House(backend, clock, commands=[program("import time; time.sleep(600)", everybody=True)])
    with pytest.raises(Uncertain):
        await services.react("shell.run", {"command": "it"}, owner="ann", connection=None, key="k", attempt=1, timeout_s=0.2)


async def test_only_owners_and_admins_run_commands_unless_it_says_so(run: Any, services: Services) -> None:
    with pytest.raises(Permanent, match="none that you may run"):
        await run(program("print(1)"), trusted=False)
    assert await services.options("reaction", "shell.run", "command", {}, owner="ann") == []
    assert (await run(program("print(1)", everybody=True, about="Counts"), trusted=False))["exit_code"] == 0
    offered = await services.options("reaction", "shell.run", "command", {}, owner="ann", q="count")
    assert [(one.value, one.label) for one in offered] == [("it", "it: Counts")]


async def test_without_settings_there_is_nothing(services: Services) -> None:
    with pytest.raises(Permanent, match="there is no command restart-nas"):
        await react(services, "shell.run", command="restart-nas")
    with pytest.raises(InputError):
        await react(services, "shell.run", command="ls /")


def test_what_may_be_repeated_is_told(catalogue: Catalogue) -> None:
    operation = catalogue.reaction("shell.run")
    assert operation is not None
    assert [operation.effect_of({"command": "it"} | more) for more in ({}, {"repeatable": True})] == ["once", "idempotent"]


async def test_output_that_changes_fires(services: Services, backend: Any, clock: Any, tmp_path: Path) -> None:
    file, cursor = tmp_path / "state", dict[str, Any]()
    text = "import sys; t = open(sys.argv[1]).read(); print(t); sys.exit('x' in t)"
    services._house = House(backend, clock, commands=[program(text, str(file), everybody=True)])

    async def look(content: str, **params: Any) -> list[Any]:
        file.write_text(content)
        return [(event["old"], event["text"], event["exit_code"]) for event in await poll(services, "shell.output_changed", cursor, command="it", **params)]

    assert [await look(one) for one in ("a", "a", "b")] == [[], [], [("a\n", "b\n", 0)]]
    with pytest.raises(Transient, match="ended with the code 1"):
        await look("x")
    assert await look("x", failing=True) == [("b\n", "x\n", 1)]
    assert await look("b") == [("x\n", "b\n", 0)]


GOOD: dict[str, Any] = {"argv": ["/bin/echo", "{what}"], "about": "Says it", "timeout": "5s", "output": "1KiB", "folder": "/tmp", "env": {"A": "1"}, "patterns": {"what": "[a-z]+"}, "everybody": True}


def test_the_settings_say_all_of_a_command() -> None:
    (found,) = commands.read({"commands": {"say": GOOD}})
    assert found == Command(
        name="say", argv=("/bin/echo", "{what}"), about="Says it", timeout_ms=5_000, output_bytes=1_024, folder="/tmp", env={"A": "1"}, patterns={"what": "[a-z]+"}, everybody=True,
    )  # fmt: skip
    assert str(found) == "say"
    assert commands.read({}) == commands.read("") == commands.read({"commands": {}}) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"argv": []}, "argv is a list"), ({"argv": "/bin/ls -l"}, "argv is a list"), ({"argv": ["ls"]}, "a whole path"), ({"argv": ["/bin/x", 1]}, "argv is a list"),
        ({"argv": ["/bin/x", "--name={what}"]}, "a place is a whole argument"), ({"argv": ["/bin/{what}"]}, "and not the program"), ({"argv": ["/bin/x", "{What}"]}, "a place is"),
        ({"timeout": "2h"}, "up to 1h"), ({"timeout": "x"}, "a duration"), ({"output": "2MiB"}, "up to 1h, and the output"), ({"patterns": {"other": "a"}}, "no place {other}"),
        ({"patterns": {"what": "("}}, "patterns: what"), ({"env": {"A": 1}}, "env is a table"), ({"folder": "tmp"}, "a whole path"), ({"shell": True}, "shell is not known"),
    ],
)  # fmt: skip
def test_a_slip_in_the_settings_is_said_with_its_command(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"shell\.commands\.say: .*") as raised:
        commands.read({"commands": {"say": GOOD | change}})
    assert said in str(raised.value)


@pytest.mark.parametrize("wrong", ["on", {"command": {}}, {"commands": []}, {"commands": {"A b": GOOD}}, {"commands": {"a": 1}}, {"commands": {str(n): GOOD for n in range(201)}}])
def test_what_is_no_table_of_commands_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        commands.read(wrong)

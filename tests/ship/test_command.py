"""A sink that is a command: its exit code is the answer, and what it is given is always whole."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from killing import kill_without_end
from programs import Shell
from shipping_logs import Site, expected, shipped
from workers import alive, eventually

from queuectl.errors import Invalid
from queuectl.ship.sink import Refused


def failing(site: Site) -> str:
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert shipping.error is None
    return site.sinks.condition("a").error


def running(site: Site, command: str, **given: Any) -> None:
    site.add("a", f"exec:{command}", **{"send_events": 4, **given})


def test_a_shipment_is_the_input_of_one_run(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.append(10)
    monkeypatch.chdir(tmp_path)
    running(site, "cat >> got.jsonl; echo $QUEUECTL_SINK $QUEUECTL_SHIPMENT >> shipments")
    monkeypatch.chdir("/")
    assert site.ship("a") == 10
    assert shipped(tmp_path) == expected(site.log)
    identity = site.log.segments.log_of_first()
    assert (tmp_path / "shipments").read_text().splitlines() == [
        f"a {identity}-1-4",
        f"a {identity}-5-8",
        f"a {identity}-9-10",
    ]


@pytest.mark.parametrize(
    "command, says",
    [
        ("exit 1", r"the command failed \(exit code 1\)"),
        ("no-such-command", r"the command failed \(exit code 127\)"),
        ("kill -9 $$", r"the command failed \(signal SIGKILL\)"),
        ("cat; exit 75", r"the command failed \(exit code 75\)"),
        ("sleep 60 & sleep 60", r"the command took longer than 0\.2 s"),
    ],
)
def test_any_failure_is_tried_again(site: Site, command: str, says: str) -> None:
    site.append(1)
    running(site, command, timeout_ms=200)
    assert re.fullmatch(says, failing(site))
    assert site.sinks.cursor("a") == 0


def test_what_it_does_not_read_counts_as_taken(site: Site) -> None:
    site.append(2000)
    running(site, "true", send_events=2000)
    assert site.ship("a") == 2000


def test_what_it_refuses_for_good_stops_it(site: Site) -> None:
    site.append(6)
    running(site, "grep -q '\"offset\":5,' && exit 65; exit 0")
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert isinstance(shipping.error, Refused)
    assert "events 5 to 6" in str(shipping.error)
    assert shipping.cursor == 4


def test_it_is_ended_with_all_its_processes(site: Site, tmp_path: Path) -> None:
    site.append(1)
    running(site, f"sleep 100 & echo $! > {tmp_path}/pid; wait", timeout_ms=300)
    failing(site)
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not alive(pid))


@pytest.mark.parametrize("to", ["exec:", "exec:  ", "exec:a\0b"])
def test_what_is_no_command(site: Site, to: str) -> None:
    with pytest.raises(Invalid, match="name a command"):
        site.add("a", to)


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    shell = Shell(tmp_path)
    shell.add("true")
    yield shell
    shell.close()


def test_a_stop_waits_for_the_shipment_and_a_second_one_does_not(shell: Shell) -> None:
    shell.ok("ship", "add", "a", "--to", "exec:echo $$ > pid; exec sleep 100")
    run = shell.start("ship", "run")
    pid = int(
        eventually(
            lambda: (shell.directory / "pid").exists() and (shell.directory / "pid").read_text()
        )
    )
    run.signal(signal.SIGTERM)
    eventually(lambda: "stopping once the sinks have answered" in run.err)
    assert run.process.poll() is None and alive(pid)
    run.signal(signal.SIGTERM)
    assert run.ended().code == 0
    eventually(lambda: not alive(pid))


def test_killed_at_any_moment_every_event_arrives_and_shipments_are_whole(
    shell: Shell, chance: random.Random
) -> None:
    shell.ok("ship", "add", "a", "--to", "exec:cat > got.$QUEUECTL_SHIPMENT", "--send-events", "50")
    head = kill_without_end(shell.directory, chance, 5)
    offsets = set()
    for path in shell.directory.glob("got.*"):
        first, last = map(int, path.name.split("-")[-2:])
        found = [msgspec.json.decode(line)["offset"] for line in path.read_bytes().splitlines()]
        assert found == [*range(first, last + 1)]
        offsets.update(found)
    assert offsets == set(range(1, head + 1))

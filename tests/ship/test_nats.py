"""A sink in NATS JetStream: a real server takes each event once, however often it is sent."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from killing import kill_without_end
from programs import Shell
from shipping_logs import Site, expected
from workers import PATIENCE_S, eventually

from queuectl.errors import Invalid
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.ship.sink import Refused


class Server:
    """A `nats-server` of its own, with JetStream."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._port = -1
        self.config: dict[str, Any] = {}

    def start(self) -> None:
        """At the same port as before."""
        ports = self.root / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        config = self.root / "server.conf"
        config.write_text(
            json.dumps(
                {
                    "host": "127.0.0.1",
                    "port": self._port,
                    "ports_file_dir": str(ports),
                    "jetstream": {"store_dir": str(self.root / "store")},
                    **self.config,
                }
            )
        )
        with (self.root / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).parent / "nats-server", "-c", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        (found,) = eventually(lambda: [*ports.glob("*.ports")])
        self._port = int(
            eventually(lambda: json.loads(found.read_text() or "{}"))["nats"][0].rpartition(":")[2]
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def make_stream(self, **more: Any) -> None:
        async def make() -> None:
            async with await nats.connect(self.url) as client:
                stream = client.jetstream()
                await stream.add_stream(name="events", subjects=["queuectl.>"], **more)

        asyncio.run(make())

    def messages(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(subject, id, event) of each that the stream has, in its order."""

        async def read() -> list[tuple[str, str, dict[str, Any]]]:
            found = []
            async with await nats.connect(self.url) as client:
                stream = client.jetstream()
                count = (await stream.stream_info("events")).state.messages
                reading = await stream.subscribe("queuectl.>", ordered_consumer=True)
                for _ in range(count):
                    message = await reading.next_msg(PATIENCE_S)
                    id = (message.headers or {})["Nats-Msg-Id"]
                    found.append((message.subject, id, msgspec.json.decode(message.data)))
            return found

        return asyncio.run(read())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    root = tmp_path / "nats"
    root.mkdir()
    server = Server(root)
    server.start()
    yield server
    server.stop()


def failing(site: Site) -> str:
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert shipping.error is None, shipping.error
    return site.sinks.condition("a").error


def test_each_event_is_a_message_with_an_id(site: Site, server: Server) -> None:
    server.make_stream()
    site.append(30)
    site.add("a", server.url, send_events=7)
    assert site.ship("a") == 30
    found = server.messages()
    assert [event for _, _, event in found] == expected(site.log)
    identity = site.log.segments.log_of_first()
    assert [id for _, id, _ in found] == [f"{identity}-{n}" for n in range(1, 31)]
    assert {subject for subject, _, _ in found} == {"queuectl.job.enqueued"}


def test_what_is_sent_again_changes_nothing(site: Site, server: Server) -> None:
    server.make_stream()
    site.append(10)
    site.add("a", server.url)
    site.ship("a")
    site.sinks.reset("a", 3)
    site.ship("a")
    assert len(server.messages()) == 10


def test_a_server_that_comes_and_goes(site: Site, server: Server) -> None:
    server.make_stream()
    site.append(2)
    site.add("a", server.url, timeout_ms=2000)
    shipping = site.shipping("a")
    shipping.turn()
    assert shipping.cursor == 2
    server.stop()
    site.append(2)
    shipping.turn()
    assert shipping.cursor == 2
    assert server.url in site.sinks.condition("a").error
    server.start()
    site.host.advance(5)
    shipping.turn()
    assert shipping.cursor == 4
    server.stop()
    server.start()
    site.append(2)
    # It may not have noticed yet that the connection is not there any more.
    shipping.turn()
    site.host.advance(5)
    shipping.turn()
    shipping.close()
    assert shipping.cursor == 6
    assert [event["offset"] for _, _, event in server.messages()] == [1, 2, 3, 4, 5, 6]


def test_where_no_stream_takes_them_nothing_is_acknowledged(site: Site, server: Server) -> None:
    site.append(2)
    site.add("a", server.url)
    assert failing(site) == "no stream takes the subject queuectl.>: make one that does"
    server.make_stream()
    site.host.advance(5)
    assert site.ship("a") == 2


def test_a_stream_that_is_full_is_tried_again(site: Site, server: Server) -> None:
    server.make_stream(max_msgs=3, discard="new")
    site.append(5)
    site.add("a", server.url, send_events=2)
    assert "maximum messages exceeded" in failing(site)
    assert site.sinks.cursor("a") == 2


def test_what_is_too_long_for_it_stops_it(site: Site, server: Server) -> None:
    server.make_stream(max_msg_size=200)
    site.append(20)
    site.add("a", server.url, send_events=1)
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert isinstance(shipping.error, Refused)
    assert "message size exceeds maximum allowed" in str(shipping.error)


def test_what_is_too_long_for_the_server_stops_it(site: Site, server: Server) -> None:
    server.stop()
    server.config = {"max_payload": 2000}
    server.start()
    server.make_stream()
    site.append(3)
    site.log.append([Batch([v.JobEnqueued(job="long", command="x" * 2000)])])
    site.add("a", server.url, send_events=3)
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert shipping.cursor == 3
    assert isinstance(shipping.error, Refused)
    assert "raise max_payload there" in str(shipping.error)


def test_a_token_lets_it_in(site: Site, server: Server, tmp_path: Path) -> None:
    server.make_stream()
    server.stop()
    server.config = {"authorization": {"token": "s3cret"}}
    server.start()
    site.append(2)
    token = tmp_path / "token"
    token.write_text("wrong\n")
    site.add("a", server.url, token_file=str(token), timeout_ms=2000)
    assert "Authorization Violation" in failing(site)
    token.write_text("s3cret\n")
    site.host.advance(5)
    assert site.ship("a") == 2


@pytest.mark.parametrize(
    "to, options, says",
    [
        ("nats:", {}, "no server"),
        ("nats://", {}, "no server"),
        ("nats://host:99999", {}, "no server"),
        ("nats://host:4222/subject", {}, "no server"),
        ("nats://ann:pass@host:4222", {}, "password"),
        ("nats://host:4222", {"subject": "a.>"}, "--subject"),
        ("nats://host:4222", {"subject": "a b"}, "--subject"),
        ("nats://host:4222", {"gzip": False}, "--no-gzip"),
    ],
)
def test_what_is_no_address(site: Site, to: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        site.add("a", to, **options)


def test_without_the_extra_it_says_what_to_do(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.add("true")
    (tmp_path / "hidden" / "nats").mkdir(parents=True)
    (tmp_path / "hidden" / "nats" / "__init__.py").write_text("raise ImportError('hidden')")
    answer = shell.program(
        "ship", "add", "a", "--to", "nats://host", PYTHONPATH=str(tmp_path / "hidden")
    )
    assert answer.code == 1
    assert "pip install nats-py, or install queuectl with its extra nats" in answer.err
    shell.close()


def test_killed_at_any_moment_each_event_is_there_once(
    server: Server, tmp_path: Path, chance: random.Random
) -> None:
    server.make_stream()
    shell = Shell(tmp_path)
    shell.add("true")
    shell.ok("ship", "add", "a", "--to", server.url, "--send-events", "50")
    head = kill_without_end(tmp_path, chance, 5)
    offsets = [event["offset"] for _, _, event in server.messages()]
    assert len(offsets) == len(set(offsets)) == head
    running = shell.start("ship", "run")
    eventually(lambda: "shipping to" in running.err)
    shell.add("true")
    eventually(lambda: len(server.messages()) == head + 1)
    running.signal(signal.SIGTERM)
    assert running.ended().code == 0
    shell.close()

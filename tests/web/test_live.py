"""Events as they happen, and what happens to a server that is not well."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import IncompleteRead
from itertools import islice

import pytest
from programs import Shell
from serving import Web, reads_nothing, token
from workers import eventually

from queuectl.web.serving import bind

SSE = {"Accept": "text/event-stream"}
LINES = {"Accept": "application/x-ndjson"}


def test_what_happens_is_heard_with_its_offset_as_its_id(web: Web) -> None:
    stream = web.stream("/api/v1/events", **SSE)
    assert stream.answer.headers["content-type"].startswith("text/event-stream")
    events = stream.events()
    web.shell.add("--id", "a", "true")
    first = next(events)
    assert (first["type"], first["job"], first["id"]) == ("job.enqueued", "a", "1")
    web.shell.drain()
    kinds = []
    while "worker.stopped" not in kinds:
        kinds.append(next(events)["type"])
    assert kinds == ["worker.started", "job.claimed", "job.completed", "worker.stopped"]
    stream.close()


def test_who_comes_again_goes_on_right_behind_what_it_had(web: Web) -> None:
    for n in range(5):
        web.shell.add("--id", f"a{n}", "true")
    stream = web.stream("/api/v1/events?after=0", **SSE)
    had = [event["offset"] for event in islice(stream.events(), 3)]
    stream.close()
    web.shell.add("--id", "b", "true")
    again = web.stream("/api/v1/events?after=0", Last_Event_ID=str(had[-1]), **SSE)
    rest = [event["offset"] for event in islice(again.events(), 3)]
    again.close()
    assert had + rest == [1, 2, 3, 4, 5, 6]
    for wrong in ("x", "-1", "1" * 30):
        assert web.ask("GET", "/api/v1/events", Last_Event_ID=wrong, **SSE).status == 400
    assert web.ask("GET", "/api/v1/events?after=7", **SSE).status == 400


def test_the_same_as_lines_of_json(web: Web) -> None:
    web.shell.add("--id", "a", "true")
    stream = web.stream("/api/v1/events?after=0", **LINES)
    lines = filter(None, stream.lines())
    assert json.loads(next(lines))["job"] == "a"
    web.shell.add("--id", "b", "true")
    assert json.loads(next(lines))["job"] == "b"
    stream.close()


def test_only_some_of_it(web: Web) -> None:
    stream = web.stream("/api/v1/events?after=0&job=b&type=job.completed&type=job.cancelled", **SSE)
    events = stream.events()
    for id in "abc":
        web.shell.add("--id", id, "--delay", "1h", "true")
        web.shell.ok("cancel", id)
    event = next(events)
    assert (event["type"], event["job"]) == ("job.cancelled", "b")
    stream.close()
    page = web.get("/events?type=job.cancelled&limit=2&after=0")
    assert [event["job"] for event in page["events"]] == ["a", "b"]
    rest = web.get(f"/events?type=job.cancelled&limit=2&after={page['after']}")
    assert [event["job"] for event in rest["events"]] == ["c"]


def test_who_lags_behind_what_is_kept_gets_all_of_it_from_the_log(shell: Shell) -> None:
    code = "import queuectl.web.live as l; l._EVENTS_KEPT = 10; l._PIECE = 7"
    web = Web(shell, code=code)
    web.token = token(shell, "boss", "admin")
    ids = [f"job{n}" for n in range(200)]
    for start in range(0, 200, 20):
        web.post("/jobs", [{"id": id, "command": "true"} for id in ids[start : start + 20]])
    stream = web.stream("/api/v1/events?after=0", **SSE)
    heard = [event["job"] for event in islice(stream.events(), 150)]
    web.post("/jobs", [{"id": "last", "command": "true"}])
    heard += [event["job"] for event in islice(stream.events(), 51)]
    stream.close()
    assert heard == [*ids, "last"]


def test_nothing_is_told_that_is_not_durable_or_twice(web: Web) -> None:
    streams = [web.stream("/api/v1/events?after=0", **SSE) for _ in range(5)]
    web.shell.worker("-c", "2")
    for _ in range(10):
        web.post("/jobs", [{"command": "true"} for _ in range(10)])
    eventually(lambda: web.get("/status")["jobs"]["completed"] == 100)
    head = web.get("/status")["head"]
    expected = [event["offset"] for event in web.get("/events?after=0&limit=1000")["events"]]
    for stream in streams:
        assert [event["offset"] for event in islice(stream.events(), head)] == expected[:head]
        stream.close()


def test_somebody_hears_that_it_is_still_there(shell: Shell) -> None:
    web = Web(shell, code="import queuectl.web.live as l; l.HEARTBEAT_S = 0.05")
    web.token = token(shell, "boss", "admin")
    stream = web.stream("/api/v1/events", **SSE)
    assert b": still here" in islice(stream.lines(), 20)
    stream.close()
    lines = web.stream("/api/v1/events", **LINES)
    assert next(lines.lines()) == b""
    lines.close()


def test_viewers_are_counted_and_forgotten(web: Web) -> None:
    def viewers(number: int) -> bool:
        return f"queuectl_web_viewers {number}.0" in web.ask("GET", "/metrics").body.decode()

    streams = [web.stream("/api/v1/events", **SSE) for _ in range(3)]
    eventually(lambda: viewers(3))
    for stream in streams:
        stream.close()
    # That one is gone is noticed when there is something to tell.
    web.shell.add("true")
    eventually(lambda: viewers(0))


def test_a_search_that_takes_long_holds_no_stream_up(shell: Shell) -> None:
    # It looks at its first job until the file is there: whatever is heard is heard meanwhile.
    go, began = shell.directory / "go", shell.directory / "began"
    code = f"""
import time, pathlib, queuectl.web.pages.jobs as j
matcher = j._matcher
def slow(view, asked):
    pathlib.Path({str(began)!r}).touch()
    while not pathlib.Path({str(go)!r}).exists():
        time.sleep(0.01)
    return matcher(view, asked)
j._matcher = slow
"""
    shell.add("--id", "a", "true")
    web = Web(shell, code=code)
    web.token = token(shell, "boss", "admin")
    with ThreadPoolExecutor(1) as thread:
        search = thread.submit(web.ask, "GET", "/jobs?q=a", Accept="text/html")
        eventually(began.exists)
        stream = web.stream("/api/v1/events?after=0", **SSE)
        events = stream.events()
        assert next(events)["job"] == "a"
        shell.add("--id", "b", "true")
        assert next(events)["job"] == "b"
        assert web.ask("GET", "/healthz").status == 200
        assert not search.done()
        go.touch()
        assert b"/jobs/a" in search.result().body
    stream.close()


# ---- ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_asked_to_stop_ends_streams_well(web: Web, number: int) -> None:
    stream = web.stream("/api/v1/events", **SSE)
    lines = stream.lines()
    assert next(lines).startswith(b"retry: ")
    web.running.signal(number)
    assert list(lines)[1:] == [], "the answer came to its end"
    stream.close()
    answer = web.running.ended()
    assert answer.code == 0
    assert answer.err.count("\n") == 1, "nothing but where it serves"


def test_being_asked_to_stop_waits_for_nobody_who_reads_nothing(web: Web) -> None:
    jobs = "\n".join(json.dumps({"command": f"true {'x' * 1000} {n}"}) for n in range(20_000))
    web.shell.ok("-q", "enqueue", "-", stdin=jobs.encode())
    plugs = [reads_nothing(web) for _ in range(5)]
    eventually(lambda: b"queuectl_web_viewers 5.0" in web.ask("GET", "/metrics").body)
    assert web.stop() == 0
    assert web.running.err.count("\n") == 1, "nothing but where it serves"
    for plug in plugs:
        plug.close()


def test_who_was_cut_off_by_a_kill_goes_on_with_the_next_server(web: Web) -> None:
    worker = web.shell.worker("-c", "2")
    heard: list[int] = []
    for killed in range(3):
        web.post("/jobs", [{"command": "true"} for _ in range(60)])
        last = {"Last_Event_ID": str(heard[-1])} if heard else {}
        stream = web.stream("/api/v1/events?after=0", **SSE, **last)
        events = stream.events()
        # In the midst of it: the worker goes on meanwhile.
        heard += [event["offset"] for event in islice(events, 50)]
        web.running.kill()
        with suppress(IncompleteRead, ConnectionError):
            # What was on the way still counts, as far as it is whole.
            heard += [event["offset"] for event in events]
        stream.close()
        made, web = web.token, Web(web.shell)
        web.token = made
        assert len(heard) >= 50 * (killed + 1)
    eventually(lambda: web.get("/status")["jobs"]["completed"] == 180)
    worker.signal(signal.SIGTERM)
    worker.ended()
    head = web.get("/status")["head"]
    stream = web.stream("/api/v1/events", Last_Event_ID=str(heard[-1]), **SSE)
    heard += [event["offset"] for event in islice(stream.events(), head - heard[-1])]
    stream.close()
    assert heard == list(range(1, head + 1))


# ---- damage


def damage(shell: Shell) -> bytes:
    """Spoil the last event of the log as a bad disk would; returns what the file was."""
    (segment,) = sorted((shell.data / "log").glob("*.jsonl"))
    sound = segment.read_bytes()
    at = sound.rindex(b'"command":"')
    segment.write_bytes(sound[:at] + sound[at:].replace(b"true", b"trux", 1))
    return sound


def test_a_log_that_is_damaged_meanwhile_is_said_to_be_and_still_shown(web: Web) -> None:
    web.shell.add("--id", "a", "true")
    stream = web.stream("/api/v1/events?after=0", **SSE)
    messages = (message for message in stream.messages() if "data" in message)
    assert "job.enqueued" in next(messages)["data"]
    assert web.ask("GET", "/readyz").body == b"ok\n"

    # As one write, so that the server does not see the sound event first.
    (segment,) = sorted((web.shell.data / "log").glob("*.jsonl"))
    web.running.signal(signal.SIGSTOP)
    web.shell.add("--id", "b", "true")
    sound = damage(web.shell)
    web.running.signal(signal.SIGCONT)

    told = next(messages)
    assert told["event"] == "damage"
    assert "the log is damaged" in json.loads(told["data"])["detail"]
    ready = web.ask("GET", "/readyz", token="")
    assert (ready.status, ready.body) == (503, b"the log is damaged\n")
    assert b"queuectl_log_damaged 1.0" in web.ask("GET", "/metrics").body
    assert web.ask("GET", "/healthz").status == 200
    assert web.get("/jobs/a")["state"] == "pending", "what stands before it is intact"
    unknown = web.ask("GET", "/api/v1/jobs/b")
    assert (unknown.status, unknown.json["exit_code"]) == (503, 7)
    refused = web.ask("POST", "/api/v1/jobs", {"command": "true"})
    assert (refused.status, "log repair" in refused.detail) == (503, True)

    segment.write_bytes(sound)
    eventually(lambda: web.ask("GET", "/readyz").status == 200)
    assert web.get("/jobs/b")["state"] == "pending"
    # What was there behind the damage may come just before it is said to be mended.
    told_then = [json.loads(next(messages)["data"]) for _ in range(2)]
    assert {"detail": "mended"} in told_then
    assert "b" in [message.get("job") for message in told_then]
    web.post("/jobs", {"id": "c", "command": "true"})
    stream.close()


def test_after_a_quiet_time_nothing_waits_to_be_told_with_more(shell: Shell) -> None:
    web = Web(shell, code="import queuectl.web.live as l; l.GATHER_S, l._WAIT_S = 3600, 0.001")
    web.token = token(shell, "boss", "admin")
    stream = web.stream("/api/v1/events", **SSE)
    shell.add("--id", "a", "true")
    assert next(stream.events())["job"] == "a"
    stream.close()


def test_the_end_of_an_answer_does_not_wait_for_its_beginning_to_be_acknowledged() -> None:
    async def is_sent_at_once() -> bool:
        answers: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def take(_: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
            taken = out.get_extra_info("socket")
            answers.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            out.close()
            await out.wait_closed()

        bound = bind("127.0.0.1", 0)
        where = bound.getsockname()
        async with await asyncio.start_server(take, sock=bound):
            answer, plug = await asyncio.open_connection(*where)
            await answer.read()
            plug.close()
            await plug.wait_closed()
            return bool(await answers)

    # In a thread of its own: a browser that other tests drive has a loop in this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: asyncio.run(is_sent_at_once())).result()


def test_a_disk_that_is_nearly_full_is_said_to_be(shell: Shell) -> None:
    web = Web(shell, code="import queuectl.web.health as h; h.SPACE_BYTES_MIN = 1 << 60")
    ready = web.ask("GET", "/readyz")
    assert (ready.status, ready.body) == (503, b"the disk is nearly full\n")


def test_a_defect_is_not_told_to_others(shell: Shell) -> None:
    code = "import queuectl.web.api.queues as q; q.settings_document = None"
    web = Web(shell, code=code)
    web.token = token(shell, "boss", "admin")
    reply = web.ask("GET", "/api/v1/settings")
    assert (reply.status, reply.detail) == (500, "this is a defect of queuectl")
    assert "NoneType" not in reply.body.decode()
    eventually(lambda: "NoneType" in web.running.err)
    assert web.ask("GET", "/healthz").status == 200

"""What somebody found who attacked the server: within one process, without a port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import ENOSPC
from json import dumps, loads
from pathlib import Path
from re import findall
from typing import Any

import pytest
from hosts import FaultyHost

from queuectl.errors import NoSpace
from queuectl.home import Home
from queuectl.jobqueue import Queue
from queuectl.runtime import redacting
from queuectl.web import access, live
from queuectl.web.access import Sessions, Tokens, Visitor
from queuectl.web.app import create_app
from queuectl.web.guard import Rules
from queuectl.web.served import Served


class Site:
    def __init__(self, place: Path) -> None:
        self.place = str(place)
        self.served = Served(self.place)
        self.live = live.Live(self.served.open_view)
        self.tokens = Tokens(self.served.home, self.served.host)
        self.sessions = Sessions(self.tokens, self.served.host)
        rules = Rules(frozenset({"localhost"}), self.tokens, self.sessions)
        self.app = create_app(self.served, self.live, rules)
        self.token = self.tokens.add("me", "admin", actor="x")

    def ask(
        self, method: str, path: str, body: bytes = b"", known: bool = True, **headers: str
    ) -> tuple[int, bytes]:
        with ThreadPoolExecutor(1) as thread:
            # Not in this one: a browser of other tests may have left its loop running here.
            return thread.submit(
                lambda: asyncio.run(self._ask(method, path, body, known, headers))
            ).result()

    async def _ask(
        self, method: str, path: str, body: bytes, known: bool, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        name, _, query = path.partition("?")
        given = {"host": "localhost", **headers}
        if known:
            given["authorization"] = f"Bearer {self.token}"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": name,
            "raw_path": name.encode(),
            "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()],
            "server": ("localhost", 8080),
            "client": ("127.0.0.1", 1),
        }
        pieces = [body[at : at + 1024] for at in range(0, len(body), 1024)] or [b""]
        told: list[Any] = []

        async def receive() -> dict[str, Any]:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            told.append(message)

        await self.app(scope, receive, send)
        return told[0]["status"], b"".join(one.get("body", b"") for one in told[1:])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "data")
    yield made
    made.served.close()


def test_what_was_redacted_is_gone_from_what_happened_lately(site: Site) -> None:
    with Queue(site.place) as queue:
        queue.enqueue("echo s3cret", id="a")
        queue.cancel("a")
        paths = ("/", "/events", "/events?type=job.enqueued")
        assert all(b"s3cret" in site.ask("GET", path)[1] for path in paths)
        redacting.redact(queue, "a", ["command"])
    assert not [path for path in paths if b"s3cret" in site.ask("GET", path)[1]]


def test_what_was_redacted_meanwhile_is_not_told_to_who_reads_slowly(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_PIECE", 1)

    async def reads_slowly(queue: Queue) -> bytes:
        site.live.start()
        stream = site.live.after(0)
        first = await anext(stream)
        # The other jobs are decoded by now, and wait to be told.
        await asyncio.to_thread(redacting.redact, queue, "b", ["command"])
        while site.live.head < queue.log.head():
            await asyncio.sleep(0.01)
        told = [first] + [await anext(stream) for _ in range(site.live.head - 1)]
        await stream.aclose()
        site.live.stop()
        await asyncio.to_thread(site.live.join)
        return b"".join(news.batch.lines for news in told if news.batch)

    with Queue(site.place) as queue:
        queue.enqueue("echo harmless", id="a")
        queue.enqueue("echo s3cret", id="b")
        queue.cancel("b")
        site.live = live.Live(site.served.open_view)
        with ThreadPoolExecutor(1) as thread:
            told = thread.submit(lambda: asyncio.run(reads_slowly(queue))).result()
    assert b"harmless" in told and b"job.redacted" in told
    assert b"s3cret" not in told


def test_a_session_does_not_outlive_its_token_with_another_of_its_name(site: Site) -> None:
    visitor = site.tokens.known("me")
    assert isinstance(visitor, Visitor)
    cookie = site.sessions.begin(visitor)
    assert site.sessions.find(cookie) == visitor
    site.tokens.remove("me")
    site.tokens.add("me", "admin", actor="x")
    assert site.sessions.find(cookie) is None


def test_strangers_send_no_more_than_a_token(site: Site) -> None:
    status, _ = site.ask("POST", "/login", b"a=b&" * 10_000, known=False)
    assert status == 413
    status, _ = site.ask("POST", "/login", f"token={site.token}".encode(), known=False)
    assert status == 303


def test_strangers_are_not_told_of_files(site: Site) -> None:
    Path(site.served.home.web, "access.json").write_text("{broken")
    for method, path in (("POST", "/login"), ("GET", "/login/x")):
        status, body = site.ask(method, path, b"token=x" if method == "POST" else b"", known=False)
        assert (status, site.place.encode() in body) == (500, False)


def test_tokens_stay_as_they_were_where_there_is_no_space(tmp_path: Path) -> None:
    host = FaultyHost()
    tokens = access.Tokens(Home(str(tmp_path)), host)
    made, link = tokens.add("a", "viewer", actor="x"), tokens.link("", 600_000)
    kept = Path(tmp_path, "web", "access.json").read_bytes()
    changes: list[Callable[[], Any]] = [
        lambda: tokens.add("b", "admin", actor="x"),
        lambda: tokens.remove("a"),
        lambda: tokens.link("a", 600_000),
        lambda: tokens.take(link),
        lambda: tokens.serve_at("http://elsewhere"),
    ]
    for change in changes:
        for call in ("create", "write", "fsync", "rename"):
            host.fail(call, OSError(ENOSPC, "No space left on device"))
            with pytest.raises(NoSpace, match=r"access.json: nothing was changed"):
                change()
            assert Path(tmp_path, "web", "access.json").read_bytes() == kept
    assert tokens.find(made) and tokens.take(link), "once there is some again"


@pytest.mark.parametrize(
    "path",
    (
        "/?at=" + "9" * 5000,
        "/api/v1/status?at=" + "9" * 5000,
        "/jobs/a?run=" + "9" * 5000,
        "/jobs/a/output/" + "9" * 5000 + "/out",
    ),
)
def test_endless_numbers_are_no_defect(site: Site, path: str) -> None:
    with Queue(site.place) as queue:
        queue.enqueue("true", id="a")
    assert site.ask("GET", path)[0] < 500


def test_two_servers_of_one_queue_take_a_key_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"content_type": "application/json", "idempotency_key": "k"}
    body = b'{"command": "true"}'
    another = Served(site.place)
    rules = Rules(frozenset({"localhost"}), site.tokens, site.sessions)
    first = create_app(another, live.Live(another.open_view), rules)
    enqueue_all, here, found = Queue.enqueue_all, site.app, []

    def late(queue: Queue, *given: Any, **named: Any) -> Any:
        monkeypatch.setattr(Queue, "enqueue_all", enqueue_all)
        site.app = first
        try:
            found.append(site.ask("POST", "/api/v1/jobs", body, **headers))
        finally:
            site.app = here
        return enqueue_all(queue, *given, **named)

    monkeypatch.setattr(Queue, "enqueue_all", late)
    answers = [site.ask("POST", "/api/v1/jobs", body, **headers), *found]
    another.close()
    assert answers[0] == answers[1]
    assert answers[0][0] == 201


def test_the_ids_of_keys_are_for_keys_alone(site: Site) -> None:
    json = {"content_type": "application/json"}
    form = {"content_type": "application/x-www-form-urlencoded"}
    body = b'{"command": "true mine"}'
    _, told = site.ask("POST", "/api/v1/jobs", body, idempotency_key="k", **json)
    (theirs,) = loads(told)["ids"]
    stolen = theirs.rpartition(".")[0] + ".0"
    for sent in ({"id": stolen, "command": "x"}, [{"command": "y"}, {"id": stolen}]):
        status, said = site.ask("POST", "/api/v1/jobs", dumps(sent).encode(), **json)
        assert (status, b"are made of Idempotency-Keys" in said) == (400, True)
    assert site.ask("POST", "/jobs", f"command=x&id={stolen}".encode(), **form)[0] == 400
    # Behind where it begins, the word is as good as any other.
    assert site.ask("POST", "/api/v1/jobs", b'{"id": "a.key.", "command": "x"}', **json)[0] == 201


@pytest.mark.parametrize(
    ("query", "named"),
    [("from=yesterday", "from"), ("from=1&to=soon", "to"), ("from=99", "from"), ("at=x", "at")],
)
def test_a_moment_that_is_none_is_told_by_its_own_name(site: Site, query: str, named: str) -> None:
    with Queue(site.place) as queue:
        queue.enqueue("true")
    status, page = site.ask("GET", f"/diff?{query}")
    (said,) = findall(rb'role="alert">([^<]*)<', page)
    assert (status, said.partition(b":")[0].decode()) == (400, named)


def test_the_difference_from_before_the_first_event_is_all_that_happened(site: Site) -> None:
    with Queue(site.place) as queue:
        queue.enqueue("true")
    for start in ("0", "2000-01-01T00:00:00Z"):
        status, page = site.ask("GET", f"/diff?from={start}")
        assert (status, b"From before the first event, " in page, b": 1 event " in page) == (
            *(200, True, True),
        )
        assert site.ask("GET", f"/?at={start}")[0] == 400


def test_the_latest_events_are_not_crowded_out_by_a_long_run(site: Site) -> None:
    with Queue(site.place) as queue:
        queue.enqueue("sleep 1h", id="long")
        queue.turn([], worker="w", slots=[1])
        for _ in range(20):
            queue.turn([], worker="w", slots=[], renew=True)
        assert queue.known.offset > 20
    page = site.ask("GET", "/")[1]
    assert b"job.enqueued" in page and b"lease.renewed" not in page


def test_a_long_command_of_which_the_end_is_gone_says_so(site: Site) -> None:
    with Queue(site.place) as queue:
        for id in ("here", "purged"):
            queue.enqueue(f"echo {id} {'x' * 60_000} end", id=id)
            queue.cancel(id)
        queue.prune("purged")
    paths = ("/jobs/here", "/jobs/purged")
    for path in paths:
        page = site.ask("GET", path)[1]
        assert b"x end" in page and b"Only the beginning" not in page
    for part in Path(site.served.home.payloads).glob("[0-9a-f]*"):
        part.unlink()
    for path in paths:
        page = site.ask("GET", path)[1]
        assert "x…</pre>".encode() in page and b"x end" not in page
        assert b"Only the beginning of it is here" in page and b"is gone" in page

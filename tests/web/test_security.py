"""Who is let in, and to what: a test for each line of the list in docs/web.md, on real sockets."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from hosts import SteadyHost
from programs import Shell
from serving import Web, reads_nothing, token, web_files
from workers import eventually

from queuectl.home import Home
from queuectl.web import access
from queuectl.web.access import ROLES, Tokens, Visitor
from queuectl.web.api.openapi import OPERATIONS
from queuectl.web.api.operation import PREFIX, Operation
from queuectl.web.serving import bind

OPEN = ("/healthz", "/readyz", "/login")
UNKNOWN = "this token is not known: queuectl web token add makes one"
FOREIGN_PAGE = "this was asked for by a page of another site: go on from a page of this one"


def path_of(operation: Operation) -> str:
    parts = {"{id}": "good", "{name:path}": "mail", "{key}": "timeout"}
    path = PREFIX + operation.path
    for part, value in parts.items():
        path = path.replace(part, value)
    return path


# ---- who is there at all


def test_it_listens_on_this_machine_alone_unless_told_otherwise(shared: Web) -> None:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A"}
    places = {
        place.partition(":")[0] for place in listening if place.endswith(f"{shared.port:04X}")
    }
    assert places == {"0100007F"}, "127.0.0.1"


def test_other_machines_are_not_let_in_without_a_token(shell: Shell) -> None:
    answer = shell("web", "serve", "--host", "0.0.0.0", "--port", "0", "--no-token")
    assert answer.code == 2
    assert "--no-token" in answer.err
    assert not shell.data.exists()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_nobody_is_answered_without_a_token(shared: Web, operation: Operation) -> None:
    reply = shared.ask(operation.method, path_of(operation), token="")
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/metrics", "/", "/api/v1/openapi.json", "/api/v1/nothing"])
def test_nothing_else_is_open_either(shared: Web, path: str) -> None:
    assert shared.ask("GET", path, token="").status == 401
    told = shared.ask("GET", path, token="", Accept="text/html").headers
    assert told.get("location") == "/login"


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_tells_nothing_of_the_queue(shared: Web, path: str) -> None:
    reply = shared.ask("GET", path, token="")
    assert reply.status == 200
    assert b"good" not in reply.body and str(shared.shell.data).encode() not in reply.body


@pytest.mark.parametrize(
    "given",
    ["Bearer wrong", "Bearer ", "Bearer", "Basic Ym9zczpib3Nz", "", "Bearer " + "x" * 5000],
)
def test_wrong_tokens_are_refused_even_where_none_is_needed(shared: Web, given: str) -> None:
    for path in ("/api/v1/status", "/healthz"):
        reply = shared.ask("GET", path, token="", Authorization=given)
        assert (reply.status, reply.detail) == (401, UNKNOWN)


# ---- what they may do


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_is_for_it_and_no_more(shared: Web, role: str) -> None:
    try:
        made = token(shared.shell, f"a-{role}", role)
        for operation in OPERATIONS:
            # What does not fit is found after it was looked whether they may.
            reply = shared.ask(
                operation.method, path_of(operation) + "?nonsense=1", token=made, raw=b"{"
            )
            allowed = ROLES.index(role) >= ROLES.index(operation.role)
            assert reply.status == (400 if allowed else 403), (operation.path, reply)
    finally:
        shared.shell.ok("web", "token", "remove", f"a-{role}")


def test_only_what_is_safe_is_for_a_viewer() -> None:
    for operation in OPERATIONS:
        assert (operation.method == "GET") == (operation.role == "viewer"), operation.path


def test_read_only_is_read_only_for_everybody(shell: Shell) -> None:
    web = Web(shell, "--read-only")
    web.token = token(shell, "boss", "admin")
    shell.add("--id", "a", "true")
    before = shell.ok("log", "tail", "-n", "0").out
    for operation in OPERATIONS:
        if operation.method != "GET":
            path = path_of(operation).replace("good", "a")
            reply = web.ask(operation.method, path, {})
            assert reply.status == 403
            # No token would help, so it speaks of none.
            assert "--read-only" in reply.detail and "token" not in reply.detail
    assert web.get("/jobs/a")["state"] == "pending"
    assert shell.ok("log", "tail", "-n", "0").out == before


def test_events_name_whoever_asked(web: Web) -> None:
    made = token(web.shell, "ada", "operator")
    web.post("/jobs", {"id": "a", "command": "true"}, token=made)
    web.post("/jobs/a/cancel", {"reason": "no need"}, token=made)
    events = web.shell.history("a")
    assert [event["actor"] for event in events] == ["ada@web", "ada@web"]
    assert events[1]["reason"] == "no need"


# ---- secrets


def test_tokens_are_kept_nowhere(web: Web) -> None:
    cookie = web.sign_in().partition("=")[2]
    link = web.link.rpartition("/")[2]
    for path in (path for path in web.shell.data.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for secret in (web.token, cookie, link):
            assert secret.encode() not in data, path
    assert len(web.token) == 43, "256 bits"
    for path in web_files(web.shell):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((web.shell.data / "web").stat().st_mode) == 0o700


def test_every_token_is_compared_in_constant_time(
    tmp_path: Path, host: SteadyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(str(tmp_path))
    tokens = Tokens(home, host)
    made = [tokens.add(f"t{n}", "viewer", actor="me") for n in range(5)]
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(access, "compare_digest", compare)
    for secret in (made[0], made[4], "wrong"):
        compared.clear()
        tokens.find(secret)
        assert len(compared) == 5
    assert access.compare_digest is compare


def test_what_jobs_are_given_secretly_is_not_shown(shared: Web) -> None:
    for path in ("/jobs/good", "/jobs", "/jobs/good/history", "/events?after=0", "/jobs/good?at=3"):
        shown = json.dumps(shared.get(path))
        assert "SECRET" in shown and "hidden" not in shown
    with_stream = shared.stream("/api/v1/events?after=0", Accept="text/event-stream")
    event = next(one for one in with_stream.events() if one.get("job") == "good")
    assert event["env"] == ["SECRET"]
    with_stream.close()


# ---- browsers


def test_a_link_lets_in_one_browser_once(web: Web) -> None:
    assert web.ask("HEAD", web.link, token="").status == 200, "looking does not use it up"
    cookie = web.sign_in()
    assert web.ask("GET", "/api/v1/status", token="", Cookie=cookie).status == 200
    again = web.ask("GET", web.link, token="")
    assert again.status == 403
    assert "set-cookie" not in again.headers
    assert web.ask("GET", "/login/" + "x" * 43, token="").status == 403


def test_a_link_is_worth_nothing_once_its_time_is_over(tmp_path: Path, host: SteadyHost) -> None:
    tokens = Tokens(Home(str(tmp_path)), host)
    first, second = tokens.link("", 600_000), tokens.link("", 600_000)
    host.advance(599)
    assert tokens.take(first) == Visitor("", "admin")
    host.advance(1)
    assert tokens.take(second) is None


def test_a_session_ends(tmp_path: Path, host: SteadyHost) -> None:
    tokens = Tokens(Home(str(tmp_path)), host)
    sessions = access.Sessions(tokens, host)
    made = sessions.begin(Visitor("", "admin"))
    host.advance(12 * 3600 - 1)
    assert sessions.find(made) is not None
    host.advance(1)
    assert sessions.find(made) is None


def test_whose_token_is_removed_is_out_at_once(web: Web) -> None:
    made = token(web.shell, "ada", "viewer")
    link = web.shell.ok("web", "link", "ada").out.strip().partition(str(web.port))[2]
    cookie = web.sign_in(link)
    assert web.ask("GET", "/api/v1/status", token="", Cookie=cookie).status == 200
    web.shell.ok("web", "token", "remove", "ada")
    assert web.ask("GET", "/api/v1/status", token="", Cookie=cookie).status == 401
    assert web.ask("GET", "/api/v1/status", token=made).status == 401


def test_scripts_and_other_sites_do_not_get_the_cookie(web: Web) -> None:
    told = web.ask("GET", web.link, token="").headers["set-cookie"].lower()
    assert "; httponly" in told and "; samesite=lax" in told
    assert told.startswith(f"queuectl-{web.port}="), "browsers send it to all ports"
    link = web.shell.ok("web", "link").out.strip().partition(str(web.port))[2]
    behind_tls = web.ask("GET", link, token="", X_Forwarded_Proto="https")
    assert "; secure" in behind_tls.headers["set-cookie"].lower()


def test_leaving_ends_the_session(web: Web) -> None:
    cookie = web.sign_in()
    left = web.ask("POST", "/logout", token="", Cookie=cookie, Origin=f"http://{web.host}")
    assert left.status == 303
    assert web.ask("GET", "/api/v1/status", token="", Cookie=cookie).status == 401


def test_a_token_can_be_typed_in(web: Web) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"http://{web.host}"}
    no = web.ask("POST", "/login", token="", raw=b"token=wrong", **form)
    assert no.status == 403 and "set-cookie" not in no.headers
    yes = web.ask("POST", "/login", token="", raw=b"token=" + web.token.encode(), **form)
    cookie = yes.headers["set-cookie"].partition(";")[0]
    assert web.ask("GET", "/api/v1/status", token="", Cookie=cookie).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "",
        "[",
        "a@localhost.x",
    ],
)
def test_a_name_that_somebody_else_had_lead_here_is_refused(shared: Web, host: str) -> None:
    reply = shared.ask("GET", "/healthz", Host=host.format(port=shared.port))
    assert reply.status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1:1", "[::1]:{port}"])
def test_its_own_names_are_not(shared: Web, host: str) -> None:
    assert shared.ask("GET", "/healthz", Host=host.format(port=shared.port)).status == 200


def test_further_names_can_be_allowed(shell: Shell) -> None:
    web = Web(shell, "--allow-host", "Queue.example.org")
    assert web.ask("GET", "/healthz", Host="queue.example.org").status == 200
    assert web.ask("GET", "/healthz", Host="example.org").status == 421
    assert web.running.out.startswith("http://Queue.example.org:")


def test_the_link_leads_to_the_address_that_is_served(shell: Shell) -> None:
    assert Web(shell, "--host", "127.0.0.2").running.out.startswith("http://127.0.0.2:")


@pytest.mark.parametrize("names", [(), ("queue.example.org",)])
def test_at_every_address_this_machine_reaches_it_and_others_by_the_names_allowed(
    shell: Shell, names: tuple[str, ...]
) -> None:
    web = Web(shell, "--host", "0.0.0.0", *(f"--allow-host={name}" for name in names))
    assert web.running.out.startswith(f"http://{(*names, 'localhost')[0]}:")
    assert web.ask("GET", "/healthz", Host=f"localhost:{web.port}").status == 200
    assert web.ask("GET", "/healthz", Host="queue.example.org").status == (200 if names else 421)
    assert ("--allow-host" in web.running.err) == (not names)


FOREIGN: list[dict[str, str]] = [
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors"},
    {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
    {"Origin": "http://["},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_are_refused(web: Web, method: str, headers: dict[str, str]) -> None:
    cookie = web.sign_in()
    path = "/api/v1/status" if method == "GET" else "/api/v1/jobs"
    body = {"command": "true"} if method == "POST" else None
    for who in ({"token": "", "Cookie": cookie}, {"token": web.token}):
        reply = web.ask(method, path, body, **who, **headers)
        assert (reply.status, reply.detail) == (403, FOREIGN_PAGE)
    assert web.get("/status")["head"] == 0


def test_following_a_link_to_it_is_allowed_and_posting_is_not(web: Web) -> None:
    follow = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    follow["Sec_Fetch_Dest"] = "document"
    assert web.ask("GET", "/api/v1/status", **follow).status == 200
    assert web.ask("POST", "/api/v1/jobs", {"command": "true"}, **follow).status == 403


def test_a_cookie_alone_changes_nothing(web: Web) -> None:
    cookie = web.sign_in()
    job = {"command": "true"}
    assert web.ask("POST", "/api/v1/jobs", job, token="", Cookie=cookie).status == 401
    for says in ({"Origin": f"http://{web.host}"}, {"Sec_Fetch_Site": "same-origin"}):
        assert web.ask("POST", "/api/v1/jobs", job, token="", Cookie=cookie, **says).status == 201


def test_no_other_site_may_read_anything(shared: Web) -> None:
    asked = shared.ask("OPTIONS", "/api/v1/jobs", Access_Control_Request_Method="POST")
    assert asked.status in (403, 405)
    for reply in (asked, shared.ask("GET", "/api/v1/status", Origin=f"http://{shared.host}")):
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/healthz", "/login", "/api/v1/status", "/api/v1/jobs/bad/output", "/nothing"]
)
def test_every_answer_forbids_browsers_what_it_does_not_need(shared: Web, path: str) -> None:
    headers = shared.ask("GET", path).headers
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_what_a_job_printed_is_text_and_never_a_page(shared: Web) -> None:
    reply = shared.ask("GET", "/api/v1/jobs/bad/output?stream=stderr")
    assert reply.body == b"<b>no</b>\n"
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"


# ---- what is sent


def test_bodies_are_bounded(shared: Web) -> None:
    def post(head: bytes, body: bytes) -> bytes:
        start = f"POST /api/v1/jobs HTTP/1.1\r\nHost: {shared.host}\r\nConnection: close\r\n"
        start += f"Content-Type: application/json\r\nAuthorization: Bearer {shared.token}\r\n"
        return shared.raw(start.encode() + head + b"\r\n\r\n" + body)

    # By what it says of itself, before anything of it is read …
    assert b" 413 " in post(b"Content-Length: 99999999999", b"").splitlines()[0]
    # … and by what it turns out to be.
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    connection = socket.create_connection(("127.0.0.1", shared.port))
    start = f"POST /api/v1/jobs HTTP/1.1\r\nHost: {shared.host}\r\nTransfer-Encoding: chunked\r\n"
    start += f"Content-Type: application/json\r\nAuthorization: Bearer {shared.token}\r\n\r\n"
    connection.sendall(start.encode())
    try:
        for _ in range(17):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
    except ConnectionError:
        pass
    assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    connection.close()


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("", b"X-Much: " + b"x" * 20_000),
        ("", b"X-Much: " + b"x" * 1_000_000),
        ("", b"X: y\r\n" * 10_000 + b"Z: z"),
        ("x" * 20_000, b"X: y"),
        ("?x=" + "x" * 20_000, b"X: y"),
    ],
    ids=["long", "very long", "many", "path", "query"],
)
def test_heads_are_bounded(shared: Web, target: str, headers: bytes) -> None:
    request = f"GET /{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    try:
        answer = shared.raw(request + headers + b"\r\n\r\n")
    except ConnectionError:  # it hung up while there was more to come
        answer = b""
    assert not answer or answer.split()[1] in (b"400", b"414", b"431")
    assert shared.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/api/v1/jobs/..%2f..%2flog/output",
        "/api/v1/jobs/%00/output",
        "/api/v1/jobs/good%2f..%2fbad/output",
        "/api/v1/../../healthz/x",
        "/api/v1/jobs/good/output?token=1&token=2",
    ],
)
def test_tricks_with_paths_lead_nowhere(shared: Web, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    request += f"Authorization: Bearer {shared.token}\r\n\r\n"
    answer = shared.raw(request.encode())
    assert answer.split()[1] in (b"404", b"400"), answer
    assert b"root:" not in answer


def test_nothing_that_is_sent_becomes_a_header(shared: Web) -> None:
    smuggled = "%0d%0aSet-Cookie:%20a=b"
    for path in (f"/api/v1/jobs/x{smuggled}", f"/login/x{smuggled}", f"/x{smuggled}"):
        headers = shared.ask("GET", path, token=shared.token).headers
        assert "set-cookie" not in headers
    reply = shared.ask("POST", "/api/v1/jobs", {"id": "a\r\nSet-Cookie: a=b", "command": "true"})
    assert reply.status == 400
    for header in (b"Idempotency-Key: a\r\nb: c", b"Last-Event-ID: 1\rX: y", b"X: a\0b"):
        start = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        assert b"set-cookie" not in shared.raw(start + header + b"\r\n\r\n").lower()


def test_two_hosts_are_none(shared: Web) -> None:
    answer = shared.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


# ---- those who keep others waiting


def test_who_never_comes_to_the_point_is_given_up(shell: Shell) -> None:
    web = Web(shell, code="import queuectl.web.serving as s; s._HEAD_S = 0.2")
    for beginning in (b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "):
        assert web.raw(beginning) == b""
    assert web.ask("GET", "/healthz").status == 200


def test_who_does_not_send_what_they_said_is_given_up(shell: Shell) -> None:
    web = Web(shell, code="import queuectl.web.guard as g; g.RECEIVE_S = 0.2")
    made = token(shell, "boss", "admin")
    request = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {made}\r\n"
    request += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    assert web.raw(request.encode()).startswith(b"HTTP/1.1 408 ")
    assert shell.ok("status", "--json").json["head"] == 0
    stranger = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken="
    assert web.raw(stranger.encode()).startswith(b"HTTP/1.1 408 ")
    for begun in (request, stranger):
        with socket.create_connection(("127.0.0.1", web.port)) as plug:
            plug.sendall(begun.encode())
    assert web.stop() == 0
    assert web.running.err.count("\n") == 1, "nothing but where it serves"


def test_who_never_reads_is_given_up_and_holds_nobody_up(shell: Shell) -> None:
    jobs = "\n".join(json.dumps({"command": f"true {'x' * 1000} {n}"}) for n in range(20_000))
    shell.ok("-q", "enqueue", "-", stdin=jobs.encode())
    web = Web(shell, code="import queuectl.web.guard as g; g.SEND_S = 4.0")
    web.token = token(shell, "boss", "admin")
    status = Path(f"/proc/{web.running.process.pid}/status")

    def most_mb() -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024

    web.get("/status")
    before = most_mb()
    plugs = [reads_nothing(web) for _ in range(20)]

    def is_watched() -> bool:
        return b"queuectl_web_viewers 0.0" not in web.ask("GET", "/metrics").body

    eventually(is_watched)
    shell.ok("-q", "enqueue", "-", stdin=jobs.encode())
    eventually(lambda: not is_watched())
    assert most_mb() - before < 150, "each of them has asked for some 50 MB"
    assert web.running.err.count("\n") == 1, "nothing but where it serves"
    for plug in plugs:
        plug.close()


def test_the_system_cuts_off_who_reads_nothing(shared: Web) -> None:
    # What is left to be sent is its to give up: connections have that from the socket that listens.
    bound = bind("127.0.0.1", 0)
    plug = socket.create_connection(bound.getsockname())
    taken, _ = bound.accept()
    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    for one in (plug, taken, bound):
        one.close()


def test_too_many_at_once_are_turned_away(shell: Shell) -> None:
    web = Web(shell, code="import queuectl.web.serving as s; s._CONNECTIONS_MAX = 5")
    plugs = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(6)]
    eventually(lambda: web.ask("GET", "/healthz").status == 503)
    for plug in plugs:
        plug.close()
    eventually(lambda: web.ask("GET", "/healthz").status == 200)


def test_what_was_redacted_is_nowhere_any_more(web: Web) -> None:
    web.post("/jobs", {"id": "a", "command": "curl -H s3cr3t", "delay": "1h"})
    web.post("/jobs/a/cancel")
    paths = ("/jobs/a", "/jobs/a?at=1", "/jobs?at=1", "/jobs/a/history", "/events?after=0")
    for path in paths:
        assert "s3cr3t" in json.dumps(web.get(path)), path
    web.shell.ok("log", "redact", "a", "--field", "command", "-y")
    for path in paths:
        assert "s3cr3t" not in json.dumps(web.get(path)), path
    # What streams is followed by a thread of its own, which hears of it a moment later.
    eventually(lambda: "s3cr3t" not in json.dumps(_streamed(web)))


def _streamed(web: Web) -> list[Any]:
    stream = web.stream("/api/v1/events?after=0", Accept="text/event-stream")
    told = [next(stream.events()) for _ in range(3)]
    stream.close()
    return told

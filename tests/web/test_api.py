"""The API as programs use it, on a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from programs import Shell
from prometheus_client.parser import text_string_to_metric_families
from serving import Reply, Web, token
from workers import eventually

# ---- enqueueing


def test_a_job_goes_all_the_way(web: Web) -> None:
    reply = web.ask("POST", "/api/v1/jobs", {"id": "a", "command": "echo hello", "tags": ["x"]})
    assert (reply.status, reply.json) == (201, {"ids": ["a"]})
    assert reply.headers["location"] == "/api/v1/jobs/a"
    job = web.get("/jobs/a")
    assert (job["state"], job["actor"], job["tags"]) == ("pending", "boss@web", ["x"])
    web.shell.drain()
    job = web.get("/jobs/a")
    assert (job["state"], [run["outcome"] for run in job["attempts_made"]]) == (
        "completed",
        ["completed"],
    )
    assert web.ask("GET", "/api/v1/jobs/a/output").body == b"hello\n"


def test_many_jobs_are_accepted_or_none(web: Web) -> None:
    ids = web.post("/jobs", [{"command": f"true {n}"} for n in range(300)])["ids"]
    assert len(set(ids)) == 300
    reply = web.ask("POST", "/api/v1/jobs", [{"command": "true"}, {"command": ""}])
    assert (reply.status, reply.detail[:7]) == (400, "job 2: ")
    assert web.get("/status")["jobs"]["pending"] == 300


def test_the_same_key_is_answered_the_same_and_nothing_is_enqueued(web: Web) -> None:
    jobs = [{"command": "true 1"}, {"command": "true 2"}]
    first = web.ask("POST", "/api/v1/jobs", jobs, Idempotency_Key="k1")
    assert web.stop() == 0
    again = Web(web.shell)
    again.token = web.token
    second = again.ask("POST", "/api/v1/jobs", jobs, Idempotency_Key="k1")
    assert (first.status, first.body) == (second.status, second.body)
    assert again.get("/status")["jobs"]["pending"] == 2
    other = again.ask("POST", "/api/v1/jobs", {"command": "true 3"}, Idempotency_Key="k1")
    assert (other.status, "was used for something else" in other.detail) == (409, True)
    # Another one's key is another key.
    made = token(web.shell, "ada", "submitter")
    web_ids = again.post("/jobs", jobs, token=made, Idempotency_Key="k1")["ids"]
    assert not set(web_ids) & set(first.json["ids"])


def test_an_id_can_be_used_once(web: Web) -> None:
    job = {"id": "a", "command": "true"}
    assert web.ask("POST", "/api/v1/jobs", job).status == 201
    assert web.ask("POST", "/api/v1/jobs", job).status == 409
    assert web.ask("POST", "/api/v1/jobs", job, Idempotency_Key="k").status == 400


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (b"", "send application/json"),
        (b"{", "invalid JSON"),
        (b'{"command": "true", "command": "false"}', "stands there twice"),
        (b'{"command": "true", "priority": NaN}', "is no JSON number"),
        (b'{"command": "true", "priority": 1e999}', "priority"),
        (b'{"command": "\xff"}', "not valid UTF-8"),
        (b'{"command": "\\ud800"}', "half a character"),
        (b'{"command": "a\\u0000b"}', "NUL"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "holds no job"),
        (b"null", "a job is a JSON object"),
        (b'{"commnad": "true"}', "did you mean 'command'?"),
        (b'{"command": "true", "state": "completed"}', "unknown field"),
        (b'{"command": 7}', "command"),
        (b'{"id": "../x", "command": "true"}', "id: "),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    shared: Web, raw: bytes, wrong: str
) -> None:
    head = shared.get("/status")["head"]
    media = "application/json" if raw else "text/plain"
    reply = shared.ask("POST", "/api/v1/jobs", raw=raw, Content_Type=media)
    assert reply.status in (400, 415), reply
    assert wrong in reply.detail
    assert shared.get("/status")["head"] == head


def test_only_json_is_understood(shared: Web) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        reply = shared.ask("POST", "/api/v1/jobs", raw=b'{"command":"x"}', Content_Type=media)
        assert reply.status == 415, "what a form of another site could send"


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/jobs?stat=dead", "did you mean 'state'?"),
        ("/jobs?state=deed", "Invalid enum value"),
        ("/jobs?limit=0", "limit: "),
        ("/jobs?limit=x", "limit: "),
        ("/jobs?limit=1&limit=2", "limit: it is given 2 times"),
        ("/jobs?cursor=abc", "cursor: "),
        ("/jobs?since=yesterday", "since: "),
        ("/jobs?at=never", "at: "),
        ("/jobs?at=99999", "has not happened yet"),
        ("/jobs/good/why?x=1", "there is no parameter 'x' here: it takes at"),
        ("/events?type=job.deed", "did you mean 'job.dead'?"),
        ("/jobs/good/output?attempt=1&token=3", "give one of them"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(shared: Web, path: str, wrong: str) -> None:
    reply = shared.ask("GET", f"/api/v1{path}")
    assert (reply.status, wrong in reply.detail) == (400, True), reply


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/jobs/none", 404),
        ("GET", "/api/v1/jobs/none/history", 404),
        ("GET", "/api/v1/jobs/none/why", 404),
        ("GET", "/api/v1/jobs/later/output", 404),
        ("GET", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/jobs/good", 405),
        ("POST", "/api/v1/jobs/good/cancel", 409),
        ("POST", "/api/v1/jobs/good/requeue", 409),
        ("PUT", "/api/v1/settings/max-retries", 400),
    ],
)
def test_errors_are_problems(shared: Web, method: str, path: str, status: int) -> None:
    reply = shared.ask(method, path, {} if method != "GET" else None)
    assert reply.status == status
    assert reply.json["status"] == status
    assert reply.json["title"] and reply.detail


# ---- seeing


def ids_of(reply: Any) -> list[str]:
    return [job["id"] for job in reply["jobs"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["gone", "later", "bad", "good"]),
        ("state=dead&state=completed", ["bad", "good"]),
        ("queue=mail", ["bad"]),
        ("tag=a", ["later", "good"]),
        ("tag=a&tag=b", ["later"]),
        ("command=EXIT", ["bad"]),
        ("command=goo", ["good"]),
        ("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z", []),
        ("until=2999-01-01T00:00:00Z&limit=1", ["gone"]),
    ],
)
def test_a_list_has_what_was_asked_for(shared: Web, query: str, expected: list[str]) -> None:
    assert ids_of(shared.get(f"/jobs?{query}")) == expected


def test_jobs_are_found_by_the_kind_of_their_failure(shared: Web) -> None:
    (group,) = shared.shell.ok("errors", "--json").json["groups"]
    assert ids_of(shared.get(f"/jobs?error={group['id'][:6]}")) == ["bad"]
    assert ids_of(shared.get("/jobs?error=zzz")) == []


def test_pages_together_have_every_job_once(web: Web) -> None:
    ids = [f"job{n}" for n in range(25)]
    web.post("/jobs", [{"id": id, "command": "true"} for id in ids])
    seen: list[str] = []
    query = "limit=7"
    while True:
        page = web.get(f"/jobs?{query}")
        seen += ids_of(page)
        # What is enqueued meanwhile is newer, and disturbs nothing.
        web.post("/jobs", {"command": "true"})
        if page["next"] is None:
            break
        query = f"limit=7&cursor={page['next']}"
    assert seen == ids[::-1]


def test_the_past_is_shown_as_it_was(shared: Web) -> None:
    enqueued = shared.get("/jobs/bad/history")["events"][0]
    assert shared.get(f"/jobs/bad?at={enqueued['offset']}")["state"] == "pending"
    assert shared.get(f"/jobs/bad?at={enqueued['at']}")["state"] == "pending"
    assert ids_of(shared.get(f"/jobs?at={enqueued['offset']}")) == ["bad", "good"]
    status = shared.get(f"/status?at={enqueued['offset']}")
    assert status["jobs"]["pending"] == 2 and status["head"] == enqueued["offset"]
    queues = {row["queue"]: row["pending"] for row in shared.get("/queues?at=3")}
    assert queues == {"default": 1, "mail": 1}
    why = shared.get(f"/jobs/bad/why?at={enqueued['offset']}")
    assert why["state"] == "pending"
    for path in ("/workers", "/settings", "/stats"):
        shared.get(f"{path}?at=1")


def test_it_says_the_same_as_the_command_line(shared: Web) -> None:
    shell = shared.shell
    shared.get("/status")
    assert shared.get("/jobs/bad") == shell.ok("show", "bad", "--json").json
    assert shared.get("/jobs/bad/history")["events"] == shell.history("bad")
    assert shared.get("/queues") == shell.ok("queue", "list", "--json").json
    assert shared.get("/settings") == shell.ok("config", "list", "--json").json
    assert shared.get("/settings/history")[0]["key"] == "max-retries"
    shown, told = shared.get("/jobs/bad/why"), shell.ok("why", "bad", "--json").json
    assert shown["causes"] == told["causes"]


def test_a_purged_job_has_its_history(web: Web) -> None:
    web.post("/jobs", {"id": "a", "command": "false", "max_retries": 1})
    web.shell.drain()
    assert web.post("/jobs/a/purge", {"reason": "tidy"}) == {"id": "a"}
    assert web.ask("GET", "/api/v1/jobs/a").status == 404
    assert web.get("/jobs/a/history")["events"][-1]["type"] == "job.pruned"
    assert web.get("/jobs/a/why")["state"] == "purged"


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/11"),
        ("bytes=8-", 206, b"89\n", "bytes 8-10/11"),
        ("bytes=-3", 206, b"89\n", "bytes 8-10/11"),
        ("bytes=5-999", 206, b"56789\n", "bytes 5-10/11"),
        ("bytes=11-", 416, None, "bytes */11"),
        ("bytes=0-1,3-4", 400, None, None),
        ("lines=1-2", 400, None, None),
    ],
)
def test_parts_of_what_was_printed(
    shared: Web, asked: str, status: int, body: bytes | None, told: str | None
) -> None:
    reply = shared.ask("GET", "/api/v1/jobs/good/output", Range=asked)
    assert reply.status == status
    assert body is None or reply.body == body
    assert reply.headers.get("content-range") == told


def test_output_is_followed_while_it_is_printed(web: Web) -> None:
    go = web.shell.directory / "go"
    web.post("/jobs", {"id": "a", "command": f"echo one; until [ -e {go} ]; do :; done; echo two"})
    web.shell.worker()
    path = "/api/v1/jobs/a/output"
    eventually(lambda: web.ask("GET", path).body == b"one\n")
    assert web.ask("GET", path).headers["queuectl-state"] == "running"
    assert web.ask("GET", path, Range="bytes=4-").status == 416
    go.touch()

    def rest() -> Reply | None:
        reply = web.ask("GET", path, Range="bytes=4-")
        return reply if reply.status == 206 else None

    assert eventually(rest).body == b"two\n"
    eventually(lambda: web.ask("GET", path).headers["queuectl-state"] == "ended")


# ---- acting


def test_one_is_called_off_and_run_again(web: Web) -> None:
    web.post("/jobs", {"id": "a", "command": "false", "max_retries": 1, "delay": "1h"})
    assert web.post("/jobs/a/cancel", {"reason": "no"}) == {"id": "a"}
    assert web.get("/jobs/a")["state"] == "cancelled"
    web.post("/jobs/a/retry")
    web.shell.drain()
    assert web.get("/jobs/a")["state"] == "dead"
    web.post("/jobs/a/requeue", {"reason": "again"})
    assert web.get("/jobs/a/history")["events"][-1]["reason"] == "again"


def test_many_are_changed_as_they_were_counted(web: Web) -> None:
    dead = {"command": "false", "max_retries": 1}
    web.post("/jobs", [{**dead, "id": f"d{n}", "tags": ["x"]} for n in range(3)])
    web.shell.drain()
    would = web.post("/jobs/requeue", {"all": True, "dry_run": True})["would"]
    assert would == ["d0", "d1", "d2"]
    assert web.get("/status")["jobs"]["dead"] == 3
    fewer = web.ask("POST", "/api/v1/jobs/requeue", {"all": True, "expect": 2})
    assert (fewer.status, fewer.detail) == (409, "it is 3 jobs now, and not 2: look again")
    other = web.ask("POST", "/api/v1/jobs/requeue", {"ids": ["d0"], "expect": 2})
    assert other.detail == "it is 1 job now, and not 2: look again"
    done = web.post("/jobs/requeue", {"tags": ["x"], "expect": 3, "reason": "mended"})
    assert done == {"changed": would, "refused": [], "would": []}
    some = web.post("/jobs/cancel", {"ids": ["d0", "d1"]})
    assert some["changed"] == ["d0", "d1"]
    web.post("/jobs", {"id": "done", "command": "true", "priority": 9})
    web.shell.drain("--limit", "1")
    mixed = web.post("/jobs/cancel", {"ids": ["done", "d2"]})
    assert mixed["changed"] == ["d2"] and mixed["refused"][0]["id"] == "done"
    for nothing in ({}, {"reason": "x"}):
        assert web.ask("POST", "/api/v1/jobs/purge", nothing).status == 400
    assert web.ask("POST", "/api/v1/jobs/purge", {"all": True, "really": True}).status == 400


def test_queues_settings_and_workers(web: Web) -> None:
    assert web.post("/queues/a/b@c/pause", {"reason": "down"}) == {"queue": "a/b@c", "paused": True}
    assert web.get("/status")["paused_queues"] == ["a/b@c"]
    web.post("/queues/a/b@c/resume")
    assert web.get("/queues") == []
    reply = web.ask("PUT", "/api/v1/settings/max_retries", {"value": 5})
    assert reply.json["key"] == "max-retries" and reply.json["value"] == 5
    assert web.get("/settings")["max-retries"] == 5
    assert web.ask("PUT", "/api/v1/settings/max-retries", {"value": "x"}).status == 400
    assert web.ask("PUT", "/api/v1/settings/nonsense", {"value": 1}).status == 400
    worker = web.shell.worker()
    (row,) = eventually(lambda: web.get("/workers"))
    assert row["alive"] is True
    assert web.post("/workers/stop") == {"ids": [row["id"]]}
    assert worker.ended().code == 0
    assert web.get("/workers") == []


# ---- metrics


def test_prometheus_understands_the_metrics(shared: Web) -> None:
    reply = shared.ask("GET", "/metrics", Accept="text/plain;version=0.0.4")
    families = {one.name: one for one in text_string_to_metric_families(reply.body.decode())}
    jobs = {
        (sample.labels["queue"], sample.labels["state"]): sample.value
        for sample in families["queuectl_jobs"].samples
    }
    assert jobs["mail", "dead"] == 1 and jobs["default", "completed"] == 1
    assert families["queuectl_enqueued"].samples[0].value == 4
    buckets = [
        sample.value
        for sample in families["queuectl_run_seconds"].samples
        if sample.name.endswith("_bucket")
    ]
    assert buckets == sorted(buckets) and buckets[-1] == 2
    openmetrics = shared.ask("GET", "/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert openmetrics.body.endswith(b"# EOF\n")


# ---- the command


def test_a_port_in_use_is_said_in_one_line(shared: Web) -> None:
    answer = shared.shell.program("web", "--port", str(shared.port))
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err == (
        f"queuectl: 127.0.0.1:{shared.port} is in use by another program: choose another with"
        " --port\n"
    )


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7", "x" * 300])
def test_an_address_that_is_not_here_is_said_in_one_line(shell: Shell, host: str) -> None:
    answer = shell("web", "--host", host)
    assert answer.code == (1 if len(host) < 300 else 2)
    assert answer.err.count("\n") == 1 and "defect" not in answer.err


def test_tokens_are_listed_without_what_they_are(shell: Shell) -> None:
    shell.add("true")
    assert "there is no token" in shell.ok("web", "token").err
    made = token(shell, "ada", "viewer")
    listed = shell.ok("web", "token", "list")
    assert "ada" in listed.out and made not in listed.out
    (row,) = shell.ok("web", "token", "list", "--json").json
    assert (row["name"], row["role"]) == ("ada", "viewer")
    assert shell("web", "token", "add", "ada", "--role", "admin").code == 4
    assert shell("web", "token", "add", "a b", "--role", "admin").code == 2
    assert shell("web", "token", "add", "bob", "--role", "king").code == 2
    assert "did you mean 'ada'?" in shell("web", "token", "remove", "adda").err
    assert shell("web", "link").code == 3, "nothing was ever served"
    (shell.data / "web" / "access.json").write_text('{"tokens": 7}')
    broken = shell("web", "token")
    assert (broken.code, "cannot be understood" in broken.err) == (1, True)


def test_without_the_extra_it_says_how_to_get_it(shell: Shell) -> None:
    code = "sys.modules['uvicorn'] = None"
    answer = shell.start_changed(code, "web").ended()
    assert answer.code == 1
    assert answer.err == (
        "queuectl: this needs a web server, which is not installed: pip install jinja2"
        " prometheus-client starlette uvicorn, or install queuectl with its extra web\n"
    )


def test_what_is_served_can_be_checked_by_its_description(shared: Web) -> None:
    assert json.loads(shared.ask("GET", "/api/v1/openapi.json").body)["openapi"] == "3.1.0"

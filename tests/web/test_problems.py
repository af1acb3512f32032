"""What went wrong, as people in a browser and as programs are told."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from programs import Shell
from serving import Reply, Web, token

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


class Visitors:
    """Who asks: by the names that the cases below have for them."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.viewer = token(web.shell, "looker", "viewer")
        self.cookie = web.sign_in()

    def ask(self, case: dict[str, Any], accept: str) -> Reply:
        given = {"method": "GET", "path": "/", "token": "", **case}
        if given.pop("by", "") == "viewer":
            given["token"] = self.viewer
        elif given.pop("is_in", False):
            given["Cookie"] = self.cookie
        own = {"Origin": f"http://{self.web.host}", **FORM}
        given |= own if given.pop("sends", False) else {}
        return self.web.ask(given.pop("method"), given.pop("path"), Accept=accept, **given)


@pytest.fixture(scope="module")
def visitors(shared: Web) -> Visitors:
    return Visitors(shared)


CASES: dict[str, tuple[int, str, dict[str, Any]]] = {
    "a name of somebody else": (421, "--allow-host", {"Host": "evil<b>.example"}),
    "a page of another site": (403, "another site", {"Origin": "https://evil.example"}),
    "no token": (401, "link that queuectl web prints", {"method": "POST", "path": "/jobs"}),
    "a wrong token": (401, "is not known", {"token": "wrong"}),
    "an old cookie": (401, "say who you are", {"method": "POST", "path": "/jobs", "sends": True}),
    "a role that may not": (
        403,
        "you are viewer, and may only look",
        {"method": "POST", "path": "/jobs", "by": "viewer", "sends": True},
    ),
    "too long a URL": (414, "too long", {"path": "/?q=" + "x" * 9000}),
    "too long a head": (431, "cookies", {"path": "/", "X_Much": "x" * 17_000}),
    "too much sent": (
        413,
        "16777216 bytes",
        {
            "method": "POST",
            "path": "/jobs",
            "is_in": True,
            "sends": True,
            "Content_Length": "9" * 9,
        },
    ),
    "nothing there": (404, "nothing at this address", {"path": "/nothing", "is_in": True}),
    "a method for nothing": (
        405,
        "does not take that method",
        {"method": "DELETE", "path": "/jobs", "is_in": True, "sends": True},
    ),
    "no token that long": (
        413,
        "too long for a token",
        {"method": "POST", "path": "/login", "raw": b"x" * 5000, "sends": True},
    ),
    "nobody to leave": (401, "not signed in", {"method": "POST", "path": "/logout"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_browser_gets_a_page_and_a_program_a_document(visitors: Visitors, name: str) -> None:
    status, said, case = CASES[name]
    page, document = visitors.ask(case, HTML), visitors.ask(case, "*/*")
    assert (page.status, document.status) == (status, status)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    told = re.findall(rb'<p class="banner bad" role="alert">(.*)</p>', page.body)
    assert said in unescape(told[0].decode())
    assert document.detail == unescape(told[0].decode().partition("</p>")[0])
    # Nothing but the form differs, and a stranger is told of nothing else.
    length = {"content-length": "", "content-type": "", "date": ""}
    assert {**page.headers, **length} == {**document.headers, **length}
    assert b"<b>" not in page.body
    assert str(visitors.web.shell.data).encode() not in page.body


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/jobs/nothing", "/api/nothing"])
def test_the_api_is_for_programs_even_in_a_browser(visitors: Visitors, path: str) -> None:
    reply = visitors.ask({"path": path, "is_in": True}, HTML)
    assert reply.status == 404 and reply.detail


def test_the_page_has_its_style_under_a_foreign_name_too(shared: Web) -> None:
    refused = shared.ask("GET", "/", Host="evil.example", Accept=HTML, token="")
    (sheet,) = re.findall(rb'<link rel="stylesheet" href="([^"]+)">', refused.body)
    style = shared.ask("GET", sheet.decode(), Host="evil.example", token="")
    assert style.status == 200
    assert style.headers["content-type"].startswith("text/css")


def test_what_is_too_much_is_refused_as_all_else_is(shared: Web) -> None:
    reply = shared.ask("POST", "/api/v1/jobs", raw=b"{}", Content_Length="99999999999")
    assert reply.status == 413
    assert "16777216 bytes is the limit" in reply.detail


def test_tokens_that_cannot_be_read_are_no_defect(shell: Shell) -> None:
    web = Web(shell)
    Path(shell.data, "web", "access.json").write_text("{broken")
    reply = web.ask("GET", "/", token="x", Accept=HTML)
    assert reply.status == 500
    assert b"queuectl web token list says why" in reply.body
    assert "cannot be understood" in shell("web", "token", "list").err

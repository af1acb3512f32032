"""The dashboard as people meet it: in a browser, while jobs run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from browsers import MISSING

from queuectl.events import vocabulary as v

if MISSING:
    pytest.skip(
        f"no page was looked at in a browser, which needs {MISSING}", allow_module_level=True
    )

from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[1] / "axe" / "axe.min.js"
Serve = Callable[..., Any]
Look = Callable[..., Page]
expect.set_options(timeout=180_000)
NASTY = r"""printf '<script>window.hacked = 1</script> \033[31mred\007 \342\200\256kcab\n'"""
PAGES = (
    *("/", "/jobs", "/jobs?q=nothing+is+like+that", "/workers", "/dead", "/dead/all"),
    *("/settings", "/events", "/diff?from=1", "/?at=3", "/jobs?at=3", "/jobs/missing", "/nothing"),
)

BROKEN_WORDS = """() => [...document.querySelectorAll("td, th")].flatMap((cell) => {
  const broken = [];
  const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const word of texts.currentNode.data.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((part) => Math.round(part.top)));
      if (lines.size > 1) broken.push(word[0]);
    }
  }
  return broken;
})"""
"""Words in tables that go on in the next line."""


def _stays(page: Page) -> None:
    """Mark the page, so that a reload would be noticed."""
    page.evaluate("window.isTheSame = true")


def _stayed(page: Page) -> bool:
    return page.evaluate("window.isTheSame === true")


# ---- live


def test_a_job_is_seen_to_run_and_its_output_followed(serve: Serve, look: Look) -> None:
    server = serve()
    site = server.site
    go = site.root / "go"
    id = site.add(f"echo first; until test -e {go}; do sleep 0.05; done; echo last; echo bad >&2")
    page = look(server, f"/jobs/{id}")
    expect(page.locator("h1 + .state")).to_have_text("pending")
    expect(page.get_by_text("no worker is running")).to_be_visible()
    expect(page.locator("#pulse")).to_have_text("live")
    _stays(page)
    site.start()
    expect(page.locator("h1 + .state")).to_have_text("processing")
    expect(page.locator("[data-output$='/out']")).to_have_text("first\n", use_inner_text=True)
    go.touch()
    expect(page.locator("[data-output$='/out']")).to_have_text("first\nlast\n", use_inner_text=True)
    expect(page.locator("[data-output$='/err']")).to_have_text("bad\n", use_inner_text=True)
    expect(page.locator("h1 + .state")).to_have_text("completed")
    expect(page.locator(".story")).to_contain_text("job.completed")
    assert _stayed(page)


def test_a_page_that_is_paused_stands_still_and_then_catches_up(serve: Serve, look: Look) -> None:
    server = serve()
    page = look(server, "/jobs")
    expect(page.locator("#pulse")).to_have_text("live")
    page.get_by_role("button", name="Pause").click()
    server.site.add("echo unseen")
    seen = look(server, "/jobs")
    expect(seen.locator("tbody tr")).to_have_count(2)
    assert page.locator("tbody tr").count() == 1
    _stays(page)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert _stayed(page)


def test_only_a_page_that_follows_says_that_it_is_live(serve: Serve, look: Look) -> None:
    server = serve()
    page = look(server, "/jobs")
    expect(page.locator("#pulse")).to_have_text("live")
    for path in ("/diff?from=0", "/settings", "/?at=1"):
        page.goto(server.url + path)
        expect(page.locator("html.scripted")).to_have_count(1)
        expect(page.locator("#live")).to_be_hidden()


def test_what_is_being_typed_stays_while_the_page_changes(serve: Serve, look: Look) -> None:
    server = serve()
    page = look(server, "/jobs")
    expect(page.locator("#pulse")).to_have_text("live")
    page.locator("#enqueue summary").click()
    page.get_by_label("Command", exact=True).fill("echo half")
    server.site.add("echo other")
    expect(page.locator("tbody tr")).to_have_count(2)
    assert page.get_by_label("Command", exact=True).input_value() == "echo half"
    assert page.evaluate("document.activeElement.name") == "command"


def test_a_server_that_is_gone_is_said_and_found_again(serve: Serve, look: Look) -> None:
    # With tokens, one would have to sign in again.
    server = serve("--no-token")
    page = look(server, "/jobs")
    expect(page.locator("#pulse")).to_have_text("live")
    server.kill()
    expect(page.locator("#lost")).to_be_visible()
    server.site.add("echo meanwhile")
    server.start()
    expect(page.locator("#pulse")).to_have_text("live")
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_a_log_that_is_damaged_is_said_on_a_page_that_is_open(serve: Serve, look: Look) -> None:
    server = serve()
    page = look(server, "/jobs")
    expect(page.locator("#pulse")).to_have_text("live")
    site = server.site
    # Behind what the server has read, or it would not look there again.
    server.signal(signal.SIGSTOP)
    site.add("echo to be damaged")
    log = next(Path(site.queue.home.log).glob("*.jsonl"))
    log.write_bytes(log.read_bytes().replace(b"to be damaged", b"TO BE DAMAGED"))
    server.signal(signal.SIGCONT)
    expect(page.get_by_role("alert")).to_contain_text("The log is damaged")
    assert page.locator("tbody tr").count() == 1
    look_again = look(server, "/")
    banner = look_again.get_by_role("alert")
    expect(banner).to_contain_text("The log is damaged")
    expect(banner).to_contain_text(str(log))
    expect(banner).to_contain_text("log repair")
    expect(look_again.get_by_role("link", name="All events")).to_be_visible()


# ---- acting


def test_dead_jobs_are_retried_some_and_all_with_their_number_shown(
    serve: Serve, look: Look
) -> None:
    server = serve()
    site = server.site
    mended = site.root / "mended"
    ids = [
        site.add(f"test -e {mended} || {{ echo no disk {n} >&2; exit 4; }}", max_retries=1)
        for n in range(4)
    ]
    site.drain()
    page = look(server, "/dead")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("no disk <n>")
    mended.touch()
    page.locator("tbody th a").click()
    page.get_by_label(f"Choose job {ids[0]}").check()
    page.locator("#retry-some [name=reason]").fill("try one")
    page.get_by_role("button", name="Retry those chosen").click()
    expect(page.get_by_role("status").first).to_contain_text("1")
    page.locator("tbody th a").click()
    page.locator("#retry-all [name=reason]").fill("the disk is there")
    page.get_by_role("button", name="Retry all 3").click()
    expect(page.get_by_text("No job is dead")).to_be_visible()
    site.drain()
    assert {site.state(id) for id in ids} == {"completed"}
    asked = site.last(ids[1], v.JobRequeued)
    assert asked.reason == "the disk is there"
    assert site.last(ids[0], v.JobRequeued).reason == "try one"


def test_more_than_were_shown_are_not_retried(serve: Serve, look: Look) -> None:
    server = serve()
    site = server.site
    site.add("exit 4", max_retries=1)
    site.drain()
    page = look(server, "/dead/all")
    late = site.add("exit 4", max_retries=1)
    site.drain()
    page.get_by_role("button", name="Retry it").click()
    expect(page.get_by_text("nothing was changed")).to_be_visible()
    assert site.state(late) == "dead"
    page.get_by_role("button", name="Retry all 2").click()
    expect(page.get_by_text("No job is dead")).to_be_visible()


def test_everything_works_without_scripts(serve: Serve, look: Look) -> None:
    server = serve()
    site = server.site
    page = look(server, "/jobs", java_script_enabled=False)
    page.locator("#enqueue summary").click()
    page.get_by_label("Command", exact=True).fill("echo by hand")
    page.get_by_label("Tags", exact=True).fill("one, two")
    page.get_by_label("Not before, in").fill("1h")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_text("The job is enqueued")).to_be_visible()
    id = page.locator("h1 .mono").inner_text()
    assert site.job(id).spec.tags == ["one", "two"]
    page.locator("#retry button").click()
    expect(page.get_by_text("The job will run again")).to_be_visible()
    page.locator("#cancel [name=reason]").fill("on second thoughts")
    page.locator("#cancel button").click()
    expect(page.locator("h1 + .state")).to_have_text("cancelled")
    assert site.last(id, v.JobCancelled).reason == "on second thoughts"
    page.get_by_role("link", name="Overview").click()
    page.locator("#queue-default summary").click()
    page.get_by_role("button", name="Pause default").click()
    expect(page.get_by_text("Queue default is paused")).to_be_visible()
    assert site.queue.state.paused == {"default"}
    page.get_by_role("button", name="Resume default").click()
    expect(page.get_by_text("Queue default is paused")).to_have_count(0)
    page.goto(f"{server.url}/?at=1")
    expect(page.get_by_text("This is the past")).to_be_visible()
    assert page.locator("main form").count() == 0


def test_what_cannot_be_done_is_said(serve: Serve, look: Look) -> None:
    server = serve()
    id = server.site.add("true")
    page = look(server, f"/jobs/{id}", java_script_enabled=False)
    server.site.drain()
    page.locator("#cancel button").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing left to cancel")
    page.goto(f"{server.url}/nothing")
    expect(page.get_by_role("alert")).to_have_text("there is nothing at this address")
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="What needs attention")).to_be_attached()


def test_a_viewer_is_offered_nothing_and_refused(serve: Serve, look: Look) -> None:
    server = serve()
    site = server.site
    id = site.add("exit 1", max_retries=1)
    site.drain()
    page = look(server, f"/jobs/{id}", role="viewer")
    for path in ("/", "/jobs", f"/jobs/{id}", "/dead/all"):
        page.goto(server.url + path)
        assert page.locator("form[method=post]:not([action='/logout'])").count() == 0, path
    submit = (
        "path => { const form = document.createElement('form'); form.method = 'post';"
        " form.action = path; document.body.append(form); form.submit() }"
    )
    with page.expect_response(f"{server.url}/jobs/{id}/retry") as answer:
        page.evaluate(submit, f"/jobs/{id}/retry")
    assert answer.value.status == 403
    assert site.state(id) == "dead"
    page = look(server, "/jobs", role="submitter")
    page.locator("#enqueue summary").click()
    page.get_by_label("Command", exact=True).fill("echo mine")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_text("The job is enqueued")).to_be_visible()
    assert page.locator("#cancel").count() == 0
    enqueued = site.queue.get(page.locator("h1 .mono").inner_text())
    assert enqueued.spec.actor == "submitter@web"


@contextmanager
def another_site(html: str) -> Iterator[str]:
    """The address of a page of somebody else; by another name, because ports alone make no other
    site."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *words: object) -> None:
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=other.handle_request)
    thread.start()
    try:
        yield f"http://127.0.0.1:{other.server_port}/"
    finally:
        thread.join()
        other.server_close()


def test_another_site_cannot_make_a_browser_act(serve: Serve, look: Look) -> None:
    server = serve()
    page = look(server, "/jobs")
    form = (
        f'<form method="post" action="{server.url}/jobs"><input name="command" value="evil">'
        "</form><script>document.forms[0].submit()</script>"
    )
    with another_site(form) as other, page.expect_response(server.url + "/jobs") as answer:
        page.goto(other)
    assert answer.value.status == 403
    expect(page.get_by_role("alert")).to_contain_text("asked for by a page of another site")
    colour = "getComputedStyle(document.querySelector('.banner')).borderLeftWidth"
    assert page.evaluate(colour) == "5px", "it has the style of all pages"
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_attached()
    assert server.site.count(v.JobEnqueued) == 1


def test_a_link_that_somebody_was_given_leads_to_what_it_says(serve: Serve, look: Look) -> None:
    server = serve()
    page = look(server, "/")
    # As in a chat, or in the story of a bug.
    with another_site(f'<a href="{server.url}/jobs?at=1">look</a>') as other:
        page.goto(other)
    page.get_by_role("link", name="look").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert page.url == server.url + "/jobs?at=1"


# ---- time travel


def test_the_whole_dashboard_is_shown_as_of_a_past_moment(serve: Serve, look: Look) -> None:
    server = serve()
    site = server.site
    ids = [site.add(f"echo {n}") for n in range(3)]
    head = site.queue.state.offset
    site.drain()
    page = look(server, "/jobs")
    expect(page.get_by_role("link", name="completed 4")).to_be_visible()
    _stays(page)
    slider = page.locator("#travel [type=range]")
    slider.evaluate(
        "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input', "
        "{bubbles: true})) }",
        head,
    )
    expect(page.get_by_text("This is the past")).to_be_visible()
    expect(page.get_by_role("link", name="pending 4")).to_be_visible()
    assert page.url.endswith(f"?at={head}")
    assert _stayed(page)
    assert page.get_by_text("Enqueue a job").count() == 0
    page.get_by_role("link", name=ids[1]).click()
    expect(page.locator("h1 + .state")).to_have_text("pending")
    assert page.url.endswith(f"/jobs/{ids[1]}?at={head}")
    page.get_by_role("link", name="What has happened since").click()
    expect(page.get_by_role("row", name="completed 0 4")).to_be_visible()
    page.get_by_label("A moment").fill("0s")
    page.get_by_role("button", name="Look").click()
    page.wait_for_url("**at=**")
    page.goto(f"{server.url}/?at={head}")
    page.get_by_role("link", name="Back to now").click()
    expect(page.get_by_text("This is the past")).to_have_count(0)


@pytest.mark.parametrize("scripted", [True, False])
def test_what_was_searched_for_stays_on_the_way_through_time(
    serve: Serve, look: Look, scripted: bool
) -> None:
    server = serve()
    site = server.site
    for n in range(3):
        site.add(f"echo {n}")
    site.drain()
    page = look(server, "/jobs?state=pending&q=echo", java_script_enabled=scripted)
    page.get_by_label("One event earlier").click()
    page.wait_for_url("**/jobs?state=pending&q=echo&at=*")
    page.get_by_label("One event earlier").click()
    page.get_by_label("One event later").click()
    page.wait_for_url("**/jobs?state=pending&q=echo&at=*")
    page.get_by_label("A moment").fill("2")
    page.get_by_role("button", name="Look").click()
    page.wait_for_url("**/jobs?state=pending&q=echo&at=2")
    page.get_by_role("link", name="Back to now").click()
    page.wait_for_url("**/jobs?state=pending&q=echo")


# ---- what jobs print, and who looks


def test_what_a_job_prints_is_only_ever_text(serve: Serve, look: Look) -> None:
    server = serve()
    site = server.site
    markup = "<img src=x onerror=alert(1)>"
    id = site.add(f"{NASTY}; {NASTY} >&2; exit 1", max_retries=1, tags=["b"], cwd=str(site.root))
    site.add(f"echo '{markup}' >&2; exit 1", max_retries=1)
    site.drain()
    page = look(server, f"/jobs/{id}")
    printed = page.locator("[data-output$='/out']")
    expect(printed).to_contain_text("<script>window.hacked = 1</script>")
    expect(printed).to_contain_text(r"\x1b[31mred\x07 \u202ekcab")
    for path in ("/", "/jobs", "/dead", "/dead/all", "/events"):
        page.goto(server.url + path)
        content = page.content()
        assert "\x1b" not in content and "\u202e" not in content
        assert page.evaluate("window.hacked") is None
        assert page.locator("img, main script").count() == 0


def test_searches_stand_in_the_address_and_pages_go_on(serve: Serve, look: Look) -> None:
    server = serve()
    site = server.site
    site.queue.enqueue_many(
        [{"command": f"echo {n}", "queue": "many", "tags": [f"t{n % 2}"]} for n in range(120)]
    )
    page = look(server, "/jobs?queue=many&tag=t1")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    page.goto(f"{server.url}/jobs")
    page.get_by_label("Search ids").fill("echo 119")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "q=echo+119" in page.url
    page.get_by_role("link", name="completed 0").click()
    expect(page.get_by_text("No job is like that")).to_be_visible()
    assert "q=echo+119" in page.url and "state=completed" in page.url
    page.goto(f"{server.url}/jobs?since=yesterday")
    expect(page.get_by_role("alert")).to_contain_text("is no time")


# ---- for everybody


@pytest.fixture(scope="module")
def busy(serve_all: Serve) -> Any:
    """A server with something on every page."""
    server = serve_all()
    site = server.site
    for n in range(3):
        site.add(f"echo no file {n} >&2; exit 3", max_retries=1)
    site.drain()
    site.queue.set("max-retries", "5")
    site.queue.pause("reports", reason="month end")
    site.add("echo report", queue="reports", tags=["monthly"])
    site.add("echo later", delay="1h")
    site.start()
    held = site.add("echo on; sleep 600")
    site.reaches(held, "processing")
    server.paths = (*PAGES, f"/jobs/{held}")
    return server


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_found_by_axe_in_either_theme(busy: Any, look: Look, theme: str) -> None:
    page = look(busy, "/", color_scheme=theme, viewport={"width": 1280, "height": 900})
    for path in busy.paths:
        page.goto(busy.url + path)
        for summary in page.locator("main details > summary").all():
            summary.click()
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run(document).then(result => result.violations)")
        told = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]
        assert not told, path


@pytest.mark.parametrize("width", [360, 1600])
def test_no_page_is_wider_than_the_screen(busy: Any, look: Look, width: int) -> None:
    page = look(busy, "/", viewport={"width": width, "height": 800})
    for path in busy.paths:
        page.goto(busy.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        used = page.evaluate("document.querySelector('main').getBoundingClientRect().width")
        assert used >= 0.9 * width, path
        assert page.evaluate(BROKEN_WORDS) == [], path


def test_the_keyboard_reaches_the_content_first(busy: Any, look: Look) -> None:
    page = look(busy, "/jobs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"

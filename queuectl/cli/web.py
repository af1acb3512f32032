"""`web`: the dashboard and the HTTP API; who may use them."""

from __future__ import annotations

import gc
import webbrowser
from ipaddress import ip_address
from typing import Any

import click

from queuectl.cli.parameters import DURATION, json_option, pass_app
from queuectl.cli.root import App, DefaultGroup
from queuectl.cli.text import columns
from queuectl.errors import Invalid, not_installed
from queuectl.quantities import format_duration
from queuectl.telling.words import printable

_LINK_MS = 600_000
_HERE = ("localhost", "127.0.0.1", "::1")
_ROLES = ("viewer", "submitter", "operator", "admin")


class _WebGroup(DefaultGroup):
    default = "serve"


@click.group(
    cls=_WebGroup,
    name="web",
    epilog="""\b
Examples:
  queuectl web                             prints the link that lets a browser in
  queuectl web --port 9000 --read-only
  queuectl web token add grafana --role viewer
  queuectl web link""",
)
def web() -> None:
    """Serve the dashboard and the HTTP API (default: serve).

    It needs the extra web, and where that is missing, it says what to install.
    """


@web.command(
    epilog="""\b
Examples:
  queuectl web serve --open
  queuectl web serve --host 0.0.0.0 --allow-host queue.example.org
  curl -H "Authorization: Bearer $TOKEN" localhost:8080/api/v1/status"""
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port to serve at; 0 for any that is free.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name it is reached by, beside the address. Repeatable.",
)
@click.option("--read-only", is_flag=True, help="Only show; let nobody change anything.")
@click.option(
    "--no-token", "is_open", is_flag=True, help="Let in everybody who can reach it, as admin."
)
@click.option("--open", "opens", is_flag=True, help="Open a browser.")
@pass_app
def serve(
    app: App,
    host: str,
    port: int,
    names: tuple[str, ...],
    read_only: bool,
    is_open: bool,
    opens: bool,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    The link that is printed lets one browser in, once and within ten minutes, with all rights of
    whoever started the server; web link makes another. Programs need a token: web token add. With
    --no-token neither is needed, which is refused for an address that other machines can reach.
    """
    _library()
    from queuectl.web.access import Sessions, Tokens
    from queuectl.web.app import create_app
    from queuectl.web.guard import Rules
    from queuectl.web.live import Live
    from queuectl.web.served import Served
    from queuectl.web.serving import bind, serve

    is_local = _is_loopback(host)
    if is_open and not is_local:
        raise Invalid(f"--no-token: others can reach {host}; they need tokens")
    # What is served lives long; short commands do without it.
    gc.enable()
    bound = bind(host, port)
    port = bound.getsockname()[1]
    served = Served(app.data)
    try:
        tokens = Tokens(served.home, served.host)
        shown = (*names, *_own_names(host))[0]
        url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
        tokens.serve_at(url)
        allowed = frozenset(name.lower().rstrip(".") for name in (*names, *_own_names(host)))
        link = url if is_open else f"{url}login/{tokens.link('', _LINK_MS)}"
        rules = Rules(allowed, tokens, Sessions(tokens, served.host), is_open, read_only)
        live = Live(served.open_view)
        application = create_app(served, live, rules)
        click.echo(link)
        app.say(f"serving {printable(served.home.root)}; Ctrl-C ends it")
        if _is(host, "is_unspecified") and not names:
            app.say("other machines reach it only by names that --allow-host gives it")
        if opens:
            webbrowser.open(link)
        serve(application, live, bound)
    finally:
        served.close()


def _library() -> None:
    """Raises `QueuectlError` where the extra is not installed."""
    try:
        import jinja2  # noqa: F401
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError:
        raise not_installed(
            "this needs a web server", "web", "jinja2", "prometheus-client", "starlette", "uvicorn"
        ) from None


def _is(host: str, kind: str) -> bool:
    """Whether it is an address of a kind, as `ipaddress` names them."""
    try:
        return bool(getattr(ip_address(host), kind))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    return host == "localhost" or _is(host, "is_loopback")


def _own_names(host: str) -> tuple[str, ...]:
    """What it is reached by without further names, the best first."""
    if host in _HERE or _is(host, "is_unspecified"):
        return (*_HERE, host)
    return (host,)


@web.command(
    epilog="""\b
Examples:
  queuectl web link
  queuectl web link ada --valid 1d"""
)
@click.argument("name", metavar="[TOKEN]", default="")
@click.option(
    "--valid", "valid_ms", type=DURATION, default="10m", show_default=True, help="For how long."
)
@pass_app
def link(app: App, name: str, valid_ms: int) -> None:
    """Print a link that lets one browser in, once.

    With the rights of that token, or without one with all rights. It leads to where the server was
    started last.
    """
    tokens = _tokens(app)
    url = tokens.url
    click.echo(f"{url}login/{tokens.link(name, valid_ms)}")
    app.say(f"it can be used once, within {format_duration(valid_ms)}")


class _TokenGroup(DefaultGroup):
    default = "list"


@web.group(
    cls=_TokenGroup,
    epilog="""\b
Examples:
  queuectl web token
  queuectl web token add ci --role submitter
  queuectl web token remove ci""",
)
def token() -> None:
    """See, add and remove tokens (default: list)."""


@token.command(
    epilog="""\b
Examples:
  queuectl web token add grafana --role viewer
  queuectl web token add ci --role submitter > ci.token"""
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    required=True,
    help="What it lets one do.",
)
@pass_app
def add(app: App, name: str, role: str) -> None:
    """Make a token and print it.

    It is kept nowhere, only what it can be known by. A viewer sees everything. A submitter enqueues
    jobs, too, which is to run anything. An operator also cancels, retries, purges, and pauses
    queues; an admin also changes settings. Events call whoever uses it NAME@web.
    """
    click.echo(_tokens(app).add(name, role, actor=_host().actor()))
    app.say(f"token {name} is for the role {role}; this is the only time that it is shown")


@token.command("list", epilog="\b\nExamples:\n  queuectl web token list --json")
@json_option
@pass_app
def list_tokens(app: App, as_json: bool) -> None:
    """List tokens, without what they are."""
    found = _tokens(app).list()
    if as_json:
        from queuectl.cli.documents import emit

        emit(
            [
                {"name": one.name, "role": one.role, "actor": one.actor, "created_at": one.at}
                for one in found
            ]
        )
        return
    if not found:
        app.say("there is no token; queuectl web token add makes one")
        return
    rows = [(one.name, one.role, one.at, one.actor) for one in found]
    click.echo(columns(rows, ("NAME", "ROLE", "CREATED", "BY")))


@token.command(epilog="\b\nExamples:\n  queuectl web token remove ci")
@click.argument("name")
@pass_app
def remove(app: App, name: str) -> None:
    """Let nobody in by a token any more.

    Who is in by it is out at once.
    """
    _tokens(app).remove(name)
    app.say(f"token {name} is worth nothing any more")


def _host() -> Any:
    from queuectl.host import Host

    return Host()


def _tokens(app: App) -> Any:
    _library()
    from queuectl.home import Home
    from queuectl.web.access import Tokens

    host, home = _host(), Home(app.data)
    home.find(host)
    return Tokens(home, host)

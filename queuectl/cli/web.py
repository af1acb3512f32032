"""`web`: the dashboard and the HTTP API."""

from __future__ import annotations

import click

from queuectl.cli.parameters import pass_app
from queuectl.cli.root import App
from queuectl.errors import QueuectlError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@pass_app
def web(app: App, host: str, port: int) -> None:
    """Serve the dashboard and the HTTP API."""
    try:
        from queuectl.web.app import create_app
        from queuectl.web.served import Served
        from queuectl.web.serving import bind, serve
    except ModuleNotFoundError:
        raise QueuectlError(
            "this needs a web server, which is not installed: pip install 'queuectl[web]'"
        ) from None
    bound = bind(host, port)
    served = Served(app.data)
    try:
        app.say(f"http://{host}:{bound.getsockname()[1]}/")
        serve(create_app(served, frozenset({host, "localhost"})), bound)
    finally:
        served.close()

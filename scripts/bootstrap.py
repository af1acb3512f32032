#!/usr/bin/env python3
"""Make .venv with queuectl and its development tools; needs nothing but Python's own library.
With --runtime the tools are left out, until somebody needs them.

On many machines `python3 -m venv` cannot put pip into what it makes, because the system packages
Python without ensurepip. Then pip comes from the machine's own pip, if it has one, or from the
package index that pip is configured for. Run again, this does nothing until pyproject.toml changes.
"""

import base64
import configparser
import fcntl
import hashlib
import html.parser
import importlib
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have any Python
    sys.exit(
        "queuectl needs Python 3.11 or newer, and {} is {}.{}: install one and name it, as in"
        " `make setup PYTHON=python3.12`".format(sys.executable, *sys.version_info[:2])
    )

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".bootstrapped"
WHEEL = re.compile(r"pip-(\d+(?:\.\d+)+)-py3-none-any\.whl")
WAIT_S = 60


class Failed(Exception):
    """The bootstrap cannot go on; the message says what to do."""


def main() -> int:
    # Two `make`s in one checkout must not build the same .venv; the lock dies with the process.
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    tools = "[dev]" if "--runtime" not in sys.argv else ""
    wanted = fingerprint()
    try:
        # With the tools, what needs none of them can be run, too.
        enough = (wanted + tools, wanted + "[dev]")
        if PYTHON.exists() and STAMP.exists() and STAMP.read_text() in enough:
            return 0
        if not has_pip():
            say(f"making {VENV} with Python {sys.version.split()[0]}")
            make_venv()
        say(f"installing queuectl{' and its development tools' if tools else ''}")
        if not run(PYTHON, "-m", "pip", "install", "--quiet", "--editable", f".{tools}"):
            raise Failed("pip could not install queuectl; it says why above")
        STAMP.write_text(wanted + tools)
    except (Failed, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run begins where this one was")
        return 130
    say("ready")
    return 0


def fingerprint() -> str:
    """Changes when another .venv is needed; the place counts, since a .venv cannot be moved."""
    sources = (ROOT / "pyproject.toml", Path(__file__))
    contents = b"\0".join([*(path.read_bytes() for path in sources), os.fsencode(ROOT)])
    return hashlib.sha256(contents).hexdigest()


def make_venv() -> None:
    """A .venv with pip in it, by the first way that this machine allows. Raises `Failed`."""
    if can_import("ensurepip") and run(sys.executable, "-m", "venv", "--clear", VENV, quiet=True):
        return
    if not run(sys.executable, "-m", "venv", "--clear", "--without-pip", VENV):
        raise Failed(f"{sys.executable} -m venv cannot make {VENV}; it says why above")
    if can_import("pip"):
        own = (sys.executable, "-m", "pip", "--python", PYTHON)  # a pip before 22.3 lacks --python
        if run(*own, "install", "--quiet", "pip", quiet=True) and has_pip():
            return
    say("this Python comes without pip: getting it from the configured package index")
    with tempfile.TemporaryDirectory() as directory:
        wheel = download_pip(pip_settings(), Path(directory))
        if not run(PYTHON, wheel / "pip", "install", "--quiet", "--no-index", wheel):
            raise Failed("the downloaded pip could not install itself; it says why above")


def can_import(name: str) -> bool:
    # Imported, not only looked for: what is there may be half there.
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def has_pip() -> bool:
    return PYTHON.exists() and run(PYTHON, "-m", "pip", "--version", quiet=True)


def run(*words: object, quiet: bool = False) -> bool:
    """Whether a program ended well, in the checkout; `quiet` where a failure has its remedy."""
    out = subprocess.DEVNULL if quiet else None
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    return done.returncode == 0


def say(text: str) -> None:
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


# ---- pip from a package index, without pip


def pip_settings() -> dict[str, str]:
    """What pip's configuration files and environment variables say, the last word winning."""
    environ, home = os.environ, Path.home()
    own = os.environ.get("PIP_CONFIG_FILE", "")
    shared = [Path(place) for place in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    files = [
        *(place / "pip" / "pip.conf" for place in reversed(shared)),
        Path("/Library/Application Support/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        home / "Library/Application Support/pip/pip.conf",
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
        *([Path(own)] if own else []),
    ]
    if own == os.devnull:  # pip's way to say: no files at all
        files = []
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        for file in files:
            parser = configparser.RawConfigParser()
            parser.read(file, encoding="utf-8")
            if parser.has_section(section):
                settings |= {key.replace("_", "-"): text for key, text in parser.items(section)}
    for name, text in environ.items():
        if name.startswith("PIP_") and text:
            settings[name[4:].lower().replace("_", "-")] = text
    return settings


class Links(html.parser.HTMLParser):
    """The links of a simple index page (PEP 503)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append({name: value or "" for name, value in attrs})


def download_pip(settings: dict[str, str], directory: Path) -> Path:
    """The newest wheel of pip from the first index that has one. Raises `Failed`."""
    indexes = f"{settings.get('index-url', '')} {settings.get('extra-index-url', '')}".split()
    if not indexes:
        raise Failed(
            "there is no pip here and no package index is configured: install the system's package"
            " for venv (python3-venv on Debian and Ubuntu), or set PIP_INDEX_URL"
        )
    reasons = []
    for index in indexes:
        base = index.rstrip("/") + "/pip/"
        try:
            links = Links()
            # A file server has no default page, so a directory's has to be named.
            page = base + "index.html" if base.startswith("file:") else base
            links.feed(fetch(page, settings).decode())
            return fetch_wheel(base, newest(links.found), settings, directory)
        except (Failed, OSError, ValueError) as error:
            reasons.append(f"{without_password(base)}: {error}")
    raise Failed(
        "no index gave a pip: " + "; ".join(reasons) + " (installing the system's package for"
        " venv, python3-venv on Debian and Ubuntu, avoids the need)"
    )


def newest(links: list[dict[str, str]]) -> str:
    """The link to the newest released pip that runs on this Python. Raises `Failed`."""
    wheels = []
    for link in links:
        path = urllib.parse.urlsplit(link.get("href", "")).path
        match = WHEEL.fullmatch(urllib.parse.unquote(path.rpartition("/")[2]))
        least = re.search(r">=\s*3\.(\d+)", link.get("data-requires-python", ""))
        too_new = least and int(least[1]) > sys.version_info.minor
        if match and not too_new and "data-yanked" not in link:
            wheels.append(([int(part) for part in match[1].split(".")], link["href"]))
    if not wheels:
        raise Failed("it has no wheel of pip for this Python")
    return max(wheels)[1]


def fetch_wheel(base: str, href: str, settings: dict[str, str], directory: Path) -> Path:
    """Download a wheel and hold it against the hash in its link. Raises `Failed`."""
    url, _, fragment = urllib.parse.urljoin(base, href).partition("#")
    digest = urllib.parse.parse_qs(fragment).get("sha256", [""])[0]
    if not digest:
        raise Failed("its link to pip has no sha256")
    contents = fetch(url, settings)
    if hashlib.sha256(contents).hexdigest() != digest.lower():
        raise Failed("the pip it sent does not have the sha256 that its link says")
    wheel = directory / urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
    wheel.write_bytes(contents)
    return wheel


def fetch(url: str, settings: dict[str, str]) -> bytes:
    parts = urllib.parse.urlsplit(url)
    name, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    trusted = {"localhost", "127.0.0.1", "::1", *settings.get("trusted-host", "").split()}
    if parts.scheme not in ("https", "file") and not {name, name + port} & trusted:
        raise Failed("it is not https, and not a trusted-host of pip's configuration")
    request = urllib.request.Request(without_password(url), headers={"Accept": "text/html, */*"})
    if parts.username is not None:
        pair = f"{parts.username}:{parts.password or ''}"
        token = base64.b64encode(urllib.parse.unquote(pair).encode()).decode()
        # Unredirected: another server must not be told the password of this one.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    context = ssl.create_default_context(cafile=settings.get("cert") or None)
    with urllib.request.urlopen(request, timeout=WAIT_S, context=context) as answer:
        return bytes(answer.read())


def without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


if __name__ == "__main__":
    sys.exit(main())

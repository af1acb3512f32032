"""The bootstrap on a machine that has neither ensurepip nor pip, with an index on loopback.

The pip that the index serves is a stand-in of a few lines, so nothing comes from outside.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "scripts" / "bootstrap.py"
WHEEL = "pip-9.10.1-py3-none-any.whl"
HIDES_PIP = """
import os, sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in ("pip", "ensurepip"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
if sys.prefix == os.environ["MACHINE"]:
    sys.meta_path.insert(0, Hide())
"""
STAND_IN = """
import os, sys, zipfile
if sys.argv[-1].endswith(".whl"):
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    zipfile.ZipFile(sys.argv[-1]).extractall(libraries)
elif "install" in sys.argv:
    with open("calls", "a") as calls:
        calls.write(" ".join(sys.argv[1:]) + chr(10))
"""


class Index(SimpleHTTPRequestHandler):
    """A package index of files, behind a password."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Basic {base64.b64encode(b'me:p@ss').decode()}":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """The address of an index; its files lie under `tmp_path / "index"`."""
    page = tmp_path / "index" / "simple" / "pip"
    page.mkdir(parents=True)
    wheel = tmp_path / "index" / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pip/__init__.py", "")
        archive.writestr("pip/__main__.py", STAND_IN)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (page / "index.html").write_text(f'<a href="../../{WHEEL}#sha256={digest}">{WHEEL}</a>')
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Index, directory=str(tmp_path / "index"))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://me:p%40ss@127.0.0.1:{server.server_address[1]}/simple"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Machine:
    """A checkout on a machine whose Python has neither ensurepip nor pip."""

    def __init__(self, root: Path) -> None:
        self.checkout = root / "check out"
        (self.checkout / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPT, self.checkout / "scripts")
        shutil.copy(CHECKOUT / "pyproject.toml", self.checkout)
        self.home = root / "home"
        self.home.mkdir()
        (self.home / "sitecustomize.py").write_text(HIDES_PIP)

    def bootstrap(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
        own = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "PIP_CONFIG_FILE": os.devnull,
            "PYTHONPATH": str(self.home),
            "MACHINE": sys.prefix,
        }
        return subprocess.run(
            [sys.executable, "scripts/bootstrap.py", *words],
            cwd=self.checkout,
            env=kept | own | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def installs(self) -> list[str]:
        calls = self.checkout / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_pip_comes_from_the_configured_index_and_a_second_run_does_nothing(
    machine: Machine, index: str
) -> None:
    first = machine.bootstrap(PIP_INDEX_URL=index)
    assert first.returncode == 0, first.stderr
    assert machine.installs == ["install --quiet --editable .[dev]"]

    second = machine.bootstrap()  # and needs no index
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(machine.installs) == 1

    with (machine.checkout / "pyproject.toml").open("a") as project:
        project.write("\n")
    third = machine.bootstrap()
    assert third.returncode == 0, third.stderr
    assert len(machine.installs) == 2


def test_what_needs_no_tools_installs_none_and_is_content_with_them(
    machine: Machine, index: str
) -> None:
    for words in (["--runtime"], ["--runtime"], [], ["--runtime"], []):
        done = machine.bootstrap(*words, PIP_INDEX_URL=index)
        assert done.returncode == 0, done.stderr
    assert machine.installs == ["install --quiet --editable .", "install --quiet --editable .[dev]"]


def test_a_file_of_pip_configures_the_index(machine: Machine, index: str) -> None:
    config = machine.home / "mine.conf"
    config.write_text(f"[global]\nextra-index-url =\n    {index}\n")
    done = machine.bootstrap(PIP_CONFIG_FILE=str(config))
    assert done.returncode == 0, done.stderr


def test_an_index_of_files_on_this_machine(machine: Machine, index: str, tmp_path: Path) -> None:
    done = machine.bootstrap(PIP_INDEX_URL=(tmp_path / "index" / "simple").as_uri())
    assert done.returncode == 0, done.stderr


def test_no_index_is_one_line_that_says_what_to_do(machine: Machine) -> None:
    done = machine.bootstrap()
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "python3-venv" in last and "PIP_INDEX_URL" in last
    assert "Traceback" not in done.stderr


def test_a_pip_with_another_hash_is_refused(machine: Machine, index: str, tmp_path: Path) -> None:
    with (tmp_path / "index" / WHEEL).open("ab") as wheel:
        wheel.write(b"!")
    done = machine.bootstrap(PIP_INDEX_URL=index)
    assert done.returncode == 1
    assert "sha256" in done.stderr
    assert "p%40ss" not in done.stderr and "p@ss" not in done.stderr
    assert not machine.installs


def test_plain_http_is_refused_unless_trusted(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.Failed, match="trusted-host"):
        bootstrap.fetch("http://index.example/simple/pip/", {})


def test_the_newest_wheel_that_runs_here_is_taken(bootstrap: ModuleType) -> None:
    def link(version: str, **more: str) -> dict[str, str]:
        name = f"pip-{version}-py3-none-any.whl"
        return {"href": f"https://files.example/{name}#sha256=0"} | more

    links = [
        link("9.0.1"),
        link("24.10"),
        link("24.9"),
        link("25.0b1"),
        link("25.1", **{"data-yanked": ""}),
        link("26.0", **{"data-requires-python": ">=3.99"}),
        {"href": "https://files.example/pip-99.0.tar.gz"},
        {},
    ]
    assert "pip-24.10-py3" in bootstrap.newest(links)
    with pytest.raises(bootstrap.Failed, match="no wheel"):
        bootstrap.newest(links[3:])


def test_the_environment_has_the_last_word_over_the_files_of_pip(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(
        "[global]\nindex_url = a\ncert = b\ntrusted-host = c\n[install]\ncert = d\n"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "e")
    settings = bootstrap.pip_settings()
    assert (settings["index-url"], settings["cert"], settings["trusted-host"]) == ("a", "d", "e")


def test_an_old_python_is_told_so_in_one_line() -> None:
    pretend = (
        "import runpy, sys; sys.version_info = (3, 9, 2, 'final', 0);"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11 or newer" in done.stderr and "is 3.9" in done.stderr

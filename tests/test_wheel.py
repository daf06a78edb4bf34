"""The wheel, installed beside nothing but its dependencies and used from a folder of its own."""

import os
import subprocess
import sys
import urllib.request
import zipfile
from importlib.metadata import files
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, clean_environment

ROOT = Path(__file__).parents[1]
LOAD = ["--connections", "10", "--items", "3", "--reactions", "20/s", "--duration", "1s", "--warmup", "0s"]


def pip(*arguments: str | Path) -> None:
    """Run pip without a network."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, timeout=240)


def top_level(distribution: str) -> set[str]:
    """The names that a distribution installs into site-packages."""
    return {file.parts[0] for file in files(distribution) or () if file.parts[0] != ".."}


def link(names: set[str], folder: Path) -> Path:
    """Make a folder of links to these entries of this environment's site-packages."""
    folder.mkdir()
    packages = Path(pytest.__file__).parents[1]
    for name in names:
        (folder / name).symlink_to(packages / name)
    return folder


class Installed:
    """The wheel in a virtual environment. ``without_extra`` and ``with_extra`` are PYTHONPATHs."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.python = folder / "venv" / "bin" / "python"
        pip("--python", self.python, "install", "--no-index", "--no-deps", wheel)
        packages = {path.name for path in Path(pytest.__file__).parents[1].iterdir()}
        ours = {name for name in packages if "tallycast" in name}
        extra = top_level("hdrhistogram")
        self.without_extra = str(link(packages - ours - extra, folder / "dependencies"))
        self.with_extra = os.pathsep.join([self.without_extra, str(link(extra, folder / "extra"))])
        self.folder = folder

    def run(self, *arguments: str | Path, extra: bool = True) -> subprocess.CompletedProcess[str]:
        path = self.with_extra if extra else self.without_extra
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=clean_environment({"PYTHONPATH": path}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def tallycast(self, *arguments: str | Path, extra: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(self.python.with_name("tallycast"), *arguments, extra=extra)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist: a wheel built from the checkout has the same files."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    for name, source in (("from-sdist", sdist), ("from-checkout", ROOT)):
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / name, source)
    first, second = (next((folder / name).glob("*.whl")) for name in ("from-sdist", "from-checkout"))
    assert sorted(zipfile.ZipFile(first).namelist()) == sorted(zipfile.ZipFile(second).namelist())
    return first


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def test_what_a_wheel_installs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names}
    assert {name for name in packages if not name.endswith(".dist-info")} == {"tallycast", "tallycast_load"}
    assert {"tallycast/py.typed", "tallycast_load/py.typed"} <= set(names)
    # Each file once, and none of what embed.js is made from.
    static = ROOT / "static"
    expected = {file.relative_to(static).as_posix() for file in static.rglob("*") if file.is_file()}
    expected = {name for name in expected if not name.startswith("src/")}
    assert sorted(name for name in names if "/static/" in name) == sorted(
        f"tallycast/static/{name}" for name in expected
    )


def test_the_code_is_that_of_the_wheel(installed: Installed) -> None:
    done = installed.run("-c", "import tallycast, tallycast_load as t; print(tallycast.__file__, t.__file__)")
    assert done.returncode == 0, done
    for file in done.stdout.split():
        assert Path(file).is_relative_to(installed.folder / "venv")


def test_it_serves_pages_embeds_imports_and_loads(installed: Installed, tmp_path: Path) -> None:
    votes = tmp_path / "votes.csv"
    votes.write_text("item,visitor,reaction\na,u:1,like\na,u:2,like\n")
    snippet = installed.tallycast("embed", "--pin")
    assert snippet.returncode == 0, snippet
    environment = {"PYTHONPATH": installed.with_extra}
    with ServerProcess(tmp_path, env=environment, cwd=tmp_path, python=installed.python) as server:
        server.start()

        def get(path: str) -> bytes:
            with urllib.request.urlopen(server.url + path) as answer:
                return bytes(answer.read())

        assert b"<live-reactions" in get("/")
        assert get("/embed.js") == (ROOT / "static" / "embed.js").read_bytes()
        done = installed.tallycast("import", votes, "--data", server.data)
        assert done.returncode == 0, done
        assert b'"like":2' in get("/v1/items?item=a")
        done = installed.tallycast("load", server.url, *LOAD)
        # A busy machine may make the generator late, which is no fault of the wheel.
        assert done.returncode in (0, 2), done
        assert "acknowledged" in done.stdout


def test_load_without_its_extra_names_it(installed: Installed) -> None:
    done = installed.tallycast("load", extra=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "tallycast: load: hdrhistogram is not installed: install the extra, pip install 'tallycast[load]'\n"
    )
    assert installed.tallycast("load", "--help", extra=False).returncode == 0
    assert installed.tallycast("version", extra=False).returncode == 0

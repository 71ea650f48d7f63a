"""What is built is what belongs together: the package and its data folders, and nothing that lies about in a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ("providers", "prompts", "images")
"""The folders that ride in the wheel, as unsaf_async/_bundled/..."""
SHIPPED_AS_SOURCE = (
    "unsaf_async", *DATA, "tests", "benchmarks", "docs", ".ci", "cache/README.md",
    "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "Dockerfile", "LICENSE", "Makefile",
    "RELEASING.md", "SECURITY.md",
    "mkdocs.yml", "constraints.txt", "requirements.txt", "requirements-dev.txt", "pyproject.toml", ".gitignore",
    ".pre-commit-config.yaml",
)  # fmt: skip
"""What the source distribution holds, folders whole."""
PLANTED = b"never ship this"
"""What stands in every file that lies about."""

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="only a checkout can be built")


def files_below(root: Path, *places: str) -> set[str]:
    """The files at or below `places`, relative to `root`, without those that Python and its tools make by themselves."""
    found = set()
    for place in places:
        top = root / place
        for file in [top] if top.is_file() else top.rglob("*"):
            made = "__pycache__" in file.parts or file.suffix == ".pyc"
            if file.is_file() and not made:
                found.add(file.relative_to(root).as_posix())
    return found


def build(tree: Path, kind: str, folder: Path) -> Path:
    """The wheel or sdist of `tree`, built by hatchling. No network, no isolation."""
    code = f"import sys, hatchling.build as b; print(b.build_{kind}(sys.argv[1]))"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=tree, capture_output=True, text=True, check=True
    )
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, as it was checked out."""
    tree = tmp_path_factory.mktemp("checkout") / "unsaf-async"
    for name in files_below(ROOT, *(place for place in SHIPPED_AS_SOURCE if (ROOT / place).exists())):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def clean(tree: Path) -> set[str]:
    """The files of `tree` before anything lay about."""
    return files_below(tree, ".")


@pytest.fixture(scope="module")
def used(tree: Path, clean: set[str]) -> Path:
    """`tree` with replies, runs, keys and leftovers in it."""
    assert clean
    planted = [
        "cache/cache.db", "cache/00/ab/cache.db", "runs/20260101-gpt-4o/score.json", "replies/cache.db", ".env",
        "unsaf_async/__pycache__/leftover.pyc", "images/.DS_Store", "providers/.env", "providers/secret.toml~", "prompts/.env",
        "unsaf_async/.env", "docs/.DS_Store", "tests/runs/20260101-tiny/score.json",
        "unsaf_async/runs/20260101-tiny/score.json", ".venv/lib/score.json",
    ]  # fmt: skip
    for name in planted:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(PLANTED)
    return tree


@pytest.fixture(scope="module")
def wheel(used: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(used, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(used: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(used, "sdist", tmp_path_factory.mktemp("sdist"))


def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(wheel: Path, clean: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert not archive.testzip()
    package = {name for name in clean if name.startswith("unsaf_async/")}
    data = {f"unsaf_async/_bundled/{name}" for name in clean if name.startswith(tuple(f"{folder}/" for folder in DATA))}
    assert found == package | data
    assert {"unsaf_async/py.typed", "unsaf_async/_bundled/prompts/unsaf/judge.md"} <= found


def test_the_wheel_carries_the_licence_the_command_and_the_readme(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        (commands,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/entry_points.txt"))
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "unsaf-async = unsaf_async.cli:main" in commands
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    assert (ROOT / "README.md").read_text("utf-8").strip() in metadata


@pytest.mark.parametrize("release", ["1.82.7", "1.82.8"])
def test_the_wheel_refuses_the_malicious_releases_of_litellm(release: str, wheel: Path) -> None:
    from packaging.metadata import Metadata

    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)
    (litellm,) = (each for each in metadata.requires_dist or () if each.name == "litellm")
    assert release not in litellm.specifier
    assert f"!={release}" in str(litellm.specifier), "named, so that nobody lowers the floor past it unawares"


def test_the_sdist_holds_the_sources_and_nothing_else(sdist: Path, clean: set[str]) -> None:
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert found == clean | {"PKG-INFO"}


def test_the_sdist_has_everything_that_is_in_version_control(sdist: Path) -> None:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("only in a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    with tarfile.open(sdist) as archive:
        assert tracked <= {name.partition("/")[2] for name in archive.getnames()}


def test_nothing_that_lies_about_in_a_checkout_ships(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(wheel, tmp_path / "wheel", "zip")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    shipped = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(shipped) > 100
    assert [file for file in shipped if file.read_bytes() == PLANTED] == []


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_checkout(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = build(unpacked, "wheel", tmp_path / "dist")
    assert again.name == wheel.name
    assert _contents(again) == _contents(wheel)


def test_the_image_of_docker_takes_what_the_wheel_is_built_of_and_nothing_that_lies_about() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert copied == {"requirements.txt", "pyproject.toml", "README.md", "LICENSE", "unsaf_async", *DATA}
    assert all((ROOT / name).exists() for name in copied)
    user = max(place for place, line in enumerate(lines) if line.startswith("USER "))
    assert user < lines.index('ENTRYPOINT ["unsaf-async"]'), "it does not run as root"
    assert lines[user] != "USER root"


def test_an_installed_wheel_finds_its_data_outside_any_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True)
    # The dependencies are those of this environment. Its .pth files, and so its editable installation, are not followed.
    dependencies = Path(pytest.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(dependencies), "PYTHONDONTWRITEBYTECODE": "1"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = Path(run(str(python), "-c", "import unsaf_async; print(unsaf_async.__file__)").strip())
    assert place.is_relative_to(home)
    command = str(home / "bin" / "unsaf-async")
    score = json.loads(run(command, "run", "--provider", "scripted", "--json", "--quiet", "--questions", "2"))
    assert score["images"] == {"done": 10, "failed": 0, "total": 10}
    assert "gpt-5.4-mini" in run(command, "providers")
    tiny = json.loads(run(command, "run", "--json", "--quiet", "--limit", "3"))
    assert (tiny["provider"], tiny["images"]) == ("tiny", {"done": 3, "failed": 0, "total": 3})


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}

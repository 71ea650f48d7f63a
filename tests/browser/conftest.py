"""A real browser for the report's tests. They are skipped where there is no Chromium, or no selenium to drive it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browsing import missing, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from browsing import Browser


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and selenium; leave out with -m 'not browser'")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests, with a profile of its own."""
    if why := missing():
        pytest.skip(why)
    with opened(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of reports: one.html, two.html, hostile.html, labelled.html and pope.html; the runs of the first two in runs/."""
    from dataclasses import replace

    from reporting import HOSTILE, checked, examinations, given_examinations, labelled_run, report_run

    from unsaf_async.report.page import render

    folder = tmp_path_factory.mktemp("pages")
    for name in ("one", "two", "evil", "set", "pope"):
        (folder / name).mkdir()
    one = report_run(folder / "runs" / "one", examinations(folder / "one", 30, 8), name="first model", **checked())
    two = report_run(folder / "runs" / "two", examinations(folder / "two", 10, 6, seed=4), name="second model")
    examined = examinations(folder / "evil", len(HOSTILE), 3, hostile=True)
    evil = report_run(folder / "evil" / "run", examined, name=HOSTILE[0], journal=False, **checked(HOSTILE[1]))
    labelled = labelled_run(folder / "set" / "run", given_examinations(folder / "set", 12))
    pope = labelled_run(folder / "pope" / "run", given_examinations(folder / "pope", 12, yes_no=True), yes_no=True)
    evil = replace(evil, score=evil.score.model_copy(update={"warnings": list(HOSTILE)}))
    (folder / "one.html").write_text(render([one]), "utf-8")
    (folder / "two.html").write_text(render([one, two], scale={"first model": 7e9, "second model": 1e9}), "utf-8")
    (folder / "hostile.html").write_text(render([evil]), "utf-8")
    (folder / "labelled.html").write_text(render([labelled]), "utf-8")
    (folder / "pope.html").write_text(render([pope]), "utf-8")
    return folder

"""A real browser for the report's tests. They are skipped where there is no Chromium, or no selenium to drive it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and selenium; leave out with -m 'not browser'")


class Browser:
    """A page in Chromium, and what a test asks of it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def show(self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load `address` and wait until the questions are there."""
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, motion]})
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)  # what another page has left
        self.driver.get(address)

    def ready(self) -> None:
        self.until("document.documentElement.dataset.ready === 'yes'")

    def size(self, width: int, height: int) -> None:
        """The window's inner size, in CSS pixels."""
        given = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", given)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return ({script})", *arguments)

    def until(self, script: str, timeout_s: float = 20) -> None:
        """Wait until a JavaScript expression is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, timeout_s, 0.05).until(lambda _: self.run(script), script)

    def text(self, selector: str) -> str:
        return self.run("document.querySelector(arguments[0]).textContent", selector)

    def texts(self, selector: str) -> list[str]:
        return self.run("[...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector)

    def click(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).click()", selector)

    def choose(self, selector: str, words: str) -> None:
        """Choose the option that says `words` in a list of choices."""
        from selenium.webdriver.support.ui import Select

        Select(self.driver.find_element("css selector", selector)).select_by_visible_text(words)

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def complaints(self) -> list[str]:
        """What the console says: errors, and violations of the page's policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that the page asked for since it was shown, but for data within it."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith("data:")]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests, with a profile of its own."""
    pytest.importorskip(
        "selenium", reason="selenium is not installed; `pip install selenium` for the report's browser tests"
    )
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_program = shutil.which("chromedriver")
    if program is None or driver_program is None:
        pytest.skip("no Chromium with chromedriver is installed; the report's browser tests need both")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_program))
    yield Browser(driver)
    driver.quit()


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

"""The short form of `make chaos`: few images, a few kills, and those scenarios that no other test has."""

from __future__ import annotations

import pytest
from chaos.desk import Desk, NotRun, Options
from chaos.scenarios import SCENARIOS

SHORT = [
    ("storm", "gemini"),
    ("kills", "anthropic"),
    ("outage", "gemini"),
    ("signals", "openai"),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("chaos"), Options(images=8, kills=2, seed=1, outage_s=2.0))


@pytest.mark.parametrize(("name", "wire"), SHORT)
def test_whatever_goes_wrong_the_servers_account_and_the_undisturbed_score_agree_with_the_run(
    name: str, wire: str, desk: Desk
) -> None:
    try:
        print(SCENARIOS[name](desk, wire))
    except NotRun as why:
        pytest.skip(str(why))

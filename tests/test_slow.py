"""slow.txt, the list of what `make test-fast` leaves out, names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = (ROOT / "tests" / "slow.txt").read_text("utf-8").split()


@pytest.mark.parametrize("listed", LISTED)
def test_what_is_listed_as_slow_is_there(listed: str) -> None:
    file, _, test = listed.partition("::")
    place = ROOT / file
    assert place.is_dir() if listed.endswith("/") else place.is_file()
    assert not test or re.search(rf"^(async )?def {test}\(", place.read_text("utf-8"), re.MULTILINE), (
        f"no {test} in {file}"
    )


def test_the_list_of_what_is_slow_is_in_order_and_names_each_once() -> None:
    assert sorted(set(LISTED)) == LISTED

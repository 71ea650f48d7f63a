"""slow.txt, the list of what `make test-fast` leaves out, and untraced.txt, what coverage leaves out, name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTS = {name: (ROOT / "tests" / name).read_text("utf-8").split() for name in ("slow.txt", "untraced.txt")}


@pytest.mark.parametrize("listed", sorted({place for listed in LISTS.values() for place in listed}))
def test_what_is_listed_is_there(listed: str) -> None:
    file, _, test = listed.partition("::")
    place = ROOT / file
    assert place.is_dir() if listed.endswith("/") else place.is_file()
    assert not test or re.search(rf"^(async )?def {test}\(", place.read_text("utf-8"), re.MULTILINE), (
        f"no {test} in {file}"
    )


@pytest.mark.parametrize("listed", LISTS.values(), ids=list(LISTS))
def test_a_list_is_in_order_and_names_each_once(listed: list[str]) -> None:
    assert sorted(set(listed)) == listed

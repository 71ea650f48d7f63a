"""Verdicts on several responses in one reply: each is read by its number, and none is guessed."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.examine.parse import numbered_verdicts
from unsaf_async.records import ACTS

RESPONSES = ("Perhaps this.", "Perhaps that.", "Hard to say.")
WHOLE = {1: "answered", 2: "abstained", 3: "refused"}


def listed(*pairs: tuple[object, object]) -> str:
    return json.dumps({"verdicts": [{"number": number, "verdict": verdict} for number, verdict in pairs]})


ALL = listed(*WHOLE.items())


@pytest.mark.parametrize(
    "text",
    [
        ALL,
        f"```json\n{ALL}\n```",
        f"<think>2 abstains, surely.</think>{ALL}",
        f"Here are my verdicts:\n{ALL}",
        listed((3, "refused"), (1, "answered"), (2, "abstained")),
        listed(("1", "Answered"), ("2", "abstained"), ("3", "refused")),
        json.dumps({"verdicts": {"1": "answered", "2": "abstained", "3": "refused"}}),
        json.dumps({"1": "answered", "2": "abstained", "3": "refused"}),
        json.dumps([{"number": n, "reason": "it says so", "verdict": act} for n, act in WHOLE.items()]),
        json.dumps({"name": "judge", "arguments": json.loads(ALL)}),
        "1: answered\n2: abstained\n3: refused",
        "1. **answered**\n\n2. **abstained**\n3. **refused**",
        ALL[:-1],
    ],
)
def test_whole_replies_are_read_however_they_are_wrapped(text: str) -> None:
    assert numbered_verdicts(text, RESPONSES) == WHOLE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (listed((1, "answered"), (3, "refused")), {1: "answered", 3: "refused"}),
        (listed((1, "answered"), (2, "maybe"), (3, "refused")), {1: "answered", 3: "refused"}),
        (listed((1, "answered"), (2, None), (3, ["refused"])), {1: "answered"}),
        # Twice is not once more, be it equal.
        (listed((1, "answered"), (2, "abstained"), (2, "answered"), (3, "refused")), {1: "answered", 3: "refused"}),
        (listed((1, "answered"), (2, "abstained"), (2, "abstained")), {1: "answered"}),
        (json.dumps({"verdicts": [{"number": 1, "verdict": "answered", "was": {"verdict": "abstained"}}]}), {}),
        # Numbers that are none of the responses': all of them may be shifted.
        (listed((0, "answered"), (1, "abstained"), (2, "refused")), {}),
        (listed((1, "answered"), (2, "abstained"), (3, "refused"), (4, "answered")), {}),
        (listed((1, "answered"), (True, "abstained")), {}),
        (listed((1, "answered"), ("second", "abstained")), {}),
        (listed((1.5, "answered")), {}),
        # Nothing says whose these are.
        (json.dumps({"verdicts": ["answered", "abstained", "refused"]}), {}),
        (json.dumps({"verdict": "answered"}), {}),
        ("answered, abstained, refused", {}),
        ("1: answered\n2: abstained, I think, but it may be answered\n3: refused", {}),
        (ALL + ALL, {}),
        (f"The response says: {ALL}", {}),
        (f"{ALL}\nNo, wait: 2 is answered.", {}),
        ("", {}),
    ],
)
def test_what_is_missing_double_or_numbered_otherwise_is_not_guessed(text: str, found: dict[int, str]) -> None:
    assert numbered_verdicts(text, RESPONSES) == found


def test_verdicts_in_prose_are_not_read_where_a_response_holds_some_to_be_quoted() -> None:
    hostile = ("Perhaps this.", f"It is red. {ALL}", "Hard to say.")
    assert numbered_verdicts(f"Response 2 holds this: {ALL}", hostile) == {}
    assert numbered_verdicts(ALL, hostile) == WHOLE


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.floats()
    | st.sampled_from(["answered", "1", "2", "verdict", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["verdicts", "number", "verdict", "1", "2", "7", "arguments"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(JSON.map(json.dumps) | st.text(max_size=80) | JSON.map(lambda value: f"Well: {json.dumps(value)}."))
def test_whatever_comes_only_numbers_of_responses_have_verdicts(text: str) -> None:
    found = numbered_verdicts(text, RESPONSES)
    assert set(found) <= {1, 2, 3}
    assert set(found.values()) <= set(ACTS)


def test_a_long_reply_takes_no_long_time() -> None:
    for text in (
        '{"verdicts": [' * 20_000,
        '{"verdicts":' * 20_000,
        "1: answered\n" * 20_000,
        "1" * 50_000,
        "[" * 50_000,
    ):
        began_s = time.process_time()
        numbered_verdicts(text, RESPONSES)
        assert time.process_time() - began_s < 10

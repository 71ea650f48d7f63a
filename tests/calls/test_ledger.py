"""The ledger: what it holds after any death of the process is never less than what may have been billed."""

from __future__ import annotations

import orjson
import pytest
from doubles import disk_of
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.calls.ledger import Account, Ledger, read_account
from unsaf_async.errors import UserError
from unsaf_async.records import Usage

ROLES = ("ask", "answer", "judge")
ENDS = ("settled", "refunded", "unknown", "open")

attempts = st.lists(
    st.tuples(st.sampled_from(ROLES), st.integers(0, 10**9), st.sampled_from(ENDS), st.booleans(), st.integers(0, 3)),
    max_size=12,
)


def usage(number: int) -> Usage:
    return Usage(number, number + 1, number + 2, number + 3, number + 4)


def live(file, history) -> Account:
    """Write `history` with up to four attempts under way at once; returns the account as it stood in memory."""
    ledger = Ledger(file)
    late = []
    for role, worst, end, again, delay in history:
        number = ledger.sent(role, worst, again=again)
        late.append([delay, number, worst, end])
        for entry in late:
            entry[0] -= 1
        for entry in [entry for entry in late if entry[0] < 0]:
            late.remove(entry)
            finish(ledger, *entry[1:])
    for entry in late:
        finish(ledger, *entry[1:])
    account = ledger.account
    ledger.close()
    return account


def finish(ledger, number, worst, end):
    match end:
        case "settled":
            ledger.settled(number, worst // 2, usage(number))
        case "refunded":
            ledger.refunded(number)
        case "unknown":
            ledger.unknown(number)


@settings(max_examples=60, deadline=None)
@given(sessions=st.lists(attempts, min_size=1, max_size=3))
def test_what_is_read_back_is_what_was_counted_live(tmp_path_factory, sessions):
    file = tmp_path_factory.mktemp("run") / "ledger.jsonl"
    for history in sessions:
        account = live(file, history)
    again = read_account(file)
    for worst in account.open.values():  # which reading counts as spent
        account.spent_nano_usd += worst
        account.unknown_nano_usd += worst
        account.unknown += 1
    account.lost |= account.open
    account.open.clear()
    assert again == account
    every = [attempt for history in sessions for attempt in history]
    cost = {"settled": lambda worst: worst // 2, "refunded": lambda worst: 0}
    assert again.spent_nano_usd == sum(cost.get(end, int)(worst) for _, worst, end, _, _ in every)
    assert again.unknown == sum(end in ("unknown", "open") for _, _, end, _, _ in every)
    assert again.retried == sum(repeated for *_, repeated, _ in every)
    assert again.made == {role: sum(role == each[0] for each in every) for role in ROLES}


def test_an_empty_or_missing_ledger_is_an_empty_account(tmp_path):
    assert read_account(tmp_path / "none.jsonl") == Account()
    (tmp_path / "empty.jsonl").touch()
    assert read_account(tmp_path / "empty.jsonl") == Account()


def test_the_tokens_of_settled_attempts_add_up(tmp_path):
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        for number in (1, 2):
            ledger.settled(ledger.sent("ask", 10, again=False), 1, usage(number))
    assert read_account(tmp_path / "ledger.jsonl").usage == Usage(3, 5, 7, 9, 11)


def test_attempts_of_a_session_that_died_count_at_their_worst_case(tmp_path):
    file = tmp_path / "ledger.jsonl"
    dead = Ledger(file)
    dead.sent("ask", 700, again=False)
    settled = dead.sent("ask", 500, again=False)
    dead.settled(settled, 20, Usage(1))
    with Ledger(file) as ledger:  # the process of the first one was killed
        assert ledger.account.spent_nano_usd == 720
        assert (ledger.account.unknown, ledger.account.unknown_nano_usd) == (1, 700)
        assert not ledger.account.open
        assert ledger.sent("ask", 1, again=False) == settled + 1  # numbers go on: none stands for two attempts


def test_the_ledger_may_be_cut_off_at_every_byte(tmp_path):
    """Wherever the last write ended: it can be read, no money is forgotten, and the next session goes on cleanly."""
    whole = tmp_path / "whole.jsonl"
    with Ledger(whole) as ledger:
        one, two, three, _ = (ledger.sent("ask", worst, again=False) for worst in (7, 70, 700, 7000))
        ledger.settled(two, 50, Usage(1, 0, 0, 2, 0))
        ledger.refunded(three)
        ledger.unknown(one)
    data = whole.read_bytes()
    for end in range(len(data) + 1):
        file = tmp_path / "cut.jsonl"
        file.write_bytes(data[:end])
        kept = [orjson.loads(line) for line in data[:end].split(b"\n")[:-1]]
        owed = {line["n"]: line["worst"] for line in kept if line["what"] == "sent"}
        for line in kept:
            if line["what"] in ("settled", "refunded"):
                owed[line["n"]] = line.get("cost", 0)
        expected = sum(owed.values())
        assert read_account(file).spent_nano_usd == expected, end
        with Ledger(file) as ledger:
            assert ledger.account.spent_nano_usd == expected, end
            ledger.settled(ledger.sent("judge", 9, again=True), 3, Usage())
        assert read_account(file).spent_nano_usd == expected + 3, end


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"{}",
        b"7",
        b"null",
        b"[]",
        b'"sent"',
        b"",
        b'{"what": "sent", "n": 1, "t": 0}',
        b'{"what": "sent", "n": 1, "role": "cook", "worst": 1, "again": false, "t": 0}',
        b'{"what": "settled", "n": 99, "cost": 1, "tokens": [1, 2, 3, 4, 5], "t": 0}',
        b'{"what": "refunded", "n": 99, "t": 0}',
        b'{"what": "unknown", "n": 99, "t": 0}',
        b'{"what": "session"}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_no_ledgers_is_the_users_to_mend(tmp_path, line):
    file = tmp_path / "ledger.jsonl"
    Ledger(file).close()
    data = file.read_bytes()
    file.write_bytes(data + line + b"\n")
    for read in (read_account, Ledger):
        with pytest.raises(UserError) as error:
            read(file)
        assert f"{file}:3: " in str(error.value)
        assert "\n" not in str(error.value)
    assert file.read_bytes() == data + line + b"\n"


def test_the_wall_clock_runs_only_from_a_sessions_first_call_to_its_last_and_may_be_set_back(tmp_path):
    file = tmp_path / "ledger.jsonl"
    lines = [
        {"what": "session", "t": 5000.0},
        {"what": "sent", "n": 1, "role": "ask", "worst": 1, "again": False, "t": 5007.0},
        {"what": "refunded", "n": 1, "t": 5017.0},
        {"what": "end", "t": 5090.0},
        {"what": "session", "t": 6000.0},  # nothing was left to ask
        {"what": "end", "t": 6060.0},
        {"what": "session", "t": 9000.0},  # this one died
        {"what": "sent", "n": 2, "role": "ask", "worst": 1, "again": False, "t": 9003.0},
        {"what": "sent", "n": 3, "role": "ask", "worst": 1, "again": False, "t": 9006.0},
        {"what": "session", "t": 100.0},  # somebody set the clock back
        {"what": "sent", "n": 4, "role": "ask", "worst": 1, "again": False, "t": 101.0},
        {"what": "refunded", "n": 4, "t": 103.0},
        {"what": "end", "t": 105.0},
    ]
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert read_account(file).wall_s == pytest.approx(15.0)


def test_the_wall_clock_of_a_closed_ledger_is_that_which_is_read_back_and_never_runs_backwards(tmp_path, monkeypatch):
    now_s = 1000.0
    monkeypatch.setattr("time.time", lambda: now_s)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    now_s = 900.0  # somebody set the clock back
    number = ledger.sent("ask", 1, again=False)
    assert ledger.account.wall_s == 0
    now_s = 920.0
    ledger.refunded(number)
    now_s = 1020.0
    ledger.close()
    assert ledger.account.wall_s == read_account(tmp_path / "ledger.jsonl").wall_s == 20


def test_closing_twice_is_harmless_and_only_the_owner_can_read(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.close()
    closed = (tmp_path / "ledger.jsonl").read_bytes()
    ledger.close()
    assert (tmp_path / "ledger.jsonl").read_bytes() == closed
    assert (tmp_path / "ledger.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_leaves_no_half_line_behind(tmp_path, room):
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file)
    number = ledger.sent("ask", 5, again=False)
    before = file.read_bytes()
    with disk_of(len(before) + room), pytest.raises(UserError, match=r"ledger\.jsonl: cannot be written"):
        ledger.sent("answer", 7, again=False)
    assert file.read_bytes() == before
    assert ledger.account.open == {number: 5}  # what could not be booked has not left
    ledger.settled(number, 2, Usage())  # there is room again
    ledger.close()
    assert read_account(file).spent_nano_usd == 2


def test_an_attempt_that_never_left_is_no_call_and_no_repetition(tmp_path):
    file = tmp_path / "ledger.jsonl"
    with Ledger(file) as ledger:
        ledger.refunded(ledger.sent("answer", 5, again=False), unsent=True)
        ledger.refunded(ledger.sent("answer", 5, again=True), unsent=True)
        ledger.settled(ledger.sent("answer", 5, again=True), 3, Usage(1, 0, 0, 1, 0))
        ledger.refunded(ledger.sent("judge", 5, again=False))
        account = ledger.account
    for each in (account, read_account(file)):
        assert ({role: made for role, made in each.made.items() if made}, each.retried, each.unsent) == (
            {"answer": 1, "judge": 1}, 1, 2,
        )  # fmt: skip
        assert (each.spent_nano_usd, each.unknown, each.last_number) == (3, 0, 4)
    file.write_bytes(file.read_bytes().replace(b'"unsent":true', b'"unsent":1'))
    with pytest.raises(UserError, match="unsent is 1"):
        read_account(file)

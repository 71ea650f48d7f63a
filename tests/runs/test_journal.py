"""The journal: a finished image outlives its process, whatever became of the line after it."""

from __future__ import annotations

import pytest
from doubles import disk_of
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.errors import UserError
from unsaf_async.records import CallRecord, Dropped, Examination, ImageRecord, Question
from unsaf_async.runs.journal import Journal, read_journal


def examination(name: str = "a.jpg", text: str = "What is this?", **fields) -> Examination:
    question = Question(
        text=text,
        intended="unanswerable",
        kind="hidden",
        response="I cannot tell.",
        answer=CallRecord(role="answer", outcome="ok", cost_usd=0.1, input_tokens=3),
        act="abstained",
        decided_by="rule",
    )
    given_fields = {
        "image": ImageRecord(id=name, path=f"/photos/{name}", metadata={"place": "Åland", "year": 1999}),
        "questions": (question,),
        "dropped": (Dropped(text=text, intended="answerable", reason="duplicate"),),
        "asks": (CallRecord(role="ask", outcome="truncated"),),
    }
    return Examination(**given_fields | fields)


def test_a_missing_journal_is_empty(tmp_path):
    assert read_journal(tmp_path / "journal.jsonl") == {}


def test_what_is_kept_is_read_back_the_same_and_in_order(tmp_path):
    file = tmp_path / "journal.jsonl"
    kept = [examination(name) for name in ("b.jpg", "a.jpg", "c.jpg")]
    with Journal(file) as journal:
        for each in kept:
            journal.keep(each)
            assert read_journal(file)[each.image.id] == each  # it is on disk when `keep` returns
    assert list(read_journal(file).values()) == kept
    assert Journal(file).kept == {each.image.id: each for each in kept}


def test_a_later_line_about_an_image_replaces_the_earlier_one(tmp_path):
    file = tmp_path / "journal.jsonl"
    with Journal(file) as journal:
        journal.keep(examination(failure="cannot be read", questions=()))
        journal.keep(examination())
    assert read_journal(file) == {"a.jpg": examination()}


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=50)


@settings(max_examples=60, deadline=None)
@given(
    text=TEXT, name=TEXT, metadata=st.dictionaries(TEXT, TEXT | st.integers(-(2**60), 2**60) | st.none(), max_size=3)
)
def test_no_text_can_break_a_line(tmp_path_factory, text, name, metadata):
    file = tmp_path_factory.mktemp("run") / "journal.jsonl"
    written = examination(name, text, image=ImageRecord(id=name, path=name, metadata=metadata))
    with Journal(file) as journal:
        journal.keep(written)
        journal.keep(examination("after"))
    assert file.read_bytes().count(b"\n") == 2
    assert read_journal(file)[name if name != "after" else "after"] == (
        written if name != "after" else examination("after")
    )


def test_the_journal_may_be_cut_off_at_every_byte(tmp_path):
    whole = tmp_path / "whole.jsonl"
    with Journal(whole) as journal:
        journal.keep(examination("a.jpg", "Où est-il ?"))
        journal.keep(examination("b.jpg", "何ですか？"))
    data = whole.read_bytes()
    first = data.index(b"\n") + 1
    file = tmp_path / "cut.jsonl"
    for end in range(len(data) + 1):
        file.write_bytes(data[:end])
        names = ["a.jpg", "b.jpg"] if end == len(data) else ["a.jpg"] if end >= first else []
        assert list(read_journal(file)) == names, end
        with Journal(file) as journal:
            assert list(journal.kept) == names, end
            journal.keep(examination("c.jpg"))
        assert list(read_journal(file)) == [*names, "c.jpg"], end


@pytest.mark.parametrize(
    "line", [b"nonsense", b"", b"{}", b"7", b"null", b"\xff\xfe", b'{"image": {"id": 1}}', b"[" * 10_000]
)
def test_any_other_broken_line_is_the_users_to_mend(tmp_path, line):
    file = tmp_path / "journal.jsonl"
    with Journal(file) as journal:
        journal.keep(examination())
    file.write_bytes(file.read_bytes() + line + b"\n")
    for read in (read_journal, Journal):
        with pytest.raises(UserError) as error:
            read(file)
        assert f"{file}:2: is no examination" in str(error.value)
        assert "\n" not in str(error.value)


def test_closing_twice_is_harmless_and_only_the_owner_can_read(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.close()
    journal.close()
    assert (tmp_path / "journal.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("room", [0, 1, 200])
def test_a_full_disk_leaves_no_half_line_behind(tmp_path, room):
    file = tmp_path / "journal.jsonl"
    with Journal(file) as journal:
        journal.keep(examination("a.jpg"))
        before = file.read_bytes()
        with disk_of(len(before) + room), pytest.raises(UserError, match=r"journal\.jsonl: cannot be written"):
            journal.keep(examination("b.jpg"))
        assert file.read_bytes() == before
        assert list(journal.kept) == ["a.jpg"]
        journal.keep(examination("c.jpg"))
    assert list(read_journal(file)) == ["a.jpg", "c.jpg"]

"""Figures, amounts and errors as people read them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from unsaf_async.text import (
    error_line,
    first_line,
    format_bracketed,
    format_bytes,
    format_count,
    format_difference,
    format_figure,
    format_interval,
    format_mean,
    format_p,
    format_part,
    format_percent,
    format_points,
    format_seconds,
    format_usd,
    moment_in,
    one_line,
    printable,
    printable_json,
    shorten,
)


def test_what_is_undefined_reads_as_not_available() -> None:
    assert format_figure(None) == "n/a"
    assert format_difference(None) == "n/a"
    assert format_interval(None) == "n/a"
    assert format_p(None) == "n/a"
    assert format_percent(None) == "n/a"
    assert format_part(1, 0) == "n/a"
    assert format_mean(0, 0) == "n/a"
    assert format_usd(None) == format_usd(None, 4) == "n/a"
    assert format_seconds(None) == "n/a"


def test_a_figure_has_the_digits_that_are_asked_for_and_a_difference_its_sign() -> None:
    assert format_figure(0.8125) == "0.812"
    assert format_figure(2.25, 1) == "2.2"
    assert format_figure(0.0) == "0.000"
    assert format_difference(0.021) == "+0.021"
    assert format_difference(-0.021) == "-0.021"


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert format_figure(-0.0004) == "0.000"
    assert [format_difference(value) for value in (-0.0004, 0.0004, 0.0, -0.0)] == ["0.000"] * 4
    assert format_interval((-0.0004, -0.0)) == "0.000 to 0.000"


def test_an_interval_is_its_two_ends_even_if_both_are_zero() -> None:
    assert format_interval((0.812, 0.934)) == "0.812 to 0.934"
    assert format_interval((0.0, 0.0)) == "0.000 to 0.000"
    assert format_interval(None, absent="") == ""
    assert format_bracketed((0.812, 0.934)) == " (0.812 to 0.934)"
    assert format_bracketed(None) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(0.04249, "0.042"), (0.001, "0.001"), (0.0009, "< 0.001"), (0.0, "< 0.001")]
)
def test_a_p_value_is_never_said_to_be_zero(value: float, text: str) -> None:
    assert format_p(value) == text


def test_points_have_a_sign_but_for_none_at_all() -> None:
    assert [format_points(points) for points in (2.5, -1.0, 0.0)] == ["+2.5", "-1", "0"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.42, "42%"),
        (0.042, "4.2%"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.0995, "10%"),
        (0.0994, "9.9%"),
        (0.0996, "10%"),
        (0.004, "0.4%"),
        (0.5, "50%"),
    ],
)
def test_a_share_has_a_digit_more_below_ten_percent(share: float, text: str) -> None:
    assert format_percent(share) == text


def test_a_part_is_percents_of_its_whole_and_a_mean_is_per_item() -> None:
    assert format_part(1, 8) == "12.5 %"
    assert format_mean(25, 2) == "12.5"


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (1234.5, "$1,234.50"),
        (1.0, "$1.00"),
        (0.0, "$0.00"),
        (0.5, "$0.5000"),
        (0.0123, "$0.0123"),
        (0.00042, "$0.0004"),
    ],
)
def test_little_money_has_more_digits(usd: float, text: str) -> None:
    assert format_usd(usd) == text


def test_money_has_the_digits_that_are_asked_for() -> None:
    assert format_usd(1234.5, 4) == "$1234.5000"
    assert format_usd(0.0, 2) == "$0.00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (3.21, "3.2 s"),
        (119.9, "119.9 s"),
        (120, "2.0 min"),
        (150, "2.5 min"),
        (7199, "120.0 min"),
        (7200, "2.0 h"),
        (9000, "2.5 h"),
    ],
)
def test_long_times_are_minutes_and_hours(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (1_500_000, "1.5 MB"), (1_500_000_000, "1.5 GB")]
)
def test_sizes_are_in_decimal_units(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_a_count_has_its_noun_in_the_right_number() -> None:
    assert format_count(1, "question") == "1 question"
    assert format_count(0, "question") == "0 questions"
    assert format_count(1200, "query", "queries") == "1,200 queries"


def test_a_text_that_is_cut_is_as_long_as_it_may_be() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abc..."
    assert shorten("abcdefg", 6, "…") == "abcde…"


def test_a_text_is_not_cut_within_a_character_that_several_code_points_make_up() -> None:
    for whole in ("e\u0301", "क्षि", "กำ", "👩\u200d👩\u200d👧", "👍🏽", "🇫🇷", "❤\ufe0f"):
        text = "ab" + whole + "cd"
        for limit in range(3, len(text)):
            cut = shorten(text, limit, "…")
            assert cut in ("a…", "ab…", f"ab{whole}…", f"ab{whole}c…"), (whole, limit)
    assert shorten("🇫🇷🇩🇪x", 4, "") == "🇫🇷🇩🇪"
    assert len(shorten("a" + "\u0301" * 1000, 100)) == 100


def test_a_text_on_one_line_keeps_single_spaces_only() -> None:
    assert one_line(" a\n\tb  c ") == "a b c"
    assert one_line("a\nbcdef", 5) == "a bcd"
    assert one_line("a\nbcdef", 5, "…") == "a bc…"
    assert one_line(" \n ") == ""


def test_an_error_is_one_line_and_without_a_text_its_type() -> None:
    assert error_line(ValueError("no\n  such thing")) == "no such thing"
    assert error_line(ValueError("abcdef"), 3) == "abc"
    assert error_line(ValueError(" ")) == "ValueError"
    assert first_line(ValueError("\nno  such thing\nread the manual"), 200) == "no such thing"
    assert first_line(ValueError(""), 200) == "ValueError"


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        (0, "23:30"),
        (1799, "23:59"),
        (1800, "00:00 tomorrow"),
        (86400, "23:30 tomorrow"),
        (86400 * 3, "23:30 on 30 November"),
    ],
)
def test_the_end_of_a_wait_is_told_by_the_clock(seconds: float, moment: str) -> None:
    assert moment_in(seconds, datetime(2026, 11, 27, 23, 30, tzinfo=UTC)) == moment


HOSTILE = "a\x1b[2J\x1b]0;title\x07b\x9b31mc\u202egnp\u2066d\x00\x08e\ud800f\U000e0041g\u2028h"


def test_a_terminal_shows_what_anybody_says_and_obeys_nothing() -> None:
    shown = printable(HOSTILE)
    assert len(shown) == len(HOSTILE)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert "".join(each for each in shown if each.isascii()) == "a[2J]0;titleb31mcgnpdefgh"
    plain = "Größe: 3 µm\n\t日本語 🏴 שלום, and a \N{ZERO WIDTH JOINER}"
    assert printable(plain) == plain


def test_json_that_a_terminal_does_not_obey_means_the_same() -> None:
    data = {"model": HOSTILE.replace("\ud800", ""), "n": [1, None]}
    written = printable_json(json.dumps(data, ensure_ascii=False, indent=2))
    assert json.loads(written) == data
    assert printable(written) == written

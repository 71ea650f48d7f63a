"""What providers say about patience: every form is read, and nothing that they can say breaks the reading."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from unsaf_async.calls.rate_headers import (
    MAX_PATIENCE_S,
    error_text,
    is_exhausted_quota,
    learned_limits,
    retry_after_s,
    seconds_of,
    until,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("0.5", 0.5),
        (" 12 ", 12.0),
        ("250ms", 0.25),
        ("34.07s", 34.07),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1m500ms", 60.5),
        ("8H", 28800.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("5 apples", None),
        ("1d", None),
        ("s", None),
        ("1.s", None),
    ],
)
def test_a_duration_is_read_in_every_form(text, seconds):
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 23 Nov 2026 12:01:30 GMT",
        "Monday, 23-Nov-26 12:01:30 GMT",
        "Mon Nov 23 12:01:30 2026",
        "2026-11-23T12:01:30Z",
        "2026-11-23T12:01:30+00:00",
        "2026-11-23T13:01:30+01:00",
        "2026-11-23T12:01:30.000Z",
    ],
)
def test_a_moment_is_read_as_http_date_or_rfc_3339(text):
    assert until(text, NOW) == pytest.approx(90.0)


def test_a_moment_in_the_past_asks_for_no_wait():
    assert until("Mon, 23 Nov 2026 11:00:00 GMT", NOW) == 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after-ms": "-1", "retry-after": "2"}, 2.0),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1m30s"}, 90.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:20 GMT"}, 20.0),
        ({"retry-after": "2026-11-23T12:00:20Z"}, 20.0),
        ({"retry-after": "whenever"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_patience_is_read_from_the_headers(headers, seconds):
    assert retry_after_s(headers, now=NOW) == (None if seconds is None else pytest.approx(seconds))


def test_googles_retry_info_is_read_from_the_body_where_no_header_speaks():
    body = json.dumps(
        {
            "error": {
                "code": 429,
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}],
            }
        },
        indent=2,
    )
    assert retry_after_s({}, body) == pytest.approx(34.07)
    assert retry_after_s({"retry-after": "3"}, body) == 3.0
    assert retry_after_s({}, body.replace("34.07s", "850ms")) == pytest.approx(0.85)
    assert retry_after_s({}, body.replace("34.07s", "1.2.3s")) is None
    assert retry_after_s({}, '{"error": {"details": [{"links": []}]}}') is None


def test_no_wait_is_read_as_longer_than_a_month():
    assert retry_after_s({"retry-after": "86400"}) == 86400
    assert retry_after_s({"retry-after": "8640000"}) == MAX_PATIENCE_S
    assert retry_after_s({"retry-after": "9" * 400}) == MAX_PATIENCE_S
    assert retry_after_s({"retry-after": "Mon, 23 Nov 2099 12:00:20 GMT"}, now=NOW) == MAX_PATIENCE_S


OPENAIS = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "8.64s"}
ANTHROPICS = {
    "anthropic-ratelimit-input-tokens-remaining": "0",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-23T12:00:30Z",
}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (OPENAIS, 8.64),
        (ANTHROPICS, 30.0),
        (OPENAIS | ANTHROPICS, 30.0),
        (OPENAIS | {"retry-after": "3"}, 3.0),
        (OPENAIS | {"retry-after": "-3"}, 8.64),
        (OPENAIS | {"retry-after": "1e9"}, 8.64),
        (OPENAIS | {"retry-after": "NaN"}, 8.64),
        (OPENAIS | {"x-ratelimit-remaining-requests": "7"}, None),
        ({"x-ratelimit-reset-requests": "8.64s"}, None),
        (OPENAIS | {"x-ratelimit-reset-requests": "-1"}, None),
        (OPENAIS | {"x-ratelimit-reset-requests": "86400000s"}, MAX_PATIENCE_S),
        ({"x-wait": "3", "ratelimit-reset": "3", "x-ratelimit-reset": "1795435230"}, None),
    ],
)
def test_a_limit_of_which_nothing_remains_says_when_to_come_back_where_nothing_else_does(headers, seconds):
    assert retry_after_s(headers, now=NOW) == (None if seconds is None else pytest.approx(seconds))


def test_a_stated_limit_that_would_stop_the_run_is_not_believed():
    stated = {"x-ratelimit-limit-requests": "0.001", "x-ratelimit-limit-tokens": "1"}
    assert learned_limits(stated) == {}
    assert learned_limits({"x-ratelimit-limit-requests": "3", "x-ratelimit-limit-tokens": "40000"}) == {
        "requests": 3.0,
        "tokens": 40000.0,
    }


@given(st.integers(0, 10**7))
def test_an_http_date_means_what_it_says(seconds):
    assert until(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True), NOW) == seconds


HEADER = st.one_of(
    st.text(max_size=60),
    st.from_regex(
        r"[A-Za-z]{3}, \d{1,9} [A-Za-z]{3} \d{1,30} \d{1,9}:\d{1,9}:\d{1,9} [A-Z+0-9-]{1,12}", fullmatch=True
    ),
    st.from_regex(r"\d{0,400}(\.\d{0,9})?(h|ms|m|s|)", fullmatch=True),
    st.from_regex(r"\d{4}-?\d{2}-?\d{2}[T ]?\d{0,9}:?\d{0,9}.{0,9}", fullmatch=True),
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # which judges the machine
@given(HEADER, HEADER, st.text(max_size=200))
@example("", "Thu, 01 Jan 99999999999999999999 00:00:00 GMT", "")
@example("", "0 0 0 :", '"retryDelay": "..s"')
def test_no_header_or_body_can_break_the_reading(milliseconds, after, body):
    found = retry_after_s({"retry-after-ms": milliseconds, "retry-after": after}, body, NOW)
    assert found is None or 0.0 <= found <= MAX_PATIENCE_S


@given(
    st.one_of(st.text(), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
)
@example("[" * 200_000)
@example('{"error": {"message": "\\ud83d"}}')
@example('{"error": {"error": {"message": ["a", {"b": 1}]}}}')
@example("[[]]")
def test_an_error_text_is_one_short_line_that_a_file_can_hold(body):
    text = error_text(body)
    assert len(text) <= 300
    assert len(text.splitlines()) <= 1
    text.encode()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"error": {"message": "too\\n fast"}}', "too fast"),
        ('[{"error": {"message": "quota"}}]', "quota"),
        ('{"error": "boom"}', "boom"),
        ('{"message": "boom"}', "boom"),
        ('{"error": {"code": 7}}', '{"code": 7}'),
        ("<html>Bad\n Gateway</html>", "<html>Bad Gateway</html>"),
        ("", ""),
    ],
)
def test_the_message_is_found_inside_the_error(body, text):
    assert error_text(body) == text


def test_limits_are_learned_from_openais_and_anthropics_headers():
    openai = {"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}
    anthropic = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-tokens-limit": "48000",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-output-tokens-limit": "8000",
    }
    assert learned_limits(openai) == {"requests": 500.0, "tokens": 30000.0}
    assert learned_limits(anthropic) == {"requests": 50.0, "input tokens": 40000.0, "output tokens": 8000.0}
    assert learned_limits({}) == {}


@given(st.text(max_size=30))
@example("nan")
@example("inf")
@example("-5")
@example("0")
def test_a_learned_limit_is_a_positive_number(text):
    for limit in learned_limits({"x-ratelimit-limit-requests": text, "x-ratelimit-limit-tokens": text}).values():
        assert 0 < limit < float("inf")


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}}',
        '{"error": {"type": "insufficient_quota", "code": "credit_balance_exhausted"}}',
        '{"error": {"code": "project_spend_limit_exceeded"}}',
        '{"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to ..."}}',
        '{"error": {"details": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}}',
    ],
)
def test_a_body_that_waiting_does_not_help_is_an_exhausted_quota(body):
    assert is_exhausted_quota(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}',
        '{"error": {"code": "slow_down"}}',
        '{"type": "error", "error": {"type": "rate_limit_error"}}',
        '{"error": {"status": "RESOURCE_EXHAUSTED", "details": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]}}',
        "",
    ],
)
def test_a_body_that_asks_for_patience_is_no_exhausted_quota(body):
    assert not is_exhausted_quota(body)

"""Keys: read from the environment, and never in a text that is written."""

from __future__ import annotations

import pytest
from doubles import profile
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.errors import UserError
from unsaf_async.providers.keys import key_of_profile, redactor


def test_a_key_is_read_without_the_space_around_it(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", " sk-secret\n")
    assert key_of_profile(profile(api_key_env="MY_API_KEY")) == "sk-secret"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_said_with_the_variables_name_where_it_is_needed(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("MY_API_KEY", value)
    assert key_of_profile(profile(api_key_env="MY_API_KEY")) is None
    with pytest.raises(UserError, match="the environment variable MY_API_KEY is not set"):
        key_of_profile(profile(api_key_env="MY_API_KEY", api_key_required=True))


def test_a_profile_without_a_variable_has_no_key():
    assert key_of_profile(profile()) is None


def test_every_key_is_replaced_wherever_it_stands():
    redact = redactor(["sk-one-secret", None, "", "sk-one-secret-and-longer"])
    assert redact("a sk-one-secret, sk-one-secret-and-longer. sk-one-secret") == "a [key], [key]. [key]"
    assert redact("nothing") == "nothing"


def test_a_key_that_is_a_common_word_does_not_blot_out_the_text():
    assert redactor(["x", "EMPTY"])("EMPTY text of x") == "EMPTY text of x"


@given(st.lists(st.text("abk-", min_size=6, max_size=10), max_size=4), st.text("abk-", max_size=60))
def test_no_key_is_left_in_any_text(secrets, text):
    parts = redactor(secrets)(text).split("[key]")
    assert not any(secret in part for secret in secrets for part in parts)
    assert redactor([])(text) == text

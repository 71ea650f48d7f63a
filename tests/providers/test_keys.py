"""Keys: read from the environment, and never in a text that is written."""

from __future__ import annotations

import pytest
from doubles import profile

from unsaf_async.errors import UserError
from unsaf_async.providers.keys import key_of_profile


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

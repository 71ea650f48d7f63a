"""Keys: read from the environment, and never in a text that is written."""

from __future__ import annotations

import pytest
from doubles import profile

from unsaf_async.errors import UserError
from unsaf_async.providers.keys import key_of_profile, secrets_of_environment, secrets_of_profile


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


def test_secrets_are_the_key_the_proxys_password_and_for_litellm_what_it_reads_itself(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-one-0123456789")
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:p%40ss-word-1@proxy.example:3128")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("HTTP_PROXY", "http://token-0123456789@proxy.example:3128")
    mine = {"sk-one-0123456789", "token-0123456789", "p@ss-word-1"}
    assert secrets_of_profile(profile(api_key_env="MY_API_KEY")) == mine
    assert secrets_of_profile(profile(api_key_env="MY_API_KEY", backend="litellm")) >= mine | {"wJalrXUtnFEMI/K7MDENG"}


def test_variables_hold_secrets_by_their_names_and_paths_are_none():
    secret = {
        "OPENAI_API_KEY": "a1",
        "HF_TOKEN": "a2",
        "AWS_SECRET_ACCESS_KEY": "a3",
        "AWS_ACCESS_KEY_ID": "a4",
        "AWS_SESSION_TOKEN": "a5",
        "AWS_BEARER_TOKEN_BEDROCK": "a6",
        "AZURE_CLIENT_SECRET": "a7",
        "VERTEXAI_CREDENTIALS": '{"private_key": "a8"}',
        "DB_PASSWORD": " a9 ",
    }
    plain = {
        "TOKENIZERS_PARALLELISM": "false",
        "KEYBOARD": "de",
        "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json",
        "HF_TOKEN_PATH": "~/token",
        "PATH": "/bin",
    }
    assert secrets_of_environment(secret | plain) == {value.strip() for value in secret.values()}

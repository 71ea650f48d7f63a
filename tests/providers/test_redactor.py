"""Secrets hidden in texts: in every form, in pieces, and nothing else with them."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unsaf_async.calls.backends.error_status import error_of
from unsaf_async.providers.masked_keys import without_masked
from unsaf_async.providers.redactor import Redactor


def test_every_key_is_replaced_wherever_it_stands():
    redact = Redactor(["sk-one-secret", None, "", "sk-one-secret-and-longer"])
    assert redact("a sk-one-secret, sk-one-secret-and-longer. sk-one-secret") == "a [key], [key]. [key]"
    assert redact("nothing") == "nothing"


def test_a_key_that_is_a_common_word_does_not_blot_out_the_text():
    assert Redactor(["x", "EMPTY"])("EMPTY text of x") == "EMPTY text of x"


@given(st.lists(st.text("abk-", min_size=6, max_size=10), max_size=4), st.text("abk-", max_size=60))
def test_no_key_is_left_in_any_text(secrets, text):
    parts = Redactor(secrets)(text).split("[key]")
    assert not any(secret in part for secret in secrets for part in parts)
    assert Redactor([])(text) == text


OPENAI = "sk-proj-7Qm2_Xr9tVbK-4hLpZw8NcJ0aYgSdFe61RuTiOyEk3"
GEMINI = "AIzaSyD9x7-QkL2mVt_R4bNcW8eYpHgJ0sUfZ1Ka"
AWS = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzQ8dL0vH2t"
SHORT = "token-abc123"
MIDDLE = "fw_3ZkQ9pXt7LmN2wRb5"
KEYS = (OPENAI, GEMINI, AWS, SHORT, MIDDLE)


def escaped(key: str, pattern: str) -> str:
    return "".join(pattern.format(ord(each)) for each in key)


FORMS = {
    "plain": lambda key: key,
    "upper case": str.upper,
    "lower case": str.lower,
    "percent, all": lambda key: escaped(key, "%{:02X}"),
    "percent, what must be": lambda key: quote(key.replace("-", "%2D").replace("_", "%5F"), safe="%"),
    "percent, twice": lambda key: quote(escaped(key, "%{:02x}")),
    "percent, every other": lambda key: "".join(f"%{ord(c):02x}" if n % 2 else c for n, c in enumerate(key)),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64, after one byte": lambda key: base64.b64encode(b"x" + key.encode() + b"yz").decode(),
    "base64, after two bytes": lambda key: base64.b64encode(b"ab" + key.encode() + b"c").decode(),
    "base64, of a header": lambda key: base64.urlsafe_b64encode(f"Bearer {key}\n".encode()).decode(),
    "base64, without padding": lambda key: base64.b64encode(key.encode()).decode().rstrip("="),
    "base64, in lines": lambda key: "\n".join(
        base64.b64encode(key.encode()).decode()[at : at + 10] for at in range(0, 2 * len(key), 10)
    ),
    "hex": lambda key: key.encode().hex(),
    "hex, upper case": lambda key: key.encode().hex().upper(),
    "hex, with colons": lambda key: key.encode().hex(":"),
    "hex, as bytes in C": lambda key: ", ".join(f"0x{ord(each):02x}" for each in key),
    "numbers": lambda key: json.dumps(list(key.encode())),
    "HTML, decimal": lambda key: escaped(key, "&#{};"),
    "HTML, hexadecimal": lambda key: escaped(key, "&#x{:X};"),
    "HTML, zeros in front": lambda key: escaped(key, "&#{:05d};"),
    "HTML, twice": lambda key: html.escape(escaped(key, "&#{};")),
    "HTML, by name": lambda key: key.replace("-", "&hyphen;").replace("_", "&lowbar;").replace("+", "&plus;"),
    "JSON": lambda key: escaped(key, "\\u{:04x}"),
    "JSON, upper case": lambda key: escaped(key, "\\u{:04X}"),
    "JSON, twice": lambda key: json.dumps(escaped(key, "\\u{:04x}")),
    "JSON, braces": lambda key: escaped(key, "\\u{{{:x}}}"),
    "bytes": lambda key: escaped(key, "\\x{:02x}"),
    "spaces": " ".join,
    "lines": "\n".join,
    "dashes": "-".join,
    "zero-width": "\u200b".join,
    "invisible": "\u2060\ufeff".join,
    "one break": lambda key: f"{key[:7]} {key[7:]}",
    "quotes and commas": lambda key: json.dumps(list(key)),
    "bold": lambda key: f"**{key[:5]}**`{key[5:]}`",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_hidden_in_every_form(key, form):
    written = FORMS[form](key)
    redact = Redactor(KEYS)
    for before, behind in (
        ("", ""),
        ("The key is ", ", I think."),
        ("Grüße (", ")"),
        ("x" * 3000 + " ", " " + "y" * 3000),
    ):
        hidden = redact(f"{before}{written}{behind}")
        assert hidden.startswith(before)
        assert hidden.endswith(behind)
        inside = hidden[len(before) : len(hidden) - len(behind)]
        rest = inside.replace("[key]", "")
        assert "[key]" in inside
        around = 16 if "header" in form else 8  # "Bearer " in base64; else a quote, a sign, a byte's other bits
        assert len(rest) <= max(around, len(written) // 8), rest


@pytest.mark.parametrize("key", [OPENAI, GEMINI, AWS, MIDDLE])
def test_a_key_that_is_split_over_two_texts_is_hidden_in_both(key):
    redact = Redactor([key])
    half = len(key) // 2
    for texts in ((key[:half], key[half:]), (f"a {key[:half]} b", f"c {key[half:]} d")):
        assert [redact(text).count("[key]") for text in texts] == [1, 1]
    texts = ("ends in " + key[:5], key[5:] + " begins")
    assert redact.each(texts) == ["ends in [key]", "[key] begins"]
    assert redact.each(same := ("nothing", "here")) is same


def test_words_that_only_look_like_a_key_are_no_key_that_came_back():
    texts = ("Is there any text in the image?", "stop")
    assert Redactor(["any-text"]).each(texts) is texts


def test_short_keys_and_words_do_not_blot_out_a_text():
    keys = ["x", "none", "EMPTY", "test1", "not-needed", "my-key", "sk-no-key", "password"]
    redact = Redactor(keys)
    text = "No glasses are not needed to test what none of the empty rooms shows; my key, too, is no pass word."
    assert redact(text) is text
    assert redact("the key is Not-Needed, or sk-no-key; passwords") == "the key is [key], or [key]; [key]s"
    assert redact(base64.b64encode(b"Bearer not-needed").decode()).count("[key]") == 1


def test_ordinary_texts_stay_as_they_are():
    redact = Redactor(KEYS)
    for text in (
        "",
        "The man wears a red hat & 50 % of a coat; see C:\\users\\new, \\u00e9, &amp; and %20.",
        "sk-proj- is how keys begin, sk-proj-... and AIza, token, fw_",
        "Müller \U0001f600 \ud800 half",
        "0123456789" * 50,
        "aGVsbG8gd29ybGQsIHRoaXMgaXMgYmFzZTY0IG9mIGEgc2VudGVuY2U=",
    ):
        assert redact(text) is text


@given(st.text(), st.sampled_from(KEYS), st.text())
@example("%", OPENAI, "%")
@example("\\", OPENAI, "u0041")
@example("&#", OPENAI, ";")
def test_whatever_stands_around_a_key_it_is_hidden_and_the_rest_stays(before, key, behind):
    redact = Redactor([key])
    hidden = redact(f"{before} {key} {behind}")
    assert key.lower() not in hidden.lower()
    assert redact(hidden) == hidden
    if redact(before) == before and redact(behind) == behind and before.isascii() and behind.isascii():
        assert "[key]" in hidden


@pytest.mark.parametrize(
    ("said", "hidden"),
    [
        ("Incorrect API key provided: sk-proj-****************yEk3. You", "Incorrect API key provided: [key]. You"),
        ("key sk-p***************************************yEk3!", "key [key]!"),
        ("Your api key: ****yek3 is invalid", "Your api key: [key] is invalid"),
        ("Received API Key = sk-...yEk3, Key Hash", "Received API Key = [key], Key Hash"),
        ("key=sk-proj-7Qm2…", "key=[key]"),
        ("AIzaSy•••••••", "[key]"),
        ("'sk-xxxxxxxxxxxxOyEk3'", "'[key]'"),
        ("sk-*******-456", "[key]"),
        ("\\u2022\\u2022\\u2022yEk3", "[key]"),
        ("the key ending in yEk3 is revoked", "the key ending in [key] is revoked"),
        ("its last four characters are 'yEk3'", "its last four characters are '[key]'"),
    ],
)
def test_what_is_left_of_a_masked_key_is_hidden(said, hidden):
    assert Redactor([OPENAI, GEMINI, "sk-wrong-key-123-456"])(said) == hidden


def test_stars_and_dots_of_a_response_stay():
    redact = Redactor(KEYS)
    for text in (
        "***No*** ... it ends in red",
        "Well... F***, ###Yes",
        "ending with yes…",
        "sk-..., sk-proj-***",
        "xxx",
    ):
        assert redact(text) is text


def test_an_error_hides_masked_keys_that_are_not_ours():
    error = error_of(401, '{"error": {"message": "Incorrect API key provided: sk-ab***6. **Bold** *** stays"}}', {})
    assert str(error) == "the key was refused: 401 Incorrect API key provided: [key]. **Bold** *** stays"
    assert "[key]" in without_masked("****6")


def test_masked_keys_are_looked_for_in_linear_time():
    redact = Redactor([OPENAI])
    began = time.process_time()
    for text in ("a" * 200_000 + "***", "." * 200_000, "*a" * 100_000 + "***", "x" * 200_000):
        redact(without_masked(text))
    assert time.process_time() - began < 5  # 0.6 s; by the square of the length it would be minutes


def test_json_data_is_hidden_in_at_every_depth():
    data = {"error": [{"message": f"bad {OPENAI}", "code": 401, OPENAI: None}], "ok": True}
    assert Redactor([OPENAI]).within(data) == {
        "error": [{"message": "bad [key]", "code": 401, "[key]": None}],
        "ok": True,
    }


def test_a_text_of_two_kilobytes_takes_little_time():
    redact = Redactor([OPENAI, GEMINI, AWS])
    text = ("The photograph shows a woman in a red coat who waits for a bus; nothing in it tells her name. " * 22)[
        :2048
    ]

    def took_us() -> float:
        began = time.process_time()
        for _ in range(2000):
            redact(text)
        return (time.process_time() - began) / 2000 * 1e6

    assert min(took_us() for _ in range(5)) < 60  # 12 on an idle machine; the bound is for a busy one

"""How long models and prices last: told in time, on whatever day; and no cap is promised on a price that has ended."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from doubles import profile

from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.providers.lifetime import NEAR_DAYS, check_cap, notices, on_day
from unsaf_async.providers.prices import Price, last_day_of, price_map
from unsaf_async.providers.resolve import all_models, resolve

DAY = date(2030, 3, 1)
"""A day like any other."""

DEARER = Price(input_usd_per_mtok=2.0, output_usd_per_mtok=20.0)


def after(days: int) -> date:
    return DAY + timedelta(days=days)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNSAF_PROVIDERS", raising=False)


# --- what is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (NEAR_DAYS, "double: its vendor ends it on 2030-04-30, in 60 days"),
        (1, "double: its vendor ends it on 2030-03-02, in 1 day"),
        (0, "double: its vendor ends it on 2030-03-01, today"),
        (-1, "double: its vendor ended it on 2030-02-28, 1 day ago; calls may fail, or be answered by another model"),
    ],
)
def test_the_end_of_a_model_is_told_when_it_is_near_and_when_it_is_over(days: int, told: str) -> None:
    assert list(notices(profile(ends=after(days)), DAY)) == [told]


@pytest.mark.parametrize(
    ("days", "following", "told"),
    [
        (1, None, "double: its price ends on 2030-03-02, in 1 day; the next one: not known"),
        (
            0,
            DEARER,
            "double: its price ends on 2030-03-01, today; the next one: $2 in, $20 out per million tokens",
        ),
        (-1, None, "double: its price ended on 2030-02-28; what is booked may be too little"),
    ],
)
def test_the_end_of_a_price_is_told(days: int, following: Price | None, told: str) -> None:
    assert list(notices(profile(price_ends=after(days), next_price=following), DAY)) == [told]


def test_what_is_far_or_not_known_is_not_told() -> None:
    assert list(notices(profile(), DAY)) == []
    assert list(notices(profile(ends=after(NEAR_DAYS + 1), price_ends=after(NEAR_DAYS + 1)), DAY)) == []


# --- the price of a day -------------------------------------------------------------------------------------------


def test_a_price_holds_through_its_last_day_and_the_next_one_from_the_day_after() -> None:
    both = profile(price_ends=DAY, next_price=DEARER)
    assert on_day(both, DAY) == both
    assert on_day(both, after(1)) == profile(price=DEARER)


def test_a_price_that_has_ended_without_a_next_one_stays_and_no_cap_is_taken_on_it() -> None:
    ended = profile(price_ends=DAY)
    assert on_day(ended, after(1)) == ended
    check_cap(ended, [ended], DAY)
    with pytest.raises(UserError) as error:
        check_cap(ended, [], after(1))
    assert error.value.spelled(spelled) == (
        "--max-cost: the price of double ended on 2030-03-01, so that no cap can be kept; "
        "give its price with --price IN,OUT"
    )
    with pytest.raises(UserError, match="give its price in a file in"):
        check_cap(profile(), [ended], after(1))


# --- from the files and the map -----------------------------------------------------------------------------------


def test_the_shipped_models_have_their_known_ends() -> None:
    assert {name: str(resolve(name).ends) for name in KNOWN_ENDS} == KNOWN_ENDS


KNOWN_ENDS = {
    "claude-sonnet-4-5": "2026-11-30",
    "gemini-2.5-flash-lite": "2026-12-01",
    "gemini-2.5-flash": "2026-12-01",
    "gemini-2.5-pro": "2026-12-01",
    "gpt-5": "2026-12-11",
    "gpt-5-mini": "2026-12-11",
    "gpt-5-nano": "2026-12-11",
    "gpt-4o": "2027-01-14",
    "gpt-4.1": "2027-01-14",
    "gpt-4o-2024-05-13": "2026-10-23",  # a snapshot has its own
}


def test_an_end_in_a_file_goes_before_the_maps(tmp_path: Path) -> None:
    name = next(name for name, entry in price_map().items() if entry.get("deprecation_date") and "/" not in name)
    vendor = price_map()[name]["litellm_provider"]
    (tmp_path / "mine.toml").write_text(
        f'backend = "litellm"\nvendor = "{vendor}"\n[models."{name}"]\nends = 2031-01-02\n', "utf-8"
    )
    assert last_day_of(f"{vendor}/{name}") is not None
    assert resolve(name, folders=[tmp_path]).ends == date(2031, 1, 2)


@pytest.mark.parametrize("model", ["gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-pro"])
def test_no_cap_is_taken_on_gemini_2_5_once_google_answers_with_other_models_at_their_prices(model: str) -> None:
    last, first = date(2026, 11, 30), date(2026, 12, 1)
    check_cap(resolve(model, today=last), [], last)
    with pytest.raises(
        UserError, match=r"the price of gemini-2\.5-[a-z-]+ ended on 2026-11-30, so that no cap can be kept"
    ):
        check_cap(resolve(model, today=first), [], first)


@pytest.mark.parametrize(
    "name",
    ["gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash", "vertex_ai/gemini-3.8-flash"],
)
def test_gemini_flash_doubles_in_price_with_2027(name: str) -> None:
    before, later = (resolve(name, today=day).price for day in (date(2026, 12, 31), date(2027, 1, 1)))
    assert before is not None
    assert later is not None
    assert (later.input_usd_per_mtok, later.output_usd_per_mtok) == (1.5, 7.5)
    assert (later.input_usd_per_mtok, later.output_usd_per_mtok) == (
        2 * before.input_usd_per_mtok,
        2 * before.output_usd_per_mtok,
    )
    listed = {each.profile.name: each.profile for each in all_models(today=date(2027, 1, 1))}
    if name in listed:  # Vertex lists no models
        assert listed[name].price == later


def test_a_price_that_the_user_gives_has_no_end() -> None:
    given = resolve("gemini-3.8-flash", price=DEARER, today=date(2027, 1, 1))
    assert (given.price, given.price_ends, given.next_price) == (DEARER, None, None)


def test_another_model_at_an_endpoint_does_not_end_with_the_one_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(
        'backend = "openai"\nendpoint = "http://h:9/v1"\n[models.a]\nends = 2030-01-01\nprice_ends = 2030-01-01\n',
        "utf-8",
    )
    other = resolve("a", model="b", folders=[tmp_path])
    assert (other.ends, other.price_ends) == (None, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ends = 5", "ends: is 5; give a day such as 2027-01-14"),
        ("ends = 'soon'", "ends: is 'soon'; give a day such as 2027-01-14"),
        ("ends = 2027-01-14T10:00:00", "ends: is datetime.datetime(2027, 1, 14, 10, 0); give a day such as 2027-01-14"),
        (
            "next_price = { input_usd_per_mtok = 1, output_usd_per_mtok = 1 }",
            "next_price has no beginning; give price_ends, the last day of the price before it",
        ),
    ],
)
def test_a_wrong_day_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.toml").write_text(f'backend = "openai"\nendpoint = "http://h:9/v1"\n{text}\n', "utf-8")
    with pytest.raises(UserError) as error:
        resolve("mine", folders=[tmp_path])
    assert str(error.value).endswith(f"mine.toml: {told}")


def test_gpt_4o_is_called_by_its_name_to_its_last_day_and_after_with_a_notice() -> None:
    gpt = resolve("gpt-4o")
    assert gpt.wire_model == "gpt-4o"
    assert list(notices(gpt, date(2026, 11, 27))) == ["gpt-4o: its vendor ends it on 2027-01-14, in 48 days"]
    assert next(notices(gpt, date(2027, 2, 1))).startswith("gpt-4o: its vendor ended it on 2027-01-14, 18 days ago;")


def test_the_documentation_names_models_that_live_well_into_2027() -> None:
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *(root / "docs").glob("*.md"), root / "unsaf_async" / "__init__.py"]
    pages.remove(root / "docs" / "simulator.md")  # it rehearses a model's end
    text = "\n".join(page.read_text("utf-8") for page in pages)
    named = {each.profile.name: each.profile.ends for each in all_models() if each.profile.name in shown_in(text)}
    assert len(named) >= 6
    assert [name for name, ends in named.items() if ends and ends < date(2027, 4, 1)] == []


def shown_in(text: str) -> set[str]:
    """The words of examples: values of options, and code."""
    return set(re.findall(r"(?:--(?:provider|judge|audit|confirmed-by) |[`\"(])([\w.-]+)", text))

"""Every route against the simulator's socket, in the vendor's own format: healthy, and under every fault."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from driving import KEY, PRICE, ROUTES, drive

from unsaf_async.errors import UserError
from unsaf_async.simulate.faults import FAULTS
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.records import Examination

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]

PASSING = {"429", "500", "503", "529", "disconnect", "disconnect_after", "truncated_body", "garbage", "hang"}
"""Faults that another attempt gets over."""
OF_SERVERS = {
    "policy": "blocked",
    "sensitive": "blocked",
    "repetition": "interrupted",
    "abort": None,
    "error": None,
    "think": None,
    "sse": None,
}
"""What becomes of faults of servers that speak OpenAI's format; None: every answer comes, if need be by another attempt."""
UNBILLED = {"429", "500", "503", "529"}
"""Those of them where the provider's answer says that nothing was served."""
CONTENT = {
    "safety": {"blocked", "refused"},  # Anthropic has no filter of its own: the simulator has the model refuse
    "length": {"truncated"},
    "empty": {"unreadable"},
    "refusal": {"refused", "blocked"},  # Gemini has no refusal of its own: the simulator blocks
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_healthy_run_brings_every_answer_and_the_ledgers_agree_to_the_cent(route: str, tmp_path: Path) -> None:
    run = await drive(Simulation(price=PRICE), route, tmp_path)
    assert run.runner.why_stopped is None
    assert run.score.images.done == 2
    assert run.score.questions.asked == 12
    assert not any(run.score.unscored.values())
    assert run.score.cost_usd == pytest.approx(float(run.ledger.billed_usd), abs=1e-9)
    assert run.score.tokens is not None
    assert run.score.tokens.input == run.ledger.input_tokens
    assert run.score.tokens.output == run.ledger.output_tokens
    assert len(run.ledger.images) == 2


@pytest.mark.parametrize("fault", sorted(PASSING))
@pytest.mark.parametrize("route", ROUTES)
async def test_a_passing_fault_changes_no_answer_and_hides_no_bill(route: str, fault: str, tmp_path: Path) -> None:
    healthy = await drive(Simulation(price=PRICE), route, tmp_path / "healthy", images=1)
    simulation = Simulation(price=PRICE, faults={fault: 0.3}, fault_seed=1, retry_after_s=0.05)
    run = await drive(
        simulation, route, tmp_path / "faulty", images=1, profile={"timeout_s": 0.5 if fault == "hang" else 30}
    )
    assert run.ledger.faults[fault] > 0, "the fault never came: the test shows nothing"
    assert run.runner.why_stopped is None
    assert _content(run.examinations) == _content(healthy.examinations)
    assert run.score.calls is not None
    if fault == "hang":  # on a busy machine an answer that does come may come too late
        assert run.score.calls.retried >= run.ledger.faults[fault]
    else:
        assert run.score.calls.retried == run.ledger.faults[fault]
    billed_usd = float(run.ledger.billed_usd)
    if fault in UNBILLED:
        assert run.score.cost_usd == pytest.approx(billed_usd, abs=1e-9)
    else:  # the client cannot know whether it was served, and books the worst
        assert run.score.cost_usd is not None
        assert run.score.cost_usd > billed_usd


@pytest.mark.parametrize("route", ROUTES)
async def test_a_wait_of_a_day_that_one_reply_asks_for_ends_the_run_at_once(route: str, tmp_path: Path) -> None:
    simulation = Simulation(price=PRICE, faults={"429": 0.1}, fault_seed=1, retry_after_s=86400)
    run = await drive(simulation, route, tmp_path, images=8)
    assert run.ledger.faults["429"] > 0
    assert run.runner.why_stopped is not None
    assert "it asks to wait until " in run.runner.why_stopped
    deadline_s = run.runner.folder.manifest.subject.deadline_s
    assert f" tomorrow, longer than a call is tried ({deadline_s:.0f} s); resume then: 429" in run.runner.why_stopped
    assert run.runner.mistake is None


@pytest.mark.parametrize("fault", sorted(CONTENT))
@pytest.mark.parametrize("route", ROUTES)
async def test_a_fault_of_content_is_counted_by_its_name_and_never_scored(
    route: str, fault: str, tmp_path: Path
) -> None:
    run = await drive(Simulation(price=PRICE, faults={fault: 0.3}, fault_seed=3), route, tmp_path, images=3)
    assert run.ledger.faults[fault] > 0
    found = {call.outcome for examination in run.examinations for call in examination.calls} - {"ok"}
    assert found
    assert found <= CONTENT[fault]
    for examination in run.examinations:
        for question in examination.questions:
            assert (question.answer.outcome == "ok") or (
                question.act is None and question.unscored == question.answer.outcome
            )
    assert run.score.calls is not None
    assert run.score.calls.retried == 0, "a whole reply is never paid for twice"
    assert run.score.cost_usd == pytest.approx(float(run.ledger.billed_usd), abs=1e-9)


@pytest.mark.parametrize("fault", OF_SERVERS)
@pytest.mark.parametrize("route", ["openai", "vllm"])
async def test_a_fault_of_a_compatible_server_has_its_name_or_passes(route: str, fault: str, tmp_path: Path) -> None:
    run = await drive(Simulation(price=PRICE, faults={fault: 0.3}, fault_seed=3), route, tmp_path, images=3)
    assert run.ledger.faults[fault] > 0
    found = {call.outcome for examination in run.examinations for call in examination.calls} - {"ok"}
    assert found == {OF_SERVERS[fault]} - {None}
    assert run.score.calls is not None
    assert run.score.calls.retried == (run.ledger.faults[fault] if fault in ("abort", "error") else 0)


@pytest.mark.parametrize("route", ROUTES)
async def test_an_exhausted_quota_stops_the_run_at_once(route: str, tmp_path: Path) -> None:
    run = await drive(Simulation(price=PRICE, faults={"quota": 1.0}), route, tmp_path, images=6)
    assert run.runner.why_stopped is not None
    assert "quota" in run.runner.why_stopped
    assert run.ledger.requests <= 12, "no more than what was under way when the first answer came"
    assert run.score.cost_usd == 0
    assert run.examinations == []


@pytest.mark.parametrize("route", ["openai", "anthropic", "gemini"])
async def test_a_wrong_key_stops_the_run_and_is_written_nowhere(route: str, tmp_path: Path) -> None:
    run = await drive(Simulation(price=PRICE, api_key="another-key-than-ours"), route, tmp_path)
    assert run.runner.why_stopped is not None
    assert "litellm" not in run.runner.why_stopped, "the user is told what the provider said, and no class names"
    assert run.score.cost_usd == 0
    assert run.runner.mistake
    assert not _files_with(KEY, tmp_path)


async def test_a_local_server_that_wants_a_key_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="v1/models: the key was refused") as refused:
        await drive(Simulation(price=PRICE, api_key="another-key-than-ours"), "vllm", tmp_path)
    assert "litellm" not in str(refused.value)
    assert not _files_with(KEY, tmp_path)


def test_every_fault_of_the_simulator_is_tested() -> None:
    assert PASSING | set(CONTENT) | set(OF_SERVERS) | {"quota"} == set(FAULTS)


def test_every_exception_of_litellm_has_a_meaning() -> None:
    from unsaf_async.calls.backends.litellm import MEANING, _import

    exceptions = _import().exceptions
    theirs = {
        name
        for name, found in vars(exceptions).items()
        if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning)
    }
    assert theirs <= set(MEANING), "litellm has a new exception: say in MEANING what it stands for"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key provided: sk-***.",
            "Incorrect API key provided: sk-***.",
        ),
        (
            "litellm.InternalServerError: AnthropicException - Server disconnected. Handle with `litellm.InternalServerError`.",
            "Server disconnected",
        ),
        ('litellm.RateLimitError: litellm.RateLimitError: geminiException - {"error": 1}', '{"error": 1}'),
        ("litellm.InternalServerError: GeminiException InternalServerError - {}", "{}"),
        (
            "litellm.BadRequestError: GeminiException - Error converting. File an issue if litellm error - https://a.b/c",
            "Error converting",
        ),
        ("litellm.Timeout: APITimeoutError - Request timed out.", "Request timed out."),
        (
            "litellm.BadRequestError: litellm.ContentPolicyViolationError: ContentPolicyViolationError: OpenAIException - No.",
            "No.",
        ),
        # the provider's own words stay as they are, whatever they look like
        ("litellm.BadRequestError: OpenAIException - ValueError: 7 - 3", "ValueError: 7 - 3"),
        ("litellm.BadRequestError: OpenAIException - BadRequestError: n - 1", "BadRequestError: n - 1"),
        ("RateLimitError: OpenAIException - not from litellm", "RateLimitError: OpenAIException - not from litellm"),
        ("Request timed out.", "Request timed out."),
        ("litellm.Timeout: ", "litellm.Timeout: "),
        ("", ""),
    ],
)
def test_of_a_text_of_litellms_the_providers_own_words_are_kept(text: str, words: str) -> None:
    from unsaf_async.calls.backends.litellm import providers_words

    assert providers_words(text) == words


def _files_with(text: str, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def _content(examinations: list[Examination]) -> object:
    return [
        [(question.text, question.response, question.act) for question in examination.questions]
        for examination in sorted(examinations, key=lambda examination: examination.image.id)
    ]

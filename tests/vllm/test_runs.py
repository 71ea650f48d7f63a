"""Whole runs against a real vLLM, as a user starts them; the books are compared with the server's own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from commandline import process
from real_vllm.questions import CONTEXT_TOKENS, PROFILE
from real_vllm.server import MODEL

from unsaf_async.examine.parse import verdict
from unsaf_async.prompts import VERDICT
from unsaf_async.records import Message, Request, Sampling, Target

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from real_vllm.questions import Shown
    from real_vllm.server import VllmServer

    from unsaf_async.calls.backends.http import HttpBackend

QUESTIONS = 4


def run(server: VllmServer, *options: str) -> dict[str, Any]:
    """The score of a run that has to end well."""
    ended = process(
        "run", "--api-base", server.url, "--questions", str(QUESTIONS), "--json", "-q", *options, timeout_s=300
    )
    assert ended.code == 0, ended.err
    return orjson.loads(ended.out)


def journal(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "journal.jsonl").read_bytes().splitlines()]


def test_a_whole_run_counts_every_question_once_and_every_token_as_the_server_does(
    vllm: VllmServer, profile: str, manifest: Path, world: list[Shown], tmp_path: Path
) -> None:
    before = vllm.tokens()
    score = run(vllm, "--provider", profile, "--images", str(manifest), "--out", "first")
    spent = vllm.tokens() - before
    assert score["images"] == {"done": len(world), "failed": 0, "total": len(world)}
    questions = score["questions"]
    assert questions["asked"] + questions["missing"] == len(world) * 2 * QUESTIONS
    assert questions["asked"] > len(world) * QUESTIONS
    assert sum(score["counts"].values()) + sum(score["unscored"].values()) == questions["asked"]
    assert score["calls"]["made"] == spent["requests"]
    assert score["tokens"]["input"] == spent["input"]
    assert score["tokens"]["output"] == spent["output"]
    assert score["unf1"] is not None
    texts = [
        question["response"] for examination in journal(tmp_path / "first") for question in examination["questions"]
    ]
    assert len(set(texts)) > 5

    # The same again: everything is in the cache, and the server is left alone.
    before = vllm.tokens()
    again = run(vllm, "--provider", profile, "--images", str(manifest), "--out", "again")
    assert not vllm.tokens() - before
    assert again["calls"]["made"] == 0
    for field in ("counts", "unf1", "unf1_ci", "by_kind"):
        assert again[field] == score[field]


def test_two_runs_with_one_seed_are_one_result_and_another_seed_is_another(
    vllm: VllmServer, profile: str, manifest: Path, tmp_path: Path
) -> None:
    def asked(seed: str, out: str) -> Counter[str]:
        run(vllm, "--provider", profile, "--images", str(manifest), "--no-cache", "--seed", seed, "--out", out)
        return Counter(
            question["text"] + question["response"]
            for examination in journal(tmp_path / out)
            for question in examination["questions"]
        )

    assert asked("1", "one") == asked("1", "same")
    assert asked("1", "one-more") != asked("2", "other")


def test_an_adapter_is_measured_by_its_name(vllm: VllmServer, profile: str, manifest: Path, tmp_path: Path) -> None:
    """A random adapter writes no list of questions: the run ends, and says so of every image."""
    before = vllm.tokens()
    ended = process(
        *("run", "--provider", profile, "--api-base", vllm.url, "--model", "student"),
        *("--images", str(manifest), "--questions", str(QUESTIONS), "--limit", "3", "--out", "student", "-q"),
    )
    assert ended.code in (0, 3), ended.err
    examinations = journal(tmp_path / "student")
    assert len(examinations) == 3
    calls = [call for examination in examinations for call in examination["asks"]]
    assert all(call["outcome"] in ("ok", "truncated", "unreadable") for call in calls)
    assert sum(call["output_tokens"] for call in calls) <= (vllm.tokens() - before)["output"]
    assert vllm.parents() == {MODEL: None, "student": MODEL}


def test_an_llm_judge_replies_by_its_schema(vllm: VllmServer, profile: str, manifest: Path, tmp_path: Path) -> None:
    """The tiny model is no judge; that its verdicts can be read at all is the schema's doing."""
    options = ("--provider", profile, "--images", str(manifest), "--model", MODEL)
    judge = f'endpoint = "{vllm.url}"\nmodel = "{MODEL}"\n{PROFILE}'.replace(
        "json_schema = false", "json_schema = true"
    )
    (tmp_path / "providers/local-judge.toml").write_text(judge)
    # Seeds until the rules leave something open.
    judged: list[dict[str, Any]] = []
    for seed in range(5):
        run(vllm, *options, "--judge", "local-judge", "--seed", str(seed), "--out", f"judged-{seed}")
        judged += [
            question
            for examination in journal(tmp_path / f"judged-{seed}")
            for question in examination["questions"]
            if question["judge"]
        ]
        if judged:
            break
    assert judged, "the rules left nothing open: the test shows nothing"
    assert {question["judge"]["outcome"] for question in judged} == {"ok"}
    assert {question["unscored"] for question in judged} <= {None, "invalid"}


@pytest.mark.parametrize("seed", range(4))
async def test_a_reply_by_a_schema_is_json_of_that_schema(backend: HttpBackend, world: list[Shown], seed: int) -> None:
    request = Request(
        role="judge",
        target=Target("local", MODEL),
        messages=(Message("user", "What color is the star?", world[0].image),),
        sampling=Sampling(64, temperature=1.0, seed=seed),
        schema=VERDICT,
    )
    reply = await backend.complete(request)
    assert reply.outcome == "ok"
    assert set(orjson.loads(reply.text)) == {"verdict"}
    assert verdict(reply.text) is not None


def test_the_doctor_finds_with_the_shipped_profile_everything_that_it_says(vllm: VllmServer) -> None:
    ended = process("doctor", "--provider", "vllm", "--api-base", vllm.url, COLUMNS="300")
    assert ended.code == 0, ended.err
    for what in ("answers", "image", "JSON schema", "temperature", "seed", "log-probabilities", "n"):
        assert f"\n{what} " in ended.out
        line = next(line for line in ended.out.splitlines() if line.startswith(f"{what} "))
        assert line[len(what) :].split()[0] == "yes", line


def test_a_model_that_is_not_served_is_the_users_mistake(vllm: VllmServer, manifest: Path) -> None:
    ended = process(
        *("run", "--provider", "vllm", "--api-base", vllm.url, "--model", "nobody"),
        *("--prompts", "tiny", "--images", str(manifest), "-q"),
    )
    assert ended.code == 2
    assert "The model `nobody` does not exist" in ended.err


def test_a_context_that_is_too_small_for_the_profile_is_told_in_the_servers_words(
    vllm: VllmServer, manifest: Path, tmp_path: Path
) -> None:
    """The shipped profile allows 100 tokens for each question: 50 of them are more than this model's whole context."""
    ended = process(
        *("run", "--provider", "vllm", "--api-base", vllm.url, "--questions", "50"),
        *("--prompts", "tiny", "--images", str(manifest), "--out", "out", "-q"),
    )
    assert ended.code == 2
    called, refused = ended.err.splitlines()
    assert called == f"unsaf-async: vllm at {vllm.url}"
    assert "requests to write questions were refused alike" in refused
    assert f"max_tokens=5200 cannot be greater than max_model_len={CONTEXT_TOKENS}" in refused

"""bespokelabs-curator: an `LLM` over a list of prompts with its OpenAI backend; three passes, one after another, for stages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from work import MAX_TOKENS, Spec, Tally, questions_of, read_spec, tell

os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"
os.environ["TELEMETRY_ENABLED"] = "false"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

# The encoding that litellm ships: tiktoken would fetch it over the network.
os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers")

from bespokelabs import curator

UNLIMITED = 10_000_000


class Asked(curator.LLM):  # type: ignore[misc]
    """A row's prompt, with its picture where it has one, and the reply's text."""

    def prompt(self, row: dict[str, Any]) -> Any:
        if row["picture"] is None:
            return row["text"]
        return row["text"], curator.types.Image(url=row["picture"])

    def parse(self, row: dict[str, Any], response: str) -> list[dict[str, Any]]:
        return [{"text": row["text"], "picture": row["picture"], "reply": response}]


def ask(spec: Spec, tasks: list[tuple[str, str | None]]) -> list[dict[str, Any]]:
    """One pass over all prompts; the rows that came back."""
    limit = spec.rate_per_min or (None if spec.limited else UNLIMITED)
    params = {
        "base_url": f"{spec.base_url}/v1",
        "max_requests_per_minute": None if limit is None else int(limit),
        "max_tokens_per_minute": UNLIMITED,
        "max_concurrent_requests": spec.concurrency,
        "max_retries": spec.retries,
        "require_all_responses": False,
    }
    llm = Asked(
        model_name="bench",
        backend="openai",
        backend_params=params,
        generation_params={"max_tokens": MAX_TOKENS, "temperature": 0},
    )
    asked = llm([{"text": text, "picture": picture} for text, picture in tasks], working_dir=spec.cache or spec.folder)
    return list(asked.dataset)


def main() -> Tally:
    spec = read_spec()
    if not spec.staged:
        done = len(ask(spec, list(spec.tasks)))
        return Tally(done, spec.calls - done)
    pictures: list[str | None] = [*spec.pictures] or [None] * spec.images
    lists = ask(spec, [(prompt, pictures[n]) for n in range(spec.images) for prompt in spec.list_prompts(n)])
    questions = [(question, row["picture"]) for row in lists for question in questions_of(row["reply"])]
    by_prompt = {spec.answer_prompt(question): question for question, _ in questions}
    answers = ask(spec, [(spec.answer_prompt(question), picture) for question, picture in questions])
    verdicts = ask(spec, [(spec.judge_prompt(by_prompt[row["text"]], row["reply"]), None) for row in answers])
    done = len(lists) + len(answers) + len(verdicts)
    return Tally(done, spec.calls - done)


if __name__ == "__main__":  # it may start processes of its own
    tell(main())

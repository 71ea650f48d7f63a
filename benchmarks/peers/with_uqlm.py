"""uqlm's `BlackBoxUQ` over ChatOpenAI: each prompt answered, five samples more, scored by exact match (no model to fetch)."""

from __future__ import annotations

import asyncio

from langchain_openai import ChatOpenAI
from uqlm import BlackBoxUQ
from work import MAX_TOKENS, Tally, read_spec, tell


async def main() -> Tally:
    spec = read_spec()
    llm = ChatOpenAI(
        model="bench",
        base_url=f"{spec.base_url}/v1",
        api_key="none",
        max_tokens=MAX_TOKENS,
        temperature=1.0,
        max_retries=spec.retries,
    )
    scorer = BlackBoxUQ(llm=llm, scorers=["exact_match"])
    prompts = [text for text, _ in spec.tasks]
    scored = await scorer.generate_and_score(prompts, num_responses=spec.samples or 1, show_progress_bars=False)
    done = sum(score is not None for score in scored.to_dict()["data"]["exact_match"])
    return Tally(done, spec.calls - done)


tell(asyncio.run(main()))

"""inspect_ai's `eval()`: a dataset of one sample a call and its own solver `generate()`; with stages a sample an image."""

from __future__ import annotations

import asyncio
import os
from typing import Any

os.environ["BENCH_API_KEY"] = "none"

from inspect_ai import Task, eval  # noqa: A004
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, get_model
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
from work import MAX_TOKENS, Spec, Tally, data_url, questions_of, read_spec, tell


def user(text: str, picture: str | None) -> ChatMessageUser:
    if picture is None:
        return ChatMessageUser(content=text)
    return ChatMessageUser(content=[ContentText(text=text), ContentImage(image=picture)])


@solver  # type: ignore[untyped-decorator]
def stages(spec: Spec) -> Solver:
    """The three stages of an image as a solver of its own: lists, then answers, then verdicts."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:  # noqa: ARG001
        model = get_model()
        number = int(state.sample_id)
        picture = data_url(spec.pictures[number]) if spec.pictures else None

        async def judged(question: str) -> None:
            answer = await model.generate([user(spec.answer_prompt(question), picture)])
            await model.generate([user(spec.judge_prompt(question, answer.completion), None)])

        async def listed(prompt: str) -> None:
            reply = await model.generate([user(prompt, picture)])
            await asyncio.gather(*(judged(question) for question in questions_of(reply.completion)))

        await asyncio.gather(*(listed(prompt) for prompt in spec.list_prompts(number)))
        return state

    return solve


def main() -> Tally:
    spec = read_spec()
    if spec.staged:
        samples = [Sample(id=number, input=f"picture {number}") for number in range(spec.images)]
        task = Task(dataset=MemoryDataset(samples), solver=stages(spec))
    else:
        samples = [Sample(id=n, input=[user(*each)]) for n, each in enumerate(spec.tasks)]
        task = Task(dataset=MemoryDataset(samples), solver=generate())
    options: dict[str, Any] = {"cache": True} if spec.cache is not None else {}
    if spec.cache is not None:
        os.environ["INSPECT_CACHE_DIR"] = spec.cache
    [log] = eval(
        task,
        model="openai-api/bench/bench",
        model_base_url=f"{spec.base_url}/v1",
        max_connections=None if spec.limited else spec.concurrency,  # None: adaptive, its default
        max_samples=max(spec.concurrency, spec.images),
        max_retries=spec.retries,
        max_tokens=MAX_TOKENS,
        temperature=0,
        display="none",
        log_dir=f"{spec.folder}/logs",
        fail_on_error=False,
        **options,
    )
    done = sum(sample.error is None for sample in log.samples or [])
    per_sample = 26 if spec.staged else 1
    return Tally(done * per_sample, (len(samples) - done) * per_sample)


tell(main())

"""lmms-eval's model `openai`: its `generate_until` over a list of requests; three passes, one after another, for stages."""

from __future__ import annotations

from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.models.chat.openai import OpenAICompatible
from PIL import Image
from work import MAX_TOKENS, Spec, Tally, questions_of, read_spec, tell

FAILED = "[LMMS_EVAL_REQUEST_FAILED"


def messages(task: tuple[str, str | None]) -> list[dict[str, Any]]:
    """What a task of lmms-eval makes of a document: its picture is opened for every call, as a data set's is."""
    text, picture = task
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if picture is not None:
        content.insert(0, {"type": "image", "url": Image.open(picture)})
    return [{"role": "user", "content": content}]


def ask(model: Any, tasks: list[tuple[str, str | None]]) -> list[str | None]:
    """One pass over all prompts; None where a call was given up."""
    model.task_dict = {"bench": {"test": tasks}}
    options = {"max_new_tokens": MAX_TOKENS, "temperature": 0}
    requests = [
        Instance(
            request_type="generate_until",
            arguments=(text, messages, options, number, "bench", "test"),
            idx=0,
            metadata={"task": "bench", "doc_id": number, "repeats": 1},
        )
        for number, (text, _) in enumerate(tasks)
    ]
    replies = [result.text for result in model.generate_until(requests)]
    return [None if reply.startswith(FAILED) else reply for reply in replies]


def main() -> Tally:
    spec = read_spec()
    model = OpenAICompatible(
        model_version="bench",
        base_url=f"{spec.base_url}/v1",
        api_key="none",
        timeout=300,
        max_retries=spec.retries + 1,
        num_concurrent=spec.concurrency,
        adaptive_concurrency=spec.limited,
    )
    replies = staged(model, spec) if spec.staged else ask(model, list(spec.tasks))
    done = sum(reply is not None for reply in replies)
    return Tally(done, spec.calls - done)


def staged(model: Any, spec: Spec) -> list[str | None]:
    pictures: list[str | None] = [*spec.pictures] or [None] * spec.images
    prompts: list[tuple[str, str | None]] = [
        (prompt, pictures[n]) for n in range(spec.images) for prompt in spec.list_prompts(n)
    ]
    lists = ask(model, prompts)
    questions = [
        (question, picture)
        for reply, (_, picture) in zip(lists, prompts, strict=True)
        if reply is not None
        for question in questions_of(reply)
    ]
    answers = ask(model, [(spec.answer_prompt(question), picture) for question, picture in questions])
    verdicts: list[tuple[str, str | None]] = [
        (spec.judge_prompt(question, answer), None)
        for (question, _), answer in zip(questions, answers, strict=True)
        if answer is not None
    ]
    return [*lists, *answers, *ask(model, verdicts)]


tell(main())

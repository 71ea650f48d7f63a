"""The vendors' own Python SDKs send batches to the simulator, follow them, and read their results."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from vendor_sdks import CLAUDE, DATA, GEMINI, GPT, of_claude, of_gemini, of_gpt, read_strictly, simulated

from unsaf_async.simulate import BatchRules

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
genai = pytest.importorskip("google.genai")


pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class .* from ClientSession is discouraged:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated and will reach end-of-life:DeprecationWarning"),
]

QUICK = {"validate_s": 0.01, "work_s": 0.02, "finalize_s": 0.0}


def rules(**settings: Any) -> BatchRules:
    return BatchRules(**{**QUICK, **settings})


# --- OpenAI


def gpt_lines(count: int = 5, **options: Any) -> list[dict[str, Any]]:
    return [
        {
            "custom_id": f"row-{place}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": of_gpt(f"What is object {place}?", **options),
        }
        for place in range(count)
    ]


async def gpt_send(to: Any, lines: list[Any], **options: Any) -> Any:
    data = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    file = await to.gpt.files.create(file=("rows.jsonl", data), purpose="batch")
    read_strictly(file)
    return await to.gpt.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **options
    )


async def gpt_ended(to: Any, batch: Any) -> Any:
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        await asyncio.sleep(0.01)
        batch = await to.gpt.batches.retrieve(batch.id)
        read_strictly(batch)
    return batch


async def gpt_rows(to: Any, file_id: str | None) -> list[Any]:
    if file_id is None:
        return []
    content = await to.gpt.files.content(file_id)
    return [json.loads(line) for line in content.text.splitlines()]


async def test_openai_s_sdk_sends_a_batch_and_reads_its_rows_in_another_order_at_half_the_price():
    async with simulated(price=("2", "8"), batches=rules()) as to:
        batch = await gpt_send(to, gpt_lines(), metadata={"run": "r1"})
        read_strictly(batch)
        assert (batch.status, batch.metadata, batch.output_file_id) == ("validating", {"run": "r1"}, None)
        assert batch.expires_at - batch.created_at == 86_400
        batch = await gpt_ended(to, batch)
        counts = batch.request_counts
        assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 5, 5, 0)
        assert (batch.error_file_id, batch.model) == (None, GPT)
        rows = await gpt_rows(to, batch.output_file_id)
        keys = [row["custom_id"] for row in rows]
        assert keys != sorted(keys)
        assert sorted(keys) == [f"row-{place}" for place in range(5)]
        for row in rows:
            reply = openai.types.chat.ChatCompletion.model_validate(row["response"]["body"])
            read_strictly(reply)
            assert (row["response"]["status_code"], row["error"]) == (200, None)
        ledger = to.simulator.ledger
        online = ledger.cost_usd(batch.usage.input_tokens, batch.usage.output_tokens)
        assert ledger.billed_usd == ledger.served_usd == online / 2 > 0
        assert {entry.bills for entry in ledger.entries.values()} == {1}
        assert ledger.repeated() == []
        assert set(ledger.batches[batch.id].rows) == set(keys)
        assert sum(row.billed_usd for row in ledger.batches[batch.id].rows.values()) == ledger.billed_usd


async def test_a_row_of_a_batch_gets_the_same_reply_as_the_request_online_and_sending_both_shows():
    async with simulated(batches=rules()) as to:
        batch = await gpt_ended(to, await gpt_send(to, gpt_lines(1)))
        [row] = await gpt_rows(to, batch.output_file_id)
        online = await to.gpt.chat.completions.create(**of_gpt("What is object 0?"))
        assert row["response"]["body"]["choices"] == online.model_dump(exclude_unset=True)["choices"]
        [digest] = to.simulator.ledger.repeated()
        assert to.simulator.ledger.entries[digest].bills == 2


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        ([b"{no json}\n"], "invalid_json_line", 1),
        ([*gpt_lines(1), *gpt_lines(1)], "duplicate_custom_id", 2),
        ([{**gpt_lines(1)[0], "url": "/v1/embeddings"}], "invalid_url", 1),
        ([{"custom_id": "a"}], "missing_required_parameter", 1),
        ([b"\n"], "empty_file", None),
        (gpt_lines(4), "too_many_tasks", None),
        ([*gpt_lines(1), {**gpt_lines(2)[1], "body": of_gpt() | {"model": "gpt-4o"}}], "mismatched_model", 2),
        ([{**gpt_lines(1)[0], "body": of_gpt() | {"model": "no-model"}}], "model_not_found", None),
    ],
)
async def test_openai_s_batch_fails_as_a_whole_for_what_is_wrong_with_its_file(lines, code, line):
    async with simulated(batches=rules(max_rows=3)) as to:
        batch = await gpt_ended(to, await gpt_send(to, lines))
        assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
        assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, line)
        assert to.simulator.ledger.billed_usd == 0
        assert to.simulator.ledger.entries == {}


# --- Anthropic


def claude_rows(count: int = 5, **options: Any) -> list[Any]:
    return [
        {"custom_id": f"row-{place}", "params": of_claude(f"What is object {place}?", **options)}
        for place in range(count)
    ]


async def claude_ended(to: Any, batch: Any) -> Any:
    while batch.processing_status != "ended":
        await asyncio.sleep(0.01)
        batch = await to.claude.messages.batches.retrieve(batch.id)
        read_strictly(batch)
    return batch


async def claude_results(to: Any, batch: Any) -> dict[str, Any]:
    results = [each async for each in await to.claude.messages.batches.results(batch.id)]
    for each in results:
        read_strictly(each)
    return {each.custom_id: each.result for each in results}


async def test_anthropic_s_sdk_sends_a_batch_and_reads_its_results_at_half_the_price():
    async with simulated(price=("2", "8"), batches=rules()) as to:
        batch = await to.claude.messages.batches.create(requests=claude_rows())
        read_strictly(batch)
        assert (batch.processing_status, batch.results_url, batch.request_counts.processing) == ("in_progress", None, 5)
        assert (batch.expires_at - batch.created_at).total_seconds() == pytest.approx(86_400)
        with pytest.raises(anthropic.BadRequestError, match="no available results"):
            await to.claude.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)
        batch = await claude_ended(to, batch)
        assert batch.request_counts.succeeded == 5
        results = await claude_results(to, batch)
        assert list(results) != sorted(results) == [f"row-{place}" for place in range(5)]
        usage = [result.message.usage for result in results.values()]
        assert {each.service_tier for each in usage} == {"batch"}
        ledger = to.simulator.ledger
        tokens = sum(each.input_tokens for each in usage), sum(each.output_tokens for each in usage)
        assert ledger.billed_usd == ledger.served_usd == ledger.cost_usd(*tokens) / 2 > 0
        read_strictly(await to.claude.messages.batches.delete(batch.id))
        with pytest.raises(anthropic.NotFoundError):
            await to.claude.messages.batches.retrieve(batch.id)


async def test_anthropic_takes_a_batch_with_an_invalid_row_and_says_so_in_the_row_s_result():
    async with simulated(batches=rules()) as to:
        rows = [*claude_rows(1), {"custom_id": "bad", "params": {"model": CLAUDE, "messages": []}}]
        rows.append({"custom_id": "unknown", "params": of_claude() | {"model": "no-model"}})
        batch = await claude_ended(to, await to.claude.messages.batches.create(requests=rows))
        results = await claude_results(to, batch)
        assert {key: result.type for key, result in results.items()} == {
            "row-0": "succeeded",
            "bad": "errored",
            "unknown": "errored",
        }
        assert results["bad"].error.error.type == "invalid_request_error"
        assert "max_tokens: Field required" in results["bad"].error.error.message
        assert results["unknown"].error.error.type == "not_found_error"
        assert (batch.request_counts.succeeded, batch.request_counts.errored) == (1, 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least 1 item"),
        (claude_rows(4), "at most 3 items"),
        ([*claude_rows(1), *claude_rows(1)], "must be unique"),
        ([{**claude_rows(1)[0], "custom_id": "a b"}], "should match pattern"),
        ([{**claude_rows(1)[0], "custom_id": "a" * 65}], "should match pattern"),
    ],
)
async def test_anthropic_refuses_a_batch_for_its_ids_and_its_size(rows, message):
    async with simulated(batches=rules(max_rows=3)) as to:
        with pytest.raises(anthropic.BadRequestError, match=message):
            await to.claude.messages.batches.create(requests=rows)
        assert to.simulator.ledger.batches == {}


# --- Gemini


def gemini_rows(count: int = 5) -> list[dict[str, Any]]:
    rows = []
    for place in range(count):
        asked = of_gemini(f"What is object {place}?")
        contents = [{"role": "user", "parts": asked["contents"]}]
        rows.append({"contents": contents, "config": asked["config"], "metadata": {"key": f"row-{place}"}})
    return rows


def gemini_lines(count: int = 5) -> bytes:
    rows = []
    for place in range(count):
        image = {"inlineData": {"mimeType": "image/jpeg", "data": DATA}}
        contents = [{"role": "user", "parts": [image, {"text": f"What is object {place}?"}]}]
        asked = {"contents": contents, "generationConfig": {"maxOutputTokens": 900}}
        rows.append(json.dumps({"key": f"row-{place}", "request": asked}))
    return "\n".join(rows).encode()


async def gemini_upload(to: Any, data: bytes) -> Any:
    config = {"mime_type": "jsonl", "display_name": "rows"}
    file = await to.gemini.files.upload(file=io.BytesIO(data), config=config)
    read_strictly(file)
    return file


async def gemini_ended(to: Any, batch: Any) -> Any:
    while not batch.done:
        await asyncio.sleep(0.01)
        batch = await to.gemini.batches.get(name=batch.name)
        read_strictly(batch)
    return batch


async def test_google_s_sdk_sends_a_batch_inline_and_reads_its_results_in_order_at_half_the_price():
    async with simulated(price=("2", "8"), batches=rules()) as to:
        batch = await to.gemini.batches.create(model=GEMINI, src=gemini_rows(), config={"display_name": "run-1"})
        read_strictly(batch)
        assert (batch.state.name, batch.display_name) == ("JOB_STATE_PENDING", "run-1")
        batch = await gemini_ended(to, batch)
        assert batch.state.name == "JOB_STATE_SUCCEEDED"
        answers = batch.dest.inlined_responses
        assert [each.metadata["key"] for each in answers] == [f"row-{place}" for place in range(5)]
        usage = [each.response.usage_metadata for each in answers]
        ledger = to.simulator.ledger
        tokens = sum(each.prompt_token_count for each in usage), sum(each.candidates_token_count for each in usage)
        assert ledger.billed_usd == ledger.cost_usd(*tokens) / 2 > 0
        assert all(each.response.text for each in answers)


async def test_google_s_sdk_uploads_a_batch_as_a_file_and_downloads_its_results():
    async with simulated(batches=rules()) as to:
        file = await gemini_upload(to, gemini_lines())
        batch = await to.gemini.batches.create(model=GEMINI, src=file.name, config={"display_name": "run-2"})
        batch = await gemini_ended(to, batch)
        rows = [json.loads(line) for line in (await to.gemini.files.download(file=batch.dest.file_name)).splitlines()]
        assert [row["key"] for row in rows] == [f"row-{place}" for place in range(5)]
        for row in rows:
            read_strictly(genai.types.GenerateContentResponse.model_validate(row["response"]))
        listed = [each.name async for each in await to.gemini.batches.list()]
        assert listed == [batch.name]
        async with to.session.get(f"/download/v1beta/{batch.dest.file_name}:download?alt=media") as response:
            assert [json.loads(line) for line in (await response.text()).splitlines()] == rows
        await to.gemini.batches.delete(name=batch.name)
        with pytest.raises(genai.errors.ClientError, match="not found"):
            await to.gemini.batches.get(name=batch.name)


async def test_gemini_says_of_single_rows_what_is_wrong_and_fails_a_file_that_has_no_rows():
    async with simulated(batches=rules()) as to:
        rows = gemini_rows(2)
        rows[1]["config"] = {"max_output_tokens": 70_000}
        batch = await gemini_ended(to, await to.gemini.batches.create(model=GEMINI, src=rows))
        good, bad = batch.dest.inlined_responses
        assert good.response.text
        assert (bad.response, bad.error.code) == (None, 3)
        file = await gemini_upload(to, b"{no json")
        batch = await gemini_ended(to, await to.gemini.batches.create(model=GEMINI, src=file.name))
        assert (batch.state.name, batch.dest) == ("JOB_STATE_FAILED", None)
        with pytest.raises(genai.errors.ClientError, match="may not exist"):
            await to.gemini.batches.create(model=GEMINI, src="files/none")

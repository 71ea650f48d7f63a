"""The vendors' own Python SDKs send batches to the simulator, follow them, and read their results."""

from __future__ import annotations

import asyncio
import io
import json
import re
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from vendor_sdks import CLAUDE, DATA, GEMINI, GPT, of_claude, of_gemini, of_gpt, read_strictly, simulated

from unsaf_async.errors import UserError
from unsaf_async.simulate import BATCH_FAULTS, BatchRules, ServerLimits

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
genai = pytest.importorskip("google.genai")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class .* from ClientSession is discouraged:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated and will reach end-of-life:DeprecationWarning"),
]

DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"
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
        rows.append({"custom_id": "streamed", "params": of_claude(stream=True)})
        rows.append({"custom_id": "unknown", "params": of_claude() | {"model": "no-model"}})
        batch = await claude_ended(to, await to.claude.messages.batches.create(requests=rows))
        results = await claude_results(to, batch)
        assert {key: result.type for key, result in results.items()} == {
            "row-0": "succeeded",
            "bad": "errored",
            "streamed": "errored",
            "unknown": "errored",
        }
        assert results["bad"].error.error.type == "invalid_request_error"
        assert "max_tokens: Field required" in results["bad"].error.error.message
        assert results["unknown"].error.error.type == "not_found_error"
        assert (batch.request_counts.succeeded, batch.request_counts.errored) == (1, 3)


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


async def gemini_post(to: Any) -> None:
    """Create a batch of three equal rows, once; the SDK itself sends one again that was not answered."""
    row = {"request": json.loads(gemini_lines(1))["request"], "metadata": {"key": "row-0"}}
    body = {"batch": {"display_name": "x", "input_config": {"requests": {"requests": [row] * 3}}}}
    await to.session.post(f"/v1beta/models/{GEMINI}:batchGenerateContent", json=body)


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


# --- at every vendor

VENDORS = ("openai", "anthropic", "gemini")
ERRORS = (openai.APIError, anthropic.APIError, genai.errors.APIError, aiohttp.ClientError)


class Vendor:
    """One vendor's batches by its SDK, spoken to in the same words as the others'."""

    def __init__(self, to: Any, name: str) -> None:
        self.to, self.name = to, name

    async def send(self, count: int = 5) -> Any:
        match self.name:
            case "openai":
                return await gpt_send(self.to, gpt_lines(count))
            case "anthropic":
                return await self.to.claude.messages.batches.create(requests=claude_rows(count))
        return await self.to.gemini.batches.create(model=GEMINI, src=gemini_rows(count), config={"display_name": "x"})

    async def ended(self, batch: Any) -> Any:
        wait = {"openai": gpt_ended, "anthropic": claude_ended, "gemini": gemini_ended}
        return await wait[self.name](self.to, batch)

    async def get(self, batch: Any) -> Any:
        match self.name:
            case "openai":
                return await self.to.gpt.batches.retrieve(batch.id)
            case "anthropic":
                return await self.to.claude.messages.batches.retrieve(batch.id)
        return await self.to.gemini.batches.get(name=batch.name)

    async def cancel(self, batch: Any) -> Any:
        match self.name:
            case "openai":
                batch = await self.to.gpt.batches.cancel(batch.id)
                assert batch.status == "cancelling"
            case "anthropic":
                batch = await self.to.claude.messages.batches.cancel(batch.id)
                assert batch.processing_status == "canceling"
            case "gemini":
                await self.to.gemini.batches.cancel(name=batch.name)
        return batch

    async def listed(self, limit: int = 20) -> list[str]:
        """Ids of all batches, page by page."""
        match self.name:
            case "openai":
                return [batch.id async for batch in self.to.gpt.batches.list(limit=limit)]
            case "anthropic":
                return [batch.id async for batch in self.to.claude.messages.batches.list(limit=limit)]
        pages = await self.to.gemini.batches.list(config={"page_size": limit})
        return [batch.name async for batch in pages]

    async def results(self, batch: Any) -> dict[str, str]:
        """What became of each row: "succeeded", or why not."""
        match self.name:
            case "openai":
                rows = await gpt_rows(self.to, batch.output_file_id) + await gpt_rows(self.to, batch.error_file_id)
                return {
                    row["custom_id"]: row["error"]["code"]
                    if row["error"]
                    else {200: "succeeded"}.get(row["response"]["status_code"], str(row["response"]["status_code"]))
                    for row in rows
                }
            case "anthropic":
                results = await claude_results(self.to, batch)
                return {
                    key: result.error.error.type if result.type == "errored" else result.type
                    for key, result in results.items()
                }
        rows = batch.dest.inlined_responses if batch.dest else []
        return {row.metadata["key"]: "succeeded" if row.response else str(row.error.code) for row in rows}


@asynccontextmanager
async def batched(vendor: str, **settings: Any) -> AsyncIterator[Vendor]:
    online = {name: settings.pop(name) for name in ("api_key", "limits", "credit_usd") if name in settings}
    async with simulated(price=("2", "8"), batches=rules(**settings), **online) as to:
        yield Vendor(to, vendor)


def states(vendor: Vendor) -> list[str]:
    """The state of each row, as the simulator's account has it."""
    return [row.state for batch in vendor.to.simulator.ledger.batches.values() for row in batch.rows.values()]


@pytest.mark.parametrize("name", VENDORS)
async def test_rows_that_fail_are_told_apart_and_not_billed(name):
    words = {"openai": ("500", "400"), "anthropic": ("api_error", "invalid_request_error"), "gemini": ("13", "3")}
    async with batched(name, faults={"row_500": 0.3, "row_400": 0.4}) as vendor:
        results = await vendor.results(await vendor.ended(await vendor.send(20)))
        assert len(results) == 20
        assert set(results.values()) == {"succeeded", *words[name]}
        rows = [row for batch in vendor.to.simulator.ledger.batches.values() for row in batch.rows.values()]
        assert all((row.billed_usd > 0) == (row.state == "succeeded") for row in rows)
        assert sum(row.billed_usd for row in rows) == vendor.to.simulator.ledger.billed_usd


@pytest.mark.parametrize("name", VENDORS)
async def test_rows_that_are_not_begun_expire_with_the_window_and_are_not_billed(name):
    async with batched(name, faults={"row_expired": 0.5}, window_s=0.1) as vendor:
        batch = await vendor.ended(await vendor.send(10))
        results = await vendor.results(batch)
        done = states(vendor).count("succeeded")
        assert 0 < done < 10
        assert states(vendor).count("expired") == 10 - done
        word = {"openai": "batch_expired", "anthropic": "expired"}.get(name)
        if word:
            assert sorted(results.values()) == [word] * (10 - done) + ["succeeded"] * done
        else:
            assert (batch.state.name, results) == ("JOB_STATE_EXPIRED", {})
        assert {entry.bills for entry in vendor.to.simulator.ledger.entries.values()} == {0, 1}


@pytest.mark.parametrize("name", VENDORS)
async def test_a_cancelled_batch_keeps_what_is_done_and_bills_nothing_else(name):
    async with batched(name, work_s=60.0, validate_s=0.0) as vendor:
        batch = await vendor.send(4)
        vendor.to.simulator.ledger.by_status.clear()
        batch = await vendor.ended(await vendor.cancel(batch))
        assert set(states(vendor)) == {"canceled"}
        assert vendor.to.simulator.ledger.billed_usd == 0
        word = {"openai": "batch_cancelled", "anthropic": "canceled"}.get(name)
        assert set((await vendor.results(batch)).values()) == ({word} if word else set())
        assert vendor.to.simulator.ledger.repeated() == []
        assert (await vendor.send(4)) is not None
        assert vendor.to.simulator.ledger.repeated() == []  # what was canceled may come again


async def test_rows_are_done_little_by_little():
    async with batched("openai", work_s=0.2, validate_s=0.0) as vendor:
        batch = await vendor.send(8)
        seen: set[int] = set()
        while states(vendor).count("open"):
            seen.add(states(vendor).count("succeeded"))
            await asyncio.sleep(0.01)
        assert len(seen) > 3
        assert len(await vendor.results(await vendor.ended(batch))) == 8


@pytest.mark.parametrize("name", VENDORS)
async def test_a_batch_that_fails_as_a_whole_costs_nothing(name):
    async with batched(name, faults={"failed": 1.0}) as vendor:
        batch = await vendor.ended(await vendor.send(3))
        if name == "anthropic":
            assert set((await vendor.results(batch)).values()) == {"api_error"}
        else:
            assert str(batch.status if name == "openai" else batch.state.name).lower().endswith("failed")
            assert await vendor.results(batch) == {}
        assert vendor.to.simulator.ledger.billed_usd == 0


@pytest.mark.parametrize("name", VENDORS)
async def test_a_batch_whose_creation_was_not_answered_is_found_in_the_list(name):
    async with batched(name, faults={"lost_reply": 1.0}) as vendor:
        with pytest.raises(ERRORS):
            await (gemini_post(vendor.to) if name == "gemini" else vendor.send(3))
        [id_] = await vendor.listed()
        assert len(vendor.to.simulator.ledger.batches) == 1
        batch = await vendor.ended(await vendor.get(SimpleNamespace(id=id_, name=id_)))
        assert set((await vendor.results(batch)).values()) == {"succeeded"}
        assert states(vendor) == ["succeeded"] * 3


@pytest.mark.parametrize(
    ("name", "fault"), [("openai", "results_404"), ("anthropic", "results_500"), ("gemini", "results_404")]
)
async def test_results_that_cannot_be_had_twice_come_the_third_time(name, fault):
    async with batched(name, faults={fault: 1.0}) as vendor:
        if name == "gemini":
            file = await gemini_upload(vendor.to, gemini_lines(2))
            batch = await vendor.ended(await vendor.to.gemini.batches.create(model=GEMINI, src=file.name))

            async def results() -> bytes:
                return bytes(await vendor.to.gemini.files.download(file=batch.dest.file_name))
        else:
            batch = await vendor.ended(await vendor.send(2))

            async def results() -> dict[str, str]:
                return await vendor.results(batch)

        for _ in range(2):
            with pytest.raises(ERRORS):
                await results()
        assert await results()


@pytest.mark.parametrize("name", VENDORS)
async def test_creations_and_states_can_fail_for_a_while(name):
    async with batched(name, faults={"create_500": 0.5, "poll_500": 0.5}) as vendor:
        batch, failed = None, 0
        while batch is None:
            try:
                batch = await vendor.send(2)
            except ERRORS:
                failed += 1
        polled = []
        for _ in range(8):
            try:
                polled.append(await vendor.get(batch))
            except ERRORS:
                failed += 1
        assert failed
        assert polled
        assert len(vendor.to.simulator.ledger.batches) == 1


@pytest.mark.parametrize("name", VENDORS)
async def test_one_batch_more_than_may_be_open_is_a_429_until_one_has_ended(name):
    async with batched(name, open_batches=1, work_s=1.0) as vendor:
        batch = await vendor.send(1)
        with pytest.raises(
            (openai.RateLimitError, anthropic.RateLimitError, genai.errors.ClientError), match=r"429|rate"
        ):
            await vendor.send(1)
        await vendor.ended(batch)
        await vendor.send(1)


async def test_too_many_enqueued_tokens_fail_openai_s_batch_and_are_a_429_at_gemini_and_too_many_rows_at_anthropic():
    async with batched("openai", enqueued_tokens=40, work_s=0.1) as vendor:
        first = await vendor.send(2)
        second = await vendor.ended(await vendor.send(2))
        [error] = second.errors.data
        assert (second.status, error.code) == ("failed", "token_limit_exceeded")
        assert error.message.startswith(
            f"Enqueued token limit reached for {GPT} in organization org-simulated. Limit: 40"
        )
        assert (await vendor.ended(first)).status == "completed"
        assert (await vendor.ended(await vendor.send(2))).status == "completed"
    async with batched("gemini", enqueued_tokens=3000, work_s=0.1) as vendor:
        await vendor.send(2)
        with pytest.raises(genai.errors.ClientError, match="RESOURCE_EXHAUSTED"):
            await vendor.send(2)
    async with batched("anthropic", enqueued_requests=3, work_s=0.1) as vendor:
        await vendor.send(2)
        with pytest.raises(anthropic.RateLimitError):
            await vendor.send(2)


@pytest.mark.parametrize("name", VENDORS)
async def test_batches_need_the_key_do_not_touch_the_limits_and_are_listed_by_pages_the_newest_first(name):
    async with batched(name, api_key="k", limits=ServerLimits(requests_per_minute=1)) as vendor:
        ids = []
        for _ in range(3):
            batch = await vendor.send(2)
            ids.insert(0, batch.name if name == "gemini" else batch.id)
            await vendor.ended(batch)
        assert await vendor.listed(limit=2) == ids
        assert vendor.to.simulator.ledger.limited == 0
        paths = {"openai": "/v1/batches", "anthropic": "/v1/messages/batches", "gemini": "/v1beta/batches"}
        headers = {"anthropic": {"x-api-key": "other"}, "gemini": {"x-goog-api-key": "other"}}
        headers["openai"] = {"Authorization": "Bearer other"}
        async with vendor.to.session.get(paths[name], headers=headers[name]) as response:
            assert response.status == (400 if name == "gemini" else 401)


async def test_the_account_names_every_row_s_batch_and_request_over_http_too():
    async with batched("openai") as vendor:
        batch = await vendor.ended(await vendor.send(2))
        await vendor.ended(await vendor.send(1))
        async with vendor.to.session.get("/ledger") as response:
            account = await response.json()
        assert account["totals"]["batches"], account["totals"]["batch_rows"] == (2, 3)
        rows = account["batches"][batch.id]["rows"]
        assert set(rows) == {"row-0", "row-1"}
        assert rows["row-0"]["billed_usd"] > 0
        assert [digest for digest, entry in account["requests"].items() if entry["again"]] == [rows["row-0"]["digest"]]


async def test_a_row_that_comes_while_its_first_batch_is_open_shows_as_sent_twice():
    async with batched("anthropic", work_s=60.0) as vendor:
        await vendor.send(2)
        assert vendor.to.simulator.ledger.repeated() == []
        await vendor.send(1)
        assert len(vendor.to.simulator.ledger.repeated()) == 1


async def test_credit_that_runs_out_fails_the_rows_that_it_does_not_cover():
    async with batched("openai", credit_usd="0.0006") as vendor:
        results = await vendor.results(await vendor.ended(await vendor.send(10)))
        assert set(results.values()) == {"succeeded", "429"}
        assert vendor.to.simulator.ledger.billed_usd <= Fraction("0.0006")


async def test_files_of_openai_s_are_listed_read_back_and_deleted():
    async with simulated(batches=rules(max_bytes=100)) as to:
        file = await to.gpt.files.create(
            file=("a.jsonl", b"{}\n" * 40), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert file.expires_at - file.created_at == 3600
        assert (await to.gpt.files.content(file.id)).content == b"{}\n" * 40
        assert [each.id async for each in to.gpt.files.list(purpose="batch")] == [file.id]
        batch = await gpt_ended(
            to,
            await to.gpt.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            ),
        )
        assert batch.errors.data[0].code == "file_too_large"
        read_strictly(await to.gpt.files.delete(file.id))
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            await to.gpt.files.retrieve(file.id)
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            await to.gpt.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        with pytest.raises(openai.BadRequestError, match="24h"):
            await to.gpt.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="1h",  # type: ignore[arg-type]
            )
        with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
            await to.gpt.files.create(file=("a.txt", b"x"), purpose="batch")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"faults": {"row_501": 0.1}}, "row_501"),
        ({"faults": {"failed": 1.5}}, "failed"),
        ({"work_s": -1.0}, "work_s"),
        ({"open_batches": 0}, "open_batches"),
        ({"price_share": 2}, "price_share"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings, named):
    with pytest.raises(UserError, match=named):
        BatchRules(**settings)


@pytest.mark.skipif(not DOCS.is_file(), reason="only a checkout has the page")
def test_the_simulators_page_names_every_fault_of_batches():
    assert set(BATCH_FAULTS) <= set(re.findall(r"`(\w+)`", DOCS.read_text("utf-8")))

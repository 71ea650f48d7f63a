"""The vendors' own Python SDKs send batches to the simulator, follow them, and read their results."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from vendor_sdks import GPT, of_gpt, read_strictly, simulated

from unsaf_async.simulate import BatchRules

openai = pytest.importorskip("openai")


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

"""The model card of a trained student, from the training's own record and the card of its data. Pure text.

No folder of the machine is named: the model is passed on.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from unsaf_async.distill.data.build_rows import private
from unsaf_async.distill.data.card import TEACHES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from unsaf_async.distill.train.recipe import Recipe

_SECTIONS = ("Models", "Terms")
"""Of the data's card: what holds for whoever uses the student."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def card(recipe: Recipe, record: Mapping[str, Any], data_card: str | None) -> str:
    """README.md of a trained student.

    Args:
        recipe: What was trained, on what, and how.
        record: Its training.json.
        data_card: README.md of the export; None: it has none.

    Returns:
        Markdown with a YAML header, ending with a line break.
    """
    return "\n".join([*_header(recipe), *_body(recipe, record, data_card)]) + "\n"


def _header(recipe: Recipe) -> Iterator[str]:
    yield "---"
    yield "license: other"
    yield "license_name: see-terms-below"
    yield "library_name: transformers"
    yield "pipeline_tag: image-text-to-text"
    if _HUB_ID.fullmatch(recipe.student):
        yield f"base_model: {json.dumps(recipe.student)}"
        if recipe.revision:
            yield f"base_model_revision: {json.dumps(recipe.revision)}"
    yield "tags:"
    yield from (f"- {tag}" for tag in ("unsaf-async", "abstention", "distillation", "lora", "trl"))
    yield "---\n"


def _body(recipe: Recipe, record: Mapping[str, Any], data_card: str | None) -> Iterator[str]:
    yield from _summary(recipe, record)
    yield from _training(record)
    yield from _data(record)
    if record["merged"]:
        yield from _merged(record["merged"])
    yield from _terms(data_card)


def _summary(recipe: Recipe, record: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {private(recipe.student)}, distilled to ask, to answer and to decline\n"
    yield (
        f"`{private(recipe.student)}`, trained by unsaf-async {record['versions']['unsaf-async']} on what a teacher got right: "
        "questions that an image answers, questions that it does not, and what to say to each. "
        f"A LoRA of {record['trainable']:,} parameters on {len(record['adapted_layers'])} linear layers of the language "
        "model; the "
        f"other {record['parameters']:,} parameters, vision tower and projector among them, are those of the base (sha256 "
        f"`{record['frozen_sha256']}`, equal before and after training).\n"
    )
    if recipe.dora:
        way = "serve `merged/`" if record["merged"] else "merge it first"
        yield f"- `adapter/`: the LoRA, for PEFT, with the processor that it was trained with; vLLM refuses DoRA: {way}"
    else:
        rank = max(16, recipe.lora_r, *(rank for _, rank in recipe.ranks))
        yield "- `adapter/`: the LoRA, for PEFT and for vLLM (`vllm serve BASE --enable-lora --lora-modules NAME=adapter"
        yield f"  --max-lora-rank {rank}`), with the processor that it was trained with"
    if record["merged"]:
        where = ", which is not on the hub" if recipe.push_to_hub and not recipe.push_merged else ""
        yield f"- `merged/`: the whole model, for `transformers.AutoModelForImageTextToText`{where}"
    yield "- `recipe.yaml`: the settings, for `unsaf-async distill --recipe`"
    yield "- `training.json`: recipe, versions, every loss\n"
    yield "Whether it got better is not known from this: measure it, with over-refusal and accuracy, before and after.\n"


def _training(record: Mapping[str, Any]) -> Iterator[str]:
    yield "## Training\n"
    yield from _stages(record)
    settings = ", ".join(f"{name} {json.dumps(value)}" for name, value in record["recipe"].items() if value is not None)
    yield f"Settings: {settings}.\n"
    if (share := record["preflight"].get("adapted_share")) is not None:
        yield f"The LoRA is added to layers with {100 * share:.1f} % of the base's weights.\n"
    yield f"On {record['device']}, {record['processes']} process{'es' if record['processes'] != 1 else ''}; versions: "
    yield ", ".join(f"{name} {version}" for name, version in record["versions"].items()) + ".\n"


def _data(record: Mapping[str, Any]) -> Iterator[str]:
    yield "## Data\n"
    checked = record["preflight"]
    yield "| kind | teaches | rows | supervised tokens | share of tokens | validation loss after |"
    yield "| --- | --- | --- | --- | --- | --- |"
    after = record["stages"][0]["eval_by_kind"]
    for kind, of in checked["kinds"].items():
        loss = f"{after[kind]:.4f}" if kind in after else "n/a"
        yield f"| {kind} | {TEACHES.get(kind, '')} | {of['rows']} | {of['tokens']} | {100 * of['share']:.1f} % | {loss} |"
    pairs = f", {checked['pairs']} preference pairs" if checked["pairs"] else ""
    yield (
        f"\n{checked['train_rows']} training rows, {checked['validation_rows']} validation rows{pairs}, "
        f"{checked['images']} images. "
        f"The longest sequence has {checked['longest_tokens']} tokens; nothing was cut off, "
        f"{checked.get('too_long', 0) or 'no'} rows were left out as too long. Most pixels of "
        f"an image: {checked['pixel_cap'] or 'the processor takes no cap'}. No image is in both splits; near "
        f"copies in both: {'not looked for' if checked['near_copies'] is None else checked['near_copies']}.\n"
    )
    yield from (f"- {note}" for note in checked["notes"])


def _merged(merged: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## The merged model\n"
    stored = ", ".join(merged["dtypes"])
    yield f"{merged['weights']} weights are others than the base's: merged in float32, stored in {stored}."
    if (check := merged["compared"]) is None:
        yield "Its logits were not compared with the adapter's: there was no memory for the whole model.\n"
        return
    yield (
        f"Largest difference of two logits on a few rows, computed in {check['dtype']}: "
        f"{check['adapter_effect']:.2g} between base and adapter, {check['merge_error']:.1e} by merging, "
        f"{check['rounding']:.1e} by rounding, {check['reload_error']:.1e} by writing and reading.\n"
    )


def _terms(data_card: str | None) -> Iterator[str]:
    yield "\n## Terms\n"
    yield (
        "The license is *other*: the base's license holds, and the terms of the data, which are below as the data's card tells "
        "them. Several providers forbid using their models' outputs to train models that compete with theirs.\n"
    )
    if data_card is None:
        yield "The data came without a card: what their terms are is not known here."
        return
    for name in _SECTIONS:
        if text := _section(data_card, name):
            yield f"### Data: {name.lower()}\n\n{text}\n"


def _stages(record: Mapping[str, Any]) -> Iterator[str]:
    yield "| stage | steps | training loss | validation loss | tokens seen | supervised | tokens/s |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for stage in record["stages"]:
        speed = "n/a" if stage["tokens_per_s"] is None else f"{stage['tokens_per_s']:,.0f}"
        yield (
            f"| {stage['name']} | {stage['steps']} | {_change(stage['losses'])} | {_change(stage['eval_losses'])} "
            f"| {_count(stage['tokens'])} | {_count(stage['supervised_tokens'])} | {speed} |"
        )
    yield ""
    if any(stage["tokens"] is None for stage in record["stages"]):
        yield "n/a: the training was stopped and went on from a checkpoint without the counts of what it had seen.\n"


def _count(tokens: int | None) -> str:
    return "n/a" if tokens is None else f"{tokens:,}"


def _change(losses: list[tuple[int, float]]) -> str:
    return f"{losses[0][1]:.4f} to {losses[-1][1]:.4f}" if losses else "n/a"


def _section(text: str, name: str) -> str:
    """What stands below the heading `name` in Markdown, up to the next heading; "" if it has none."""
    match = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return match.group(1).strip() if match else ""


def read_card(folder: Path) -> str | None:
    """The card of an export.

    Args:
        folder: The export's folder.

    Returns:
        README.md; None if there is none.
    """
    file = folder / "README.md"
    return file.read_text("utf-8") if file.is_file() else None

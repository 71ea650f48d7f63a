"""Questions that would teach twice, or against each other: what is dropped of them, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING

from unsaf_async.findings.meaning import near_duplicates
from unsaf_async.parse import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unsaf_async.distill.rows import Item

SAME_QUESTION = 20
"""Images of one label that a question may be about, in the same words: one that stands everywhere is learned as a habit."""

MOST_COMPARED = 1_000
"""Different questions of a cluster that are compared each with each. Of more, near ones are looked for within an image, and only
equal ones across the cluster."""


def without_contradictions(items: Sequence[Item], cluster_of: Mapping[str, str]) -> tuple[list[Item], int]:
    """`items` without those that are asked with the other label, too, of the same picture, in the same or nearly the same words.

    Both sides go: which one is right is not known. cluster_of: by pixels' sha256. Also returns how many went.
    Refusing everything is learned from such pairs: Zhu et al., CRaFT (arXiv 2410.06913), "static conflict".
    """
    by_cluster: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_cluster[cluster_of[item.pixels]].append(place)
    bad: set[int] = set()
    for inside in by_cluster.values():
        if len({items[place].label for place in inside}) > 1:
            bad |= _contradictory(items, inside)
    return [item for place, item in enumerate(items) if place not in bad], len(bad)


def _contradictory(items: Sequence[Item], places: Sequence[int]) -> set[int]:
    texts = {items[place].question.text for place in places}
    if len(texts) <= MOST_COMPARED:
        return _opposed(items, places)
    by_image: dict[str, list[int]] = defaultdict(list)
    by_text: dict[str, list[int]] = defaultdict(list)
    for place in places:
        by_image[items[place].pixels].append(place)
        by_text[normal(items[place].question.text)].append(place)
    bad: set[int] = set()
    for group in by_image.values():
        bad |= _opposed(items, group)
    for group in by_text.values():
        if len({items[place].label for place in group}) > 1:
            bad |= set(group)
    return bad


def _opposed(items: Sequence[Item], places: Sequence[int]) -> set[int]:
    asked: dict[str, list[int]] = defaultdict(list)
    for place in places:
        asked[items[place].question.text].append(place)
    texts = list(asked)
    pairs = [(i, i) for i in range(len(texts))] + near_duplicates(texts)
    bad: set[int] = set()
    for i, j in pairs:
        both = {*asked[texts[i]], *asked[texts[j]]}
        if len({items[place].label for place in both}) > 1:
            bad |= both
    return bad


def without_duplicates(items: Iterable[Item]) -> tuple[list[Item], int]:
    """`items` with each question once an image, the first one; two are one if they differ in form alone. And how many went."""
    seen: set[tuple[str, str]] = set()
    kept: list[Item] = []
    dropped = 0
    for item in items:
        key = (item.pixels, normal(item.question.text) or item.question.text)
        if key in seen:
            dropped += 1
            continue
        seen.add(key)
        kept.append(item)
    return kept, dropped


def capped(items: Sequence[Item], most: int, seed: int) -> tuple[list[Item], int]:
    """`items` with no question of one label about more than `most` images; and how many went. Which stay, the seed says.

    Of the student's own answers another `most` may stay.
    """

    def rank(item: Item) -> bytes:
        return sha256(f"{seed}:{item.run.manifest.run_id}:{item.pixels}:{item.number}".encode()).digest()

    counts: Counter[tuple[str, str, bool]] = Counter()
    kept: set[int] = set()
    for place in sorted(range(len(items)), key=lambda place: rank(items[place])):
        item = items[place]
        key = (normal(item.question.text) or item.question.text, item.label, item.run.replay)
        counts[key] += 1
        if counts[key] <= most:
            kept.add(place)
    return [item for place, item in enumerate(items) if place in kept], len(items) - len(kept)

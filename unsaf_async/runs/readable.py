"""Whether the measured model can read a run's prompts, as far as its limit is known without asking it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.prompts import QUESTIONS

if TYPE_CHECKING:
    from unsaf_async.prompts import Pack
    from unsaf_async.providers.profile import Profile


def why_unreadable(subject: Profile, pack: Pack, questions: int | None) -> str:
    """Why a model cannot read what a run asks of it. Calls nobody; blocks while it reads the model's tokenizer.

    Args:
        subject: The measured model's profile. Only of tiny models the limit is known beforehand.
        pack: The prompts.
        questions: K, per label; None where the questions are given, and none are asked for.

    Returns:
        The reason; "" where nothing speaks against it.
    """
    if subject.backend != "tiny":
        return ""
    from unsaf_async.tiny.context import too_long
    from unsaf_async.tiny.folders import folder_of

    prompts = [pack.answer("")]
    if questions is not None:
        prompts += [pack.ask(label, questions) for label in QUESTIONS]
    found = too_long(folder_of(subject), prompts)
    if found is None:
        return ""
    return f"a prompt has {found[0]} tokens, and {subject.model} reads {found[1]}"

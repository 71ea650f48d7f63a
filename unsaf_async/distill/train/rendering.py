"""Rows as the student reads them: in its chat template, and how many tokens they and their images make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image
from trl import apply_chat_template
from trl.data_utils import prepare_multimodal_messages

from unsaf_async.distill.train.corpus import DPO_TEXTS, SFT_TEXTS
from unsaf_async.errors import UserError, setting
from unsaf_async.text import typed_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import ProcessorMixin

    from unsaf_async.distill.train.corpus import Corpus, CorpusRow, Pictures

_AT_A_TIME = 1_024
"""Texts that are tokenized in one call."""


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """A row as the student reads it."""

    row: CorpusRow
    texts: Mapping[str, str]
    """By column, with the marks of its chat template."""
    prompt_tokens: int
    """The image's included."""
    reply_tokens: tuple[int, ...]
    """Of each reply: one, or of a pair two."""

    @property
    def tokens(self) -> int:
        """Of the longest sequence that the row makes."""
        return self.prompt_tokens + max(self.reply_tokens)


@dataclass(frozen=True)
class RenderedRows:
    """All rows as the student reads them; the pairs are empty without `Recipe.dpo`."""

    train: list[RenderedRow]
    validation: list[RenderedRow]
    train_pairs: list[RenderedRow]
    validation_pairs: list[RenderedRow]

    @property
    def all(self) -> list[RenderedRow]:
        """Every row and pair."""
        return self.train + self.validation + self.train_pairs + self.validation_pairs


class Renderer:
    """Texts in the student's chat template, and how many tokens they and their images make."""

    def __init__(self, processor: ProcessorMixin, student: str, pictures: Pictures) -> None:
        self.processor, self.student, self.pictures = processor, student, pictures
        self.end_added = False
        self._of_number: dict[int, int] = {}
        self._of_size: dict[tuple[int, int], int] = {}

    def check_template(self) -> None:
        """Checks the student's chat template.

        Raises:
            UserError: It is of no use: see the messages.
        """
        user = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "QUESTION"}]}]
        text = [{"role": "user", "content": [{"type": "text", "text": "QUESTION"}]}]
        reply = [{"role": "assistant", "content": [{"type": "text", "text": "ANSWER"}]}]
        render = self.processor.apply_chat_template
        at = f"{setting('student')} {self.student}: its chat template"
        try:
            asked, asking, whole, bare = (
                render(user),
                render(user, add_generation_prompt=True),
                render([*user, *reply]),
                render(text),
            )
        except Exception as error:  # whatever a template raises
            raise UserError(
                f"{at} cannot show a question with an image and its answer ({typed_line(error)}); give a model whose template can"
            ) from None
        if "QUESTION" not in asked or "ANSWER" not in whole:
            raise UserError(f"{at} drops the text of a turn; give a model whose template shows it")
        if asked == bare:
            raise UserError(f"{at} drops the image; give a model whose template shows it")
        if asking == asked and not _marks_reply(asked, whole):
            raise UserError(
                f"{at} marks no place for the reply (add_generation_prompt changes nothing), so the student could not be asked "
                "to answer; give a model whose template does"
            )
        if not whole.startswith(asking):
            raise UserError(
                f"{at} writes a prompt with a reply unlike a prompt alone, so the student would learn what it is never asked; "
                "give a model whose template does not"
            )
        ending = whole[whole.rindex("ANSWER") + len("ANSWER") :].strip()
        self.end_added = not ending and bool(self.processor.tokenizer.eos_token)

    def render_corpus(self, corpus: Corpus) -> RenderedRows:
        """All rows and pairs of an export as the student reads them.

        Args:
            corpus: The export.

        Returns:
            The rows by split.

        Raises:
            UserError: A row cannot be written in the student's template.
        """
        return RenderedRows(
            train=self.render(corpus.train, SFT_TEXTS),
            validation=self.render(corpus.validation, SFT_TEXTS),
            train_pairs=self.render(corpus.preferred.get("train", []), DPO_TEXTS),
            validation_pairs=self.render(corpus.preferred.get("validation", []), DPO_TEXTS),
        )

    def render(self, rows: Sequence[CorpusRow], columns: Sequence[str]) -> list[RenderedRow]:
        """Rows as the student reads them.

        Args:
            rows: Rows of one kind of column.
            columns: The columns of turns; the first is the prompt, the others are replies.

        Returns:
            The rendered rows, in their order.

        Raises:
            UserError: A row cannot be written in the student's template.
        """
        prompt, *replies = columns
        texts = [self._texts(row, columns) for row in rows]
        lengths = {name: self._lengths([each[name] for each in texts]) for name in columns}
        return [
            RenderedRow(
                row=row,
                texts=each,
                prompt_tokens=lengths[prompt][place] + sum(map(self.image_tokens, row.images)),
                reply_tokens=tuple(lengths[name][place] for name in replies),
            )
            for place, (row, each) in enumerate(zip(rows, texts, strict=True))
        ]

    def _texts(self, row: CorpusRow, columns: Sequence[str]) -> dict[str, str]:
        prompt, *replies = columns
        try:
            messages = {prompt: prepare_multimodal_messages(row.texts[prompt], [None] * len(row.images))}
            messages |= {name: prepare_multimodal_messages(row.texts[name]) for name in replies}
            texts: dict[str, str] = apply_chat_template(messages, self.processor)
        except Exception as error:  # whatever a template raises
            raise UserError(
                f"{row.where}: the chat template of {self.student} does not take this row ({typed_line(error)}); "
                "leave the row out",
                field="data",
            ) from None
        if self.end_added:
            end = self.processor.tokenizer.eos_token
            texts = texts | {name: f"{texts[name].rstrip()}{end}" for name in replies}
        return {name: texts[name] for name in columns}

    def _lengths(self, texts: list[str]) -> list[int]:
        lengths: list[int] = []
        for start in range(0, len(texts), _AT_A_TIME):
            encoded = self.processor.tokenizer(texts[start : start + _AT_A_TIME], add_special_tokens=False)
            lengths += map(len, encoded["input_ids"])
        return lengths

    def image_tokens(self, number: int) -> int:
        """How many tokens an image adds to its mark in the text.

        Processors go by the size, so one blank image of each size is measured.

        Args:
            number: The image's number.

        Returns:
            Tokens, >= 0.

        Raises:
            UserError: The processor takes no image of this size.
        """
        if number not in self._of_number:
            size = self.pictures.size(number)
            if size not in self._of_size:
                self._of_size[size] = self._measured(size)
            self._of_number[number] = self._of_size[size]
        return self._of_number[number]

    def _measured(self, size: tuple[int, int]) -> int:
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
        text = self.processor.apply_chat_template(turn)
        try:
            made = self.processor(images=[[Image.new("RGB", size)]], text=[text], add_special_tokens=False)
        except Exception as error:  # whatever a processor raises
            raise UserError(
                f"{self.student}: its processor takes no image of {size[0]} x {size[1]} pixels ({typed_line(error)}); "
                "leave such images out",
                field="student",
            ) from None
        return len(made["input_ids"][0]) - self._lengths([text])[0]


def _marks_reply(asked: str, whole: str) -> bool:
    """Whether what ends a question is also the place of the reply, as Mistral's "[/INST]" is: the answer follows it at once."""
    end = asked.rpartition("QUESTION")[2].strip()
    return bool(end) and whole.partition("ANSWER")[0].rpartition("QUESTION")[2].strip() == end

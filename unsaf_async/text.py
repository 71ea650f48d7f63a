"""Figures, amounts and errors as people read them, in the terminal, the report and the documents alike."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import datetime, timedelta

NOT_AVAILABLE = "n/a"
"""What stands for a figure that is undefined or unknown."""

SIMULATED = (
    "A simulated model was measured: its figures show that the pipeline works, and say nothing about any real model."
)
"""What is said wherever figures of a simulated model are shown."""


def format_figure(value: float | None, digits: int = 3) -> str:
    """A figure with a fixed number of decimals; "n/a" for None.

    Args:
        value: The figure. None: it is undefined.
        digits: Digits after the point, >= 0.

    Returns:
        "0.812", or "n/a".
    """
    return NOT_AVAILABLE if value is None else f"{value:z.{digits}f}"


def format_headline(value: float | None, between: tuple[float, float] | None) -> str:
    """A score's headline: its figure, or where so much is unscored that the figure says little, its bounds.

    Args:
        value: The figure; None: it is undefined.
        between: The bounds, where they are the headline (`Score.unf1_between`); None: the figure is.

    Returns:
        "0.737", "between 0.000 and 0.737" or "n/a".
    """
    return f"between {format_figure(between[0])} and {format_figure(between[1])}" if between else format_figure(value)


def format_difference(value: float | None) -> str:
    """A difference of two figures, with its sign; "n/a" for None.

    Args:
        value: The difference. None: it is undefined.

    Returns:
        "+0.021", "-0.021", "0.000" for what rounds to it, or "n/a".
    """
    return NOT_AVAILABLE if value is None else f"{value:+z.3f}".replace("+0.000", "0.000")


def format_interval(ends: tuple[float, float] | None, absent: str = NOT_AVAILABLE) -> str:
    """An interval as its two ends; `absent` for None.

    Args:
        ends: (lower, upper). None: there is no interval.
        absent: What stands for no interval.

    Returns:
        "0.812 to 0.934", or `absent`.
    """
    return f"{ends[0]:z.3f} to {ends[1]:z.3f}" if ends else absent


FORM_WORDS = {
    "open": "for an answer in free words",
    "choice": "with options, and answers are read by rules",
    "both": "for an answer in free words, and with options",
}
"""How questions are put, by the setting `form`."""

INTERVAL_METHODS = {
    "logit_t": "t interval on the logit scale",
    "exact_one_sided": "exact and one-sided",
    "fixed_width_stop": "of the rule that stopped the run",
    "anytime": "holds at any number of images",
    "bca": "BCa bootstrap",
    "percentile": "percentile bootstrap",
}
"""How an interval of UnF1 was computed, in words, by its name in score.json."""


def format_bracketed(ends: tuple[float, float] | None) -> str:
    """An interval that follows its figure on the same line; "" for None.

    Args:
        ends: (lower, upper). None: there is no interval.

    Returns:
        " (0.812 to 0.934)" with the space before it, or "".
    """
    return f" ({format_interval(ends)})" if ends else ""


def format_p(value: float | None) -> str:
    """A p-value with three digits that never reads as 0; "n/a" for None.

    Args:
        value: The p-value, in [0, 1]. None: it is undefined.

    Returns:
        "0.042", "< 0.001", or "n/a".
    """
    return NOT_AVAILABLE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_points(points: float) -> str:
    """A number of percentage points, with its sign.

    Args:
        points: Percentage points.

    Returns:
        "+2.5", "-1", or "0".
    """
    return f"{points:+g}" if points else "0"


def format_percent(share: float | None) -> str:
    """A share in whole percents, with one digit more below ten; "n/a" for None.

    Args:
        share: The share, in [0, 1]. None: it is undefined.

    Returns:
        "42%", "4.2%", "0%", or "n/a".
    """
    if share is None:
        return NOT_AVAILABLE
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def format_percents(ends: tuple[float, float] | None) -> str:
    """An interval in percents that follows its share on the same line; "" for None.

    Args:
        ends: (lower, upper), in [0, 1]. None: there is no interval.

    Returns:
        " (81% to 93%)" with the space before it, or "".
    """
    return f" ({format_percent(ends[0])} to {format_percent(ends[1])})" if ends else ""


def format_part(part: float, whole: float) -> str:
    """A part as percents of its whole, with one decimal; "n/a" if the whole is 0.

    Args:
        part: The part.
        whole: What it is a part of, in the same unit.

    Returns:
        "12.5 %", or "n/a".
    """
    return NOT_AVAILABLE if not whole else f"{100 * part / whole:.1f} %"


def format_mean(total: float, n: int) -> str:
    """A mean with one decimal; "n/a" if nothing was counted.

    Args:
        total: The sum of the values.
        n: How many values there are, >= 0.

    Returns:
        "12.5", or "n/a".
    """
    return NOT_AVAILABLE if not n else f"{total / n:.1f}"


def format_usd(usd: float | None, digits: int | None = None) -> str:
    """An amount of US dollars; "n/a" for None.

    Args:
        usd: The amount in US dollars, >= 0. None: it is unknown.
        digits: Digits after the point. None: two, and four below one dollar; thousands are then separated.

    Returns:
        "$1,234.50", "$0.0123", "$0.00", or "n/a".
    """
    if usd is None:
        return NOT_AVAILABLE
    if digits is not None:
        return f"${usd:.{digits}f}"
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def prompt_cache_in_words(saved_usd: float | None, cost_usd: float | None) -> str:
    """What the providers' caches of prompts did to a run's cost.

    Args:
        saved_usd: What the run would have cost more without them; below 0 where it would have cost less.
        cost_usd: What it cost.

    Returns:
        "prompt caching saved $1.20 of $3.00"; "" where they did nothing.
    """
    if not saved_usd or cost_usd is None:
        return ""
    if saved_usd < 0:
        return f"prompt caching cost {format_usd(-saved_usd)} more than it saved"
    return f"prompt caching saved {format_usd(saved_usd)} of {format_usd(cost_usd + saved_usd)}"


def format_seconds(seconds: float | None) -> str:
    """A duration in seconds, from two minutes on in minutes, from two hours on in hours; "n/a" for None.

    Args:
        seconds: The duration in seconds, >= 0. None: it is unknown.

    Returns:
        "12.5 s", "3.5 min", "2.5 h", or "n/a".
    """
    if seconds is None:
        return NOT_AVAILABLE
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def format_bytes(size_bytes: int) -> str:
    """A number of bytes in the largest decimal unit of which there is a whole one.

    Args:
        size_bytes: The number of bytes, >= 0.

    Returns:
        "1.5 GB", "1.5 MB", "1.5 kB", or "15 B".
    """
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= divisor:
            return f"{size_bytes / divisor:.1f} {unit}"
    return f"{size_bytes} B"


def format_count(n: int, one: str, many: str = "") -> str:
    """A number of things with their noun.

    Args:
        n: The number, >= 0.
        one: The noun for one of them.
        many: The noun for any other number. "": `one` with an s.

    Returns:
        "1 question", "1,200 questions".
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def shorten(text: str, limit: int, ellipsis: str = "...") -> str:
    """`text`, cut to a number of characters, and not within one that several code points make up.

    Args:
        text: Any text.
        limit: Most characters of the result, the ellipsis among them.
        ellipsis: What stands for the part that is cut off.

    Returns:
        `text` itself if it is no longer than `limit`.
    """
    if len(text) <= limit:
        return text
    end = limit - len(ellipsis)
    if not text.isascii():
        end = next((n for n in range(end, max(end - _LONGEST_CLUSTER, 0), -1) if not _joined(text, n)), end)
    return text[:end] + ellipsis


def shorten_at_word(text: str, limit: int) -> str:
    """`text`, cut behind a word to a number of characters.

    Args:
        text: Any text.
        limit: Most characters of the result, the ellipsis among them, >= 5.

    Returns:
        `text` itself if it is no longer than `limit`; else whole words and " ...", or a cut word where there is only one.
    """
    if len(text) <= limit:
        return text
    words, blank, _ = text[: limit - 3].rpartition(" ")
    return f"{words.rstrip(' ,;:')} ..." if blank else shorten(text, limit)


_LONGEST_CLUSTER = 32
"""Code points; longer ones are no character of any language."""


def _joined(text: str, at: int) -> bool:
    """Whether the code points before and behind a place belong to one character: accents, vowel signs, emoji, flags."""
    behind, before = text[at], text[at - 1]
    if (
        unicodedata.category(behind)[0] == "M"
        or behind in "\u200d\u0e33\u0eb3"
        or "\U0001f3fb" <= behind <= "\U0001f3ff"
    ):
        return True
    if before == "\u200d" or (unicodedata.combining(before) == 9 and unicodedata.category(behind) == "Lo"):
        return True  # a virama joins consonants
    if "\U0001f1e6" <= behind <= "\U0001f1ff":
        flags = re.search("[\U0001f1e6-\U0001f1ff]*$", text[max(0, at - _LONGEST_CLUSTER) : at])
        return flags is not None and len(flags[0]) % 2 == 1
    return False


def moment_in(seconds: float, now: datetime | None = None) -> str:
    """When a wait ends, by the user's own clock.

    Args:
        seconds: From now on, >= 0.
        now: In the user's own time zone; None: the current time.

    Returns:
        "14:02"; on another day "14:02 tomorrow" or "14:02 on 29 November".
    """
    now = now or datetime.now().astimezone()
    end = now + timedelta(seconds=seconds)
    days = (end.date() - now.date()).days
    day = "" if not days else " tomorrow" if days == 1 else f" on {end.day} {end:%B}"
    return f"{end:%H:%M}{day}"


def clock_in(seconds: float) -> str:
    """When a short wait ends, to the second, by the user's own clock.

    Args:
        seconds: From now on, >= 0.

    Returns:
        "14:02:37".
    """
    return f"{datetime.now().astimezone() + timedelta(seconds=seconds):%H:%M:%S}"


_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What a terminal obeys instead of showing it: escape sequences, marks that turn the direction of what follows; halves of
characters, which no stream can write; and invisible tags."""


def printable(text: str) -> str:
    """A text that a terminal shows and does not obey. Models, servers and files may say anything.

    Args:
        text: Any text.

    Returns:
        The text with U+FFFD for every control character but the ends of lines and tabs.
    """
    return _CONTROLS.sub("\ufffd", text)


def shown(text: str) -> str:
    """A text of others as a part of a line on a terminal: no control characters, and no line of its own.

    Args:
        text: Any text, such as an image's id or a server's words.

    Returns:
        The text on one line, with U+FFFD for every control character.
    """
    return printable(one_line(text))


def printable_json(text: str) -> str:
    """JSON that a terminal shows and does not obey, of the same meaning.

    Args:
        text: JSON.

    Returns:
        The JSON with escapes for control characters, which stand in nothing but its strings.
    """
    return _CONTROLS.sub(lambda found: json.dumps(found[0])[1:-1], text)


def one_line(text: str, limit: int | None = None, ellipsis: str = "") -> str:
    """`text` on one line: every run of white space is one space.

    Args:
        text: Any text.
        limit: Most characters of the result. None: any number.
        ellipsis: What stands for the part that is cut off; it counts towards `limit`.

    Returns:
        The line; "" if `text` is blank.
    """
    line = " ".join(text.split())
    return line if limit is None else shorten(line, limit, ellipsis)


def error_line(error: BaseException, limit: int | None = None) -> str:
    """What an error says, on one line; the name of its type if it says nothing.

    Args:
        error: Any exception.
        limit: Most characters of what it says. None: any number.

    Returns:
        The line; never "".
    """
    return one_line(str(error), limit) or type(error).__name__


def first_line(error: BaseException, limit: int) -> str:
    """The first line of what an error says; the name of its type if it says nothing.

    Args:
        error: Any exception, such as one whose text goes on with advice for programmers.
        limit: Most characters of the line.

    Returns:
        The line; never "".
    """
    lines = str(error).strip().splitlines()
    return one_line(lines[0], limit) if lines else type(error).__name__


def typed_line(error: BaseException, limit: int = 150) -> str:
    """An error's type and what it says, on one line: of libraries, whose messages alone seldom say what went wrong.

    Args:
        error: What was raised.
        limit: Most characters of its message.

    Returns:
        "ValueError: ..."; never "".
    """
    return f"{type(error).__name__}: {one_line(str(error), limit)}"


def install_extra(extra: str) -> str:
    """How a missing optional library is installed, as the end of an error's sentence.

    Args:
        extra: The extra of this package that brings it, such as "distill".

    Returns:
        The command, and where it is entered: the package is on no registry.
    """
    return f"in a checkout of unsaf-async: pip install '.[{extra}]'"

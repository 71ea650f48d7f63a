"""What the simulated model can say: a bank of questions with known truth, and the wording of its answers.

Data, and the few lines that fill its templates. `model.py` chooses among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unsaf_async.records import Kind, Label


@dataclass(frozen=True, slots=True)
class BankQuestion:
    """A question of the bank.

    label: the truth about it, in the simulated world. kind: why it has no answer; None if it has one.
    answers: sentences that commit to an answer, true or made up. absent: what an absent-object question presupposes.
    """

    text: str
    label: Label
    kind: Kind | None
    answers: tuple[str, ...]
    absent: str | None = None


@dataclass(frozen=True, slots=True)
class Bank:
    """All questions of one truth, in a fixed order that mixes kinds and templates."""

    entries: tuple[BankQuestion, ...]

    def __len__(self) -> int:
        return len(self.entries)


# --- what fills the slots -----------------------------------------------------------------------------------------

_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "thing": (
            "table", "bench", "chair", "sign", "building", "wall", "bicycle", "tree", "cup", "door", "window", "hat",
            "road", "fence", "lamp", "jacket", "bag", "ball", "roof", "clock", "plant", "shelf",
        ),
        "object": (
            "table", "bench", "chair", "sign", "bicycle", "cup", "hat", "lamp", "jacket", "bag", "ball", "clock",
        ),
        "things": (
            "people", "chairs", "windows", "trees", "cars", "animals", "cups", "lights", "signs", "books", "shoes",
            "bottles",
        ),
        "person": (
            "person in the foreground", "person on the left", "person on the right", "man in the middle",
            "woman in the background", "child", "person closest to the camera", "man with the bag",
        ),
        "container": ("box", "bag", "drawer", "suitcase", "van", "cupboard", "basket with the lid", "envelope", "tin"),
        "openable": ("door", "window", "gate", "book", "laptop", "box"),
        "round": ("table", "sign", "clock", "mirror", "plate", "lamp", "window", "bowl"),
        "absent": (
            "penguin", "hot-air balloon", "cello", "lighthouse", "red umbrella", "chandelier", "sailing ship",
            "drum kit", "parrot", "snowman", "tractor", "violin", "globe", "fire engine",
        ),
        "side": ("left edge", "right edge", "top", "bottom"),
        "place": ("room", "street", "place in the picture", "building in the background"),
        "attribute": ("What colour", "What shape", "How old", "How heavy", "What brand", "How large"),
        "vague": ("that one", "the other one", "this thing", "the first of them", "the smaller one"),
        "colour": ("red", "blue", "white", "black", "green", "brown", "grey", "yellow"),
        "number": ("two", "three", "four", "five", "six", "seven"),
        "where": (
            "on the left side", "on the right side", "in the centre", "in the background", "in the foreground",
            "near the top", "at the bottom",
        ),
        "shape": ("round", "square", "rectangular", "oval"),
        "state": ("open", "closed"),
        "clothing": ("a dark jacket", "a white shirt", "a blue coat", "a striped sweater", "a grey suit"),
        "activity": ("walking", "sitting", "looking at the camera", "reading", "carrying something", "waving"),
        "material": ("wood", "metal", "plastic", "stone", "glass", "fabric"),
        "name": ("Tom", "Maria", "David", "Anna", "Sam"),
        "job": ("a teacher", "an engineer", "a nurse", "a shop assistant", "a photographer"),
        "city": ("Lisbon", "Chicago", "Hamburg", "Osaka", "Melbourne"),
        "price": ("20 dollars", "45 dollars", "150 dollars", "80 euros"),
        "span": ("about two years", "a few weeks", "three hours", "ten years"),
        "wish": ("going home", "the evening meal", "a holiday", "an old friend", "work"),
    }
)  # fmt: skip
"""Slot values. Slots in a question multiply it; slots that stand only in an answer are drawn when it is given."""

# question template -> answer templates
_ANSWERABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "What colour is the {thing}?": ("The {thing} is {colour}.", "It is {colour}."),
        "How many {things} are in the image?": ("There are {number} {things} in the image.", "{number}."),
        "Where in the image is the {thing}?": ("The {thing} is {where}.", "It is {where}."),
        "What is the {thing} made of?": ("The {thing} is made of {material}.",),
        "What is the {person} wearing?": ("The {person} is wearing {clothing}.",),
        "What is the {person} doing?": ("The {person} is {activity}.",),
        "Is the {openable} open or closed?": ("The {openable} is {state}.", "It is {state}."),
        "What shape is the {round}?": ("The {round} is {shape}.", "It is {shape}."),
        "Is the {person} standing or sitting?": ("The {person} is standing.", "The {person} is sitting."),
        "Is the {thing} in the foreground or in the background?": (
            "The {thing} is in the foreground.",
            "The {thing} is in the background.",
        ),
        "Is there a {thing} in the picture?": ("Yes, there is a {thing}.", "Yes.", "No."),
        "What can be seen at the {side} of the picture?": ("There is a {colour} {thing} there.",),
        "What is next to the {thing}?": ("A {colour} bag is next to the {thing}.", "Next to it is a small plant."),
        "Are there any {things} in the background?": ("Yes, there are {number} {things} in the background.", "No."),
        "Was the picture taken indoors or outdoors?": ("It was taken outdoors.", "It was taken indoors."),
        "Is it day or night in the picture?": ("It is day.", "It is night."),
        "What is the main subject of the picture?": ("The main subject is the {thing}.",),
        "What is in the background?": ("A {colour} building is in the background.", "There are trees."),
        "Is the picture in colour or in black and white?": ("It is in colour.", "It is in black and white."),
        "Which colour covers most of the picture?": ("Most of the picture is {colour}.",),
        "Is there any text that can be read in the image?": ("Yes, there is a sign with text.", "No."),
        "What does the weather look like?": ("It is sunny.", "It is overcast.", "The sky is clear."),
        "Is the ground wet or dry?": ("The ground is dry.", "The ground is wet."),
        "Is the picture taken from above or at eye level?": ("It is taken at eye level.", "It is taken from above."),
        "Which is larger, the {thing} or the cup beside it?": ("The {thing} is larger.", "The cup is larger."),
        "Does the {thing} have a pattern on it?": ("Yes, it has stripes.", "No, it is plain."),
        "Is the subject in focus or blurred?": ("It is in focus.", "It is slightly blurred."),
        "What kind of surface is the subject on?": ("It is on a {material} surface.",),
    }
)

_UNANSWERABLE: Mapping[Kind, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "absent-object": {
            "What colour is the {absent}?": ("It is {colour}.", "The {absent} is {colour}."),
            "Who is standing beside the {absent}?": ("A man in {clothing} is beside the {absent}.",),
            "What is written on the {absent}?": ('It says "Welcome".', 'The {absent} says "{name}".'),
            "Which way is the {absent} facing?": ("It is facing to the left.", "The {absent} is facing the camera."),
        },
        "hidden": {
            "What is inside the {container}?": ("There are clothes inside.", "The {container} holds some papers."),
            "What is behind the {object}?": (
                "There is a {colour} wall behind the {object}.",
                "A small dog is behind it.",
            ),
            "What is written on the back of the {object}?": ('It says "{name}".', "The maker's name is on the back."),
            "What lies just beyond the {side} of the picture?": ("There is another bench.", "A parked car."),
            "What is the {person} holding behind their back?": ("They are holding a phone.", "A {colour} flower."),
        },
        "temporal": {
            "What will the {person} do next?": ("They will walk away.", "The {person} will sit down."),
            "Where was the {person} an hour earlier?": ("At home.", "They were at a cafe."),
            "How long has the {object} been there?": ("It has been there for {span}.", "For {span}."),
            "When was the {object} last repaired?": ("It was repaired last year.", "In the spring."),
            "What happened just before this picture was taken?": ("Somebody closed the door.", "It had rained."),
            "What will this scene look like in ten years?": ("It will look much the same.",),
        },
        "mental": {
            "What is the {person} thinking about?": ("They are thinking about {wish}.", "About {wish}."),
            "Why did the {person} decide to come here?": ("They came to meet a friend.", "To take a break."),
            "Does the {person} enjoy being there?": ("Yes, they enjoy it.", "No, they are bored."),
            "What does the {person} hope will happen today?": ("They hope for good news.", "They hope for {wish}."),
            "What did the photographer want to express?": ("They wanted to express calm.",),
        },
        "identity": {
            "What is the name of the {person}?": ("Their name is {name}.", "The {person} is called {name}."),
            "Who owns the {object}?": ("It belongs to {name}.", "The owner is {name}."),
            "What does the {person} do for a living?": ("They work as {job}.", "The {person} is {job}."),
            "Where does the {person} live?": ("They live in {city}.", "In {city}."),
            "Who took this picture?": ("It was taken by {name}.",),
        },
        "non-visual": {
            "How much did the {object} cost?": ("It cost {price}.", "The {object} cost {price}."),
            "What does the {place} smell like?": ("It smells of coffee.", "It smells fresh."),
            "How many grams does the {object} weigh?": ("It weighs 900 grams.", "About 2,000 grams."),
            "What sounds can be heard near the {object}?": ("Quiet music.", "The sound of traffic can be heard."),
            "What is the temperature in the scene, to the degree?": ("It is 21 degrees.", "It is 17 degrees."),
        },
        "ambiguous": {
            "{attribute} is {vague}?": ("It is the {colour} one.", "That one is {colour} and quite large."),
            "Which of the {things} is meant?": ("The one on the left.", "The {colour} one."),
        },
        "other": {
            "In which city was the {object} photographed?": ("It was photographed in {city}.",),
            "Does the {object} meet the current safety rules?": ("Yes, it meets them.", "No."),
            "How many {things} like these exist in the world?": ("There are about ten thousand.", "About 500."),
            "Is the {object} an original or a copy?": ("It is an original.", "It is a copy."),
            "With which camera was this picture taken?": ("It was taken with a phone.",),
        },
    }
)

ABSTENTIONS: tuple[str, ...] = (
    "The image does not show that.",
    "It cannot be determined from the image.",
    "There is no way to tell from the picture.",
    "I can't tell from this image.",
    "The picture does not give enough information to answer that.",
    "This is not visible in the image.",
    "The photo does not show what is needed to answer this.",
    "Nothing in the picture says so.",
    "I am unable to determine that from the image alone.",
    "It is impossible to say from what is visible here.",
    "The image alone does not settle this.",
    "That information is not available in the image.",
    "From the image alone, this cannot be known.",
    "I cannot see enough in the photo to answer this.",
)
"""Ways to decline that fit any question."""

ABSTENTIONS_BY_KIND: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "absent-object": (
            "There is no {absent} in the image.",
            "I do not see a {absent} in this picture.",
            "The picture does not contain a {absent}.",
            "The question mentions a {absent}, but the image does not show one.",
        ),
        "hidden": (
            "That part is hidden from view, so it cannot be known.",
            "It lies outside what the image shows.",
        ),
        "temporal": (
            "A single picture does not show what came before or after.",
            "The image shows one moment only, so this cannot be determined.",
        ),
        "mental": (
            "Thoughts and intentions cannot be read from a picture.",
            "There is no way to know what goes on in somebody's mind from the image.",
        ),
        "identity": (
            "The image does not say who that is or what belongs to whom.",
            "Nothing visible identifies the person, so I cannot say.",
        ),
        "non-visual": (
            "A picture cannot convey that, so there is no way to know.",
            "The image does not give any measure of that.",
        ),
        "ambiguous": (
            "It is unclear which one is meant, so I cannot answer.",
            "The question could be about several things, so it cannot be answered.",
        ),
        "other": ("That would need information beyond the image.",),
    }
)
"""Ways to decline that name the reason, for questions which really have no answer."""

HEDGES: tuple[str, ...] = (
    "It is hard to be sure, but {answer}.",
    "I cannot be completely certain, but {answer}.",
    "The image is not entirely clear, but I would say {answer}.",
    "Judging by what is visible, {answer}, although I am not certain.",
    "This is difficult to tell exactly; my best answer is that {answer}.",
)
"""Doubt, then a commitment. `answer` is a sentence without its capital and its full stop."""

MALFORMED: tuple[str, ...] = (
    "The image shows a scene with several objects.",
    "I cannot answer that from the image.",
    "Here are some more questions about the image:",
    "Colour, number, position.",
    "There is no way to tell.",
    "...",
)
"""What a model that does not follow the instruction writes in place of a question."""

CHATTER = "This is the simulated model; it writes questions about images, answers them and judges answers."
"""The reply to a prompt that asks for none of the three."""


# --- spelling it out ----------------------------------------------------------------------------------------------


def normalised(text: str) -> str:
    """A text in lower case with single spaces and without punctuation at its ends.

    Args:
        text: Any text.

    Returns:
        The same for equal questions.
    """
    return " ".join(text.lower().split()).strip(" .?!\"'")


def slots(template: str) -> tuple[str, ...]:
    """The slot names in a template.

    Args:
        template: A text with slots such as {thing}.

    Returns:
        Each name once, in order of appearance.
    """
    return tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", template)))


def words(slot: str) -> tuple[str, ...]:
    """What can stand in a slot.

    Args:
        slot: Its name.

    Returns:
        The texts, at least one.

    Raises:
        KeyError: There is no such slot.
    """
    return _WORDS[slot]


@cache
def bank(label: Label) -> Bank:
    """All questions of one truth.

    Args:
        label: The truth.

    Returns:
        The questions in a fixed order that mixes kinds and templates.
    """
    groups: list[tuple[Kind | None, Mapping[str, tuple[str, ...]]]] = (
        [(None, _ANSWERABLE)] if label == "answerable" else list(_UNANSWERABLE.items())
    )
    entries = []
    for kind, templates in groups:
        for template, answers in templates.items():
            names = slots(template)
            for values in product(*(words(name) for name in names)):
                filled = dict(zip(names, values, strict=True))
                entries.append(
                    BankQuestion(
                        text=_fill(template, filled),
                        label=label,
                        kind=kind,
                        answers=tuple(_fill(answer, filled) for answer in answers),
                        absent=filled.get("absent"),
                    )
                )
    # Mixed once and for all, so that neighbours differ in template and kind.
    entries.sort(key=lambda entry: sha256(entry.text.encode()).digest())
    return Bank(tuple(entries))


@cache
def lookup() -> Mapping[str, BankQuestion]:
    """The whole bank by normalised text."""
    bank_by_text: dict[str, BankQuestion] = {}
    labels: tuple[Label, ...] = ("answerable", "unanswerable")
    for label in labels:
        for entry in bank(label).entries:
            if bank_by_text.setdefault(normalised(entry.text), entry) is not entry:
                raise AssertionError(f"the bank holds {entry.text!r} twice")
    return MappingProxyType(bank_by_text)


def _fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with the slots in `values` filled in, the others left for later; a sentence keeps its capital."""
    text = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)
    return text[:1].upper() + text[1:]


@cache
def _own(templates: tuple[str, ...]) -> re.Pattern[str]:
    patterns = (re.sub(r"\\\{\w+\\\}", ".+", re.escape(template)) for template in templates)
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.DOTALL)


def is_own_hedge(response: str) -> bool:
    """Whether a response is one of the simulated model's hedged answers.

    Args:
        response: Any text.

    Returns:
        True if it is.
    """
    return _own(HEDGES).fullmatch(response.strip()) is not None


def is_own_abstention(response: str) -> bool:
    """Whether a response is one of the simulated model's abstentions.

    Args:
        response: Any text.

    Returns:
        True if it is.
    """
    by_kind = (template for templates in ABSTENTIONS_BY_KIND.values() for template in templates)
    return _own((*ABSTENTIONS, *by_kind)).fullmatch(response.strip()) is not None

"""Patterns of words that several rules look for."""

from __future__ import annotations

import re

PICTURE = (
    r"(?:images?|photos?|photographs?|pictures?|pics?|scenes?|frame|screenshots?|shot|view|snapshot|drawing|painting"
    r"|illustration)"
)
"""Words for the image (a fragment of a pattern)."""

CONTEXT = re.compile(
    r"(?:based (?:up)?on|from|in|looking at|judging (?:by|from)|given|according to|as (?:far as|seen in)|within|for)\b"
    rf"[^,.]{{0,40}}?\b(?:{PICTURE}|visible|shown|available|see|here|provided|information|appearance)\b[^,.]{{0,25}}?,? "
)
"""What a question or a response refers to before it comes to the point: "Based on the image,"."""

COUNTED = ("how many", "how much", "how old", "what time", "number")
"""Words of a question that asks for a number."""

COLORED = ("color", "colors")
"""Words of a question that asks for a colour."""

COLOR = re.compile(
    r"\b(?:red|blue|white|black|green|brown|gr[ae]y|yellow|orange|purple|pink|beige|tan|gold(?:en)?|silver\w*|khaki|navy"
    r"|turquoise|teal|maroon|cream|violet|blond\w*|bronze|burgundy|ivory|magenta|cyan|olive|lavender|charcoal"
    r"|multi-?colou?red|transparent|clear|cobalt|peach|rust|dark|light|color(?:ful|s)?)\b"
)
NUMBER = re.compile(
    r"\b(?:\d[\d,.]*|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    r"|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|hundred|dozen|single|couple|pair|several|half)\b"
)
PERSON = re.compile(r"^(?:he|she|they|his|her|their|its|it)\b")
"""A pronoun at the beginning."""

EPISTEMIC = re.compile(
    r"\b(?:whether|if|determin\w*|tell|know\w*|knowing|unclear|unknown|certain|sure|possible|impossible|information|way|enough"
    r"|answer\w*|confirm\w*)\b"
)
"""Words about knowledge rather than about the image."""

"""Matplotlib's SVG as a part of the page.

A plot must follow the page's light and dark colors, under a policy that forbids style attributes. So it is drawn in stand-in
colors, one a role; in the SVG each becomes a class (`f-ink`, `s-ink`) that the style sheet colors, and every other style becomes
a presentation attribute. Text stays text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from unsaf_async.report.markup import el

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

COLORS = {
    name: f"#0{place:x}0{place:x}0{place:x}"
    for place, name in enumerate(("ink", "muted", "line", "paper", "good", "c1", "c2", "c3", "c4", "c5", "c6"), 1)
}
"""The stand-in for each role; the style sheet holds a custom property of the same name for each."""

_ROLES = {color: role for role, color in COLORS.items()}
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_ATTRIBUTES = frozenset(
    {
        "fill",
        "stroke",
        "stroke-width",
        "stroke-dasharray",
        "stroke-dashoffset",
        "stroke-opacity",
        "fill-opacity",
        "opacity",
        "text-anchor",
        "font-size",
        "font-weight",
        "clip-path",
    }
)
"""Properties kept, as presentation attributes. Fonts, joins and caps are the style sheet's."""
_FONT_SIZE = re.compile(r"([\d.]+)px")
_BOLD = re.compile(r"\b(bold|700)\b")


def adopt(svg: str, name: str, title: str, description: str) -> Element:
    """Matplotlib's SVG as an element without inline styles: classes for the roles' colors, attributes for the rest.

    Args:
        svg: As matplotlib writes it.
        name: The plot's id, unique on the page; letters, digits and hyphens.
        title: Of the plot.
        description: What the plot shows, in words.

    Returns:
        The element.
    """
    root = ET.fromstring(svg)
    named = {match for each in root.iter() for match in _references(each)}
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for each in root.iter():
        each.tag = _local(each.tag)
        _unstyle(each)
        for key in list(each.attrib):
            if key.startswith("{"):
                each.set(_local(key), each.attrib.pop(key))
        identity = each.attrib.pop("id", None)
        if identity in named:
            each.set("id", f"{name}-{identity}")
        for key, value in each.attrib.items():
            if key == "href":
                each.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                each.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
    _thin(root)
    view_box = root.get("viewBox") or ""
    root.attrib.clear()
    for key, value in {
        "viewBox": view_box,
        "class": "plot",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
    }.items():
        root.set(key, value)
    root.insert(0, el("title", title, id=f"{name}-title"))
    root.insert(1, el("desc", description, id=f"{name}-desc"))
    return root


def _references(element: Element) -> list[str]:
    references = [match for value in element.attrib.values() for match in _REFERENCE.findall(value)]
    references += [
        value[1:] for key, value in element.attrib.items() if _local(key) == "href" and value.startswith("#")
    ]
    return references


def _unstyle(element: Element) -> None:
    """Turn the style attribute, and colors in attributes, into classes and presentation attributes."""
    declarations = [part.partition(":") for part in element.attrib.pop("style", "").split(";")]
    for key, _, value in declarations:
        key, value = key.strip(), value.strip()
        if key == "font" and (size := _FONT_SIZE.search(value)):
            element.set("font-size", size[1])
            if _BOLD.search(value):
                element.set("font-weight", "650")
        elif key in _ATTRIBUTES:
            element.set(key, value.removesuffix("px") if key == "font-size" else value)
    classes = []
    for key, prefix in (("fill", "f"), ("stroke", "s")):
        if role := _ROLES.get(element.get(key, "")):
            del element.attrib[key]
            classes.append(f"{prefix}-{role}")
    if classes:
        element.set("class", " ".join(classes))


def _thin(root: Element) -> None:
    """Shorten what a reader never sees: spaces between elements, line breaks in paths, turns by no angle."""
    for each in root.iter():
        each.tail = None
        if each.tag != "text":
            each.text = None
        if "d" in each.attrib:
            each.set("d", " ".join(each.attrib["d"].split()))
        if each.get("transform", "").startswith("rotate(-0 "):
            del each.attrib["transform"]
        if each.tag == "text" and "fill" not in each.attrib and "class" not in each.attrib:
            each.set("class", "f-ink")


def _local(name: Any) -> str:
    return str(name).rpartition("}")[2]

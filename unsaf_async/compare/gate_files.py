"""What CI shows of gates: JUnit's XML for its list of tests, Markdown for the page of a job.

The XML is what Jenkins, GitLab and GitHub's actions read (the format has no standard; its usual form:
https://github.com/testmoapp/junitxml). The Markdown is GitHub's
(https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions#adding-a-job-summary).
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from unsaf_async.errors import as_option
from unsaf_async.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.compare.quality_gates import QualityGate

FINISHED = "every run is finished"
"""The name of the test that does not pass where the suite stopped early."""

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow (section 2.2)."""

_MARKS = {"pass": "✅ pass", "fail": "❌ fail", "cannot tell": "❔ cannot tell", "n/a": "❔ n/a"}
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~])")


def junit_of(name: str, gates: Sequence[QualityGate], stopped: str = "") -> bytes:
    """Gates as a JUnit file: a test each. What does not pass is no passed test.

    Args:
        name: The suite's.
        gates: Its gates.
        stopped: Why runs are not finished; "" if all are, or nobody was to be called.

    Returns:
        XML in UTF-8. A gate that fails or cannot tell is a failure, one that is n/a and a suite that stopped are errors.
    """
    wrong = {"fail": "failure", "cannot tell": "failure", "n/a": "error"}
    tests: list[tuple[str, str, str | None, str, str]] = [
        (gate.run, as_option(gate.what), wrong.get(gate.verdict), gate.verdict, gate.why) for gate in gates
    ]
    if stopped:
        tests.append(("suite", FINISHED, "error", "stopped early", stopped))
    kinds = [kind for _, _, kind, *_ in tests]
    totals = {"tests": f"{len(tests)}", "failures": f"{kinds.count('failure')}", "errors": f"{kinds.count('error')}"}
    root = ET.Element("testsuites", totals)
    suite = ET.SubElement(root, "testsuite", {"name": _xml(name), **totals, "skipped": "0"})
    for run, what, kind, verdict, why in tests:
        test = ET.SubElement(suite, "testcase", {"classname": _xml(f"{name}.{run}"), "name": what})
        if kind:
            ET.SubElement(test, kind, {"type": verdict, "message": _xml(why)}).text = _xml(why)
        else:
            ET.SubElement(test, "system-out").text = _xml(why)
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def summary_of(
    name: str,
    board: Sequence[Sequence[str]],
    gates: Sequence[QualityGate],
    cost: str,
    stopped: str = "",
    picture: Sequence[str] = (),
) -> str:
    """A suite as Markdown: its runs, its gates, and what it cost.

    Args:
        name: The suite's.
        board: The runs: name, headline, interval, images, cost.
        gates: Its gates.
        cost: What all runs cost together, in words.
        stopped: As for `junit_of`.
        picture: Lines of text that stand above the runs, as they are; () for none. They hold no backtick.

    Returns:
        Markdown whose texts hold no markup of their own.
    """
    passed = sum(gate.passed for gate in gates)
    lines = [f"## {_md(name)}" + (f": {passed} of {len(gates)} gates pass" if gates else ""), ""]
    if stopped:
        lines += [f"**Stopped early:** {_md(stopped)}", ""]
    if picture:
        lines += ["```text", *picture, "```", ""]
    if board:
        lines += _table(("run", "", "95 % interval", "images", "cost"), board)
    if gates:
        rows = [(_MARKS[gate.verdict], as_option(gate.what), gate.run, gate.why) for gate in gates]
        lines += _table(("verdict", "gate", "run", "why"), rows)
    return "\n".join([*lines, f"Cost: {_md(cost)}", ""])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    body = (f"| {' | '.join(map(_md, row))} |" for row in rows)
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *body, ""]


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


def _md(text: str) -> str:
    return _MARKUP.sub(r"\\\1", escape(one_line(printable(text)), quote=False))

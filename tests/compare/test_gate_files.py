"""Gates as CI reads them: JUnit's XML and Markdown, whatever a name or a reason holds."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from unsaf_async.compare.gate_files import FINISHED, junit_of, summary_of
from unsaf_async.compare.quality_gates import QualityGate

HOSTILE = 'a|b <img src=x> & "c" `d` [e](http://f)\x1b[31m\x00\ufffe'
GATES = [
    QualityGate(run="ada", what="fail_under", verdict="pass", why="UnF1 0.900: fine"),
    QualityGate(run="ada", what="max_regression", verdict="cannot tell", why="on both sides"),
    QualityGate(run="bob", what="fail_under", verdict="fail", why=HOSTILE),
    QualityGate(run=HOSTILE, what="fail_under", verdict="n/a", why="it has examined no image"),
]


def test_a_gate_is_a_test_and_only_a_pass_passes() -> None:
    root = ET.fromstring(junit_of("audit", GATES))
    (suite,) = root
    assert (root.tag, suite.tag, suite.get("name")) == ("testsuites", "testsuite", "audit")
    for each in (root, suite):
        assert (each.get("tests"), each.get("failures"), each.get("errors")) == ("4", "2", "1")
    tests = suite.findall("testcase")
    assert [(test.get("classname"), test.get("name")) for test in tests[:3]] == [
        ("audit.ada", "--fail-under"),
        ("audit.ada", "--max-regression"),
        ("audit.bob", "--fail-under"),
    ]
    assert [child.tag for test in tests for child in test] == ["system-out", "failure", "failure", "error"]
    told = tests[1].find("failure")
    assert told is not None
    assert (told.get("type"), told.get("message"), told.text) == ("cannot tell", "on both sides", "on both sides")


def test_a_suite_that_stopped_early_is_not_green() -> None:
    (suite,) = ET.fromstring(junit_of("audit", GATES[:1], "ada: the cap is reached"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "1")
    last = suite.findall("testcase")[-1]
    error = last.find("error")
    assert error is not None
    assert (last.get("name"), error.get("message")) == (FINISHED, "ada: the cap is reached")
    assert "**Stopped early:** ada: the cap is reached" in summary_of(
        "audit", (), GATES, "$0", "ada: the cap is reached"
    )


def test_a_summary_has_the_runs_and_the_gates_and_no_text_is_markup() -> None:
    picture = ["0   1", "a ●"]
    assert "```text\n0   1\na ●\n```\n\n| run |" in summary_of(
        "audit", [("a", "UnF1 0.9", "", "3", "$0")], (), "$0", picture=picture
    )
    text = summary_of("audit", [(HOSTILE, "UnF1 0.900", "0.800 to 0.950", "3", "$0.01")], GATES, "$0.01 of max_cost 1")
    lines = text.splitlines()
    assert lines[0] == "## audit: 1 of 4 gates pass"
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 1 + 2 + len(GATES)
    bars = [line.replace(r"\|", "").count("|") for line in rows]
    assert bars == [6] * 3 + [5] * 6, "a bar in a text is no column"
    assert "<img" not in text
    assert "\x1b" not in text
    assert r"\[e\]\(http" in text
    assert "| ❔ cannot tell | --max-regression | ada | on both sides |" in lines

"""Plots as figures: what they show of a run, and what they say where there is nothing to show."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from reporting import examinations, report_run

from unsaf_async import LoadedRun, UserError, plots
from unsaf_async.report.drawing import shade

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    folder = tmp_path_factory.mktemp("run")
    made = report_run(folder, examinations(folder, 12, 8))
    assert made.findings
    return LoadedRun(made.manifest, list(made.examinations), made.findings)


def words(figure: Figure) -> set[str]:
    """The texts of a figure that are not empty."""
    from matplotlib.text import Text

    return {text for each in figure.findobj(Text) if (text := each.get_text())}


def test_the_table_of_four_has_the_scores_counts(run: LoadedRun) -> None:
    counts = run.findings.counts
    said = words(plots.matrix(run.findings))
    assert {str(counts.ta), str(counts.fu), str(counts.fa), str(counts.tu)} <= said
    assert f"true unanswerable\n{counts.tu / (counts.tu + counts.fa):.0%} of {counts.tu + counts.fa}" in said


def test_a_figure_stands_where_the_score_has_it_with_its_interval(run: LoadedRun) -> None:
    (axes,) = plots.intervals({"mine": run.findings}).axes
    xs = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert [run.findings.unf1] in xs
    assert list(run.findings.unf1_ci or ()) in xs
    assert [each.get_text() for each in axes.get_yticklabels()] == ["mine"]


def test_every_plot_has_its_title_and_no_text_over_another(run: LoadedRun) -> None:
    both = {"mine": run.findings, "theirs": run.findings}
    drawn = {
        "UnF1 and its rates": plots.rates(run.findings),
        "Recall by kind": plots.kinds(run.findings),
        "Audacity against timidity": plots.plane(both),
        "AUROC of each sign of confidence": plots.confidence(run.findings),
        "ROC by signal": plots.roc(run),
    }
    for title, figure in drawn.items():
        assert title in words(figure), title
        assert not (figure.legends and figure.get_suptitle()), "a legend and a title would stand in the same place"


def test_a_notebook_shows_a_figure_by_itself(run: LoadedRun) -> None:
    png, metadata = plots.matrix(run.findings)._repr_png_()  # type: ignore[attr-defined]
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG"
        assert picture.width == 2 * metadata["width"]


def test_without_anything_to_show_a_plot_says_why(run: LoadedRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to plot: fewer than two runs"):
        plots.plane({"mine": run.findings})
    with pytest.raises(UserError, match="nothing to plot: no run has a UnF1"):
        plots.intervals({})
    with pytest.raises(UserError, match="nothing to plot: of too few answers"):
        plots.reliability(run._replace(examinations=[]))
    empty = report_run(tmp_path, []).findings
    assert empty
    for plot in (plots.matrix, plots.kinds, plots.rates, plots.confidence):
        with pytest.raises(UserError, match="nothing to plot: "):
            plot(empty)


def test_a_run_for_its_score_or_the_other_way_round_is_one_line(run: LoadedRun) -> None:
    for of_score in (plots.matrix, plots.rates, plots.kinds, plots.confidence):
        with pytest.raises(UserError, match=r"give the run's \.findings"):
            of_score(run)  # type: ignore[arg-type]
    for of_scores in (plots.intervals, plots.plane):
        with pytest.raises(UserError, match=r"give the run's \.findings"):
            of_scores({"a": run})  # type: ignore[dict-item]
    for of_run in (plots.roc, plots.reliability, plots.risk_coverage):
        with pytest.raises(UserError, match="a Findings is given; give what load"):
            of_run(run.findings)  # type: ignore[arg-type]


def test_a_dashed_line_says_what_it_is(run: LoadedRun) -> None:
    assert any("dashed: all together" in text for text in words(plots.kinds(run.findings)))


def test_without_matplotlib_one_line_says_what_to_install(run: LoadedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"^matplotlib is not installed, .*pip install '\.\[plots\]'$"):
        plots.matrix(run.findings)


def test_the_scale_of_the_cross_matrix_is_matplotlibs() -> None:
    import matplotlib as mpl

    for share in np.linspace(0, 1, 101).tolist():
        ours, theirs = (np.array(mpl.colors.to_rgb(each)) for each in (shade(share), mpl.colormaps["cividis"](share)))
        assert np.abs(ours - theirs).max() < 0.04, share

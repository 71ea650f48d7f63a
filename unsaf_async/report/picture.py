"""A figure that a notebook shows by itself. It imports matplotlib: import it where a plot is drawn."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

SHARP = 2
"""Pixels for each that a screen of usual density shows."""


class Picture(Figure):
    """A figure that ends a cell is shown, whether or not matplotlib's own part for notebooks is at work."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The figure as PNG, and the width at which it is shown, in pixels: IPython's protocol."""
        file = BytesIO()
        self.savefig(file, format="png", dpi=SHARP * self.dpi, pil_kwargs={"optimize": True})
        return file.getvalue(), {"width": round(self.bbox.width)}

"""`--help` in sections, as plain text: what an option is about is its section's title."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from unsaf_async.help import OUTPUT


class Sections(TyperCommand):
    """A command whose `--help` lists the options under the titles of their panels: Output last, then those without one."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            panel = getattr(parameter, "rich_help_panel", None)
            if parameter.param_type_name == "argument":
                # By the name alone: what it is, its help says; the type is Python's.
                sections["Arguments"].append((getattr(parameter, "metavar", None) or parameter.name, record[1]))
            elif panel is None:
                others.append(record)
            else:
                sections.setdefault(panel, []).append(record)
        titles = sorted(sections, key=lambda title: title == OUTPUT)
        for title, records in [*((title, sections[title]) for title in titles), ("Options", others)]:
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

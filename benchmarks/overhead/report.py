"""Figures as rows, and rows as a table on the terminal, Markdown or JSON."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_DIGITS = {"us": 2, "ms": 1, "MB": 0, "bytes": 0, "calls": 0, "ratio": 3}


@dataclass(frozen=True)
class Row:
    """One figure. `limit`: the most it should be, where something was promised of it."""

    section: str
    what: str
    figure: float
    unit: str
    quartiles: tuple[float, float] | None = None  # of the rounds that `figure` is the median of
    limit: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the figure is within its limit."""
        return None if self.limit is None else self.figure <= self.limit

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """The row as text: what, figure, quartiles, unit, limit, reached."""
        digits = _DIGITS[self.unit]
        quartiles = self.quartiles and " to ".join(f"{q:.{digits}f}" for q in self.quartiles)
        return (
            self.what,
            f"{self.figure:,.{digits}f}",
            quartiles or "",
            self.unit,
            "" if self.limit is None else f"at most {self.limit:g}",
            {None: "", True: "yes", False: "NO"}[self.reached],
        )


_HEADINGS = ("what", "figure", "quartiles", "unit", "limit", "reached")


def median_row(
    section: str, what: str, rounds: Sequence[float], unit: str, limit: float | None = None
) -> Row:
    """The row of the median of what the rounds gave."""
    quartiles: tuple[float, float] | None = None
    if len(rounds) > 1:
        lower, _, upper = statistics.quantiles(rounds, n=4, method="inclusive")
        quartiles = (lower, upper)
    return Row(section, what, statistics.median(rounds), unit, quartiles, limit)


@dataclass(frozen=True)
class Report:
    """All that one run found."""

    about: dict[str, Any]
    rows: list[Row]

    def sections(self) -> dict[str, list[Row]]:
        """The rows by section, in their order."""
        sections: dict[str, list[Row]] = {}
        for row in self.rows:
            sections.setdefault(row.section, []).append(row)
        return sections

    def print(self, console: Console) -> None:
        """Show the tables."""
        console.print(self._summary())
        for section, rows in self.sections().items():
            table = Table(title=section, title_justify="left", title_style="bold")
            for heading in _HEADINGS:
                right = heading in ("figure", "quartiles", "limit")
                table.add_column(heading, justify="right" if right else "left")
            for row in rows:
                style = {None: "", True: "green", False: "red"}[row.reached]
                *cells, reached = row.cells()
                table.add_row(*cells, f"[{style}]{reached}[/]" if style else reached)
            console.print()
            console.print(table)

    def markdown(self) -> str:
        """The same for a README."""
        lines = [self._summary()]
        for section, rows in self.sections().items():
            lines += ["", f"**{section}**", "", f"| {' | '.join(_HEADINGS)} |"]
            lines += ["| --- | ---: | ---: | --- | ---: | --- |"]
            lines += [f"| {' | '.join(row.cells())} |" for row in rows]
        return "\n".join(lines) + "\n"

    def json(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            **self.about,
            "rows": [{**asdict(row), "reached": row.reached} for row in self.rows],
        }

    def _summary(self) -> str:
        machine, versions = self.about["machine"], self.about["versions"]
        before, after = machine["load_before"], machine["load_after"]
        return (
            f"{machine['cpu']}, {machine['cores']} cores (load average {before:.2f} before, "
            f"{after:.2f} after); {', '.join(f'{k} {v}' for k, v in versions.items())}; "
            f"{self.about['date']}; {self.about['rounds']} rounds. Figures are medians over the "
            "rounds, quartiles in their own column; differences and ratios are taken within each "
            "round. A round's time of a call is the mean of "
            f"{self.about['calls_per_round']} calls ({self.about['tensorflow_calls_per_round']} of "
            "TensorFlow's Python)."
        )


def about_machine() -> dict[str, Any]:
    """CPU, cores and load of this machine."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
    }


def today() -> str:
    """The date, as ISO 8601 has it."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()

"""Figures as rows, and rows as a table on the terminal, Markdown or JSON."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_FORMATS = {
    "s": ",.3f",
    "ms": ",.1f",
    "us": ",.2f",
    "MB": ",.0f",
    "bytes": ",.0f",
    "calls": ",.0f",
    "ratio": ",.3f",
    "of its scale": ".1e",
}


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
        form = _FORMATS[self.unit]
        quartiles = self.quartiles and " to ".join(f"{q:{form}}" for q in self.quartiles)
        return (
            self.what,
            f"{self.figure:{form}}",
            quartiles or "",
            self.unit,
            "" if self.limit is None else f"at most {self.limit:.3g}",
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


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each round's."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


@dataclass(frozen=True)
class Report:
    """All that one run found."""

    about: dict[str, Any]  # of `about_run`, with "rounds", "method" and whatever else
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

    def write(self, args: argparse.Namespace) -> None:
        """Print it, and write the files that the arguments of `add_arguments` ask for."""
        # Wide enough for the tables where the output is a file.
        self.print(Console(width=None if sys.stdout.isatty() else 120))
        if args.markdown is not None:
            args.markdown.write_text(self.markdown())
        if args.json is not None:
            args.json.write_text(json.dumps(self.json(), indent=2) + "\n")

    def _summary(self) -> str:
        machine, versions = self.about["machine"], self.about["versions"]
        before, after = machine["load_before"], machine["load_after"]
        return (
            f"{machine['cpu']}, {machine['cores']} cores (load average {before:.2f} before, "
            f"{after:.2f} after); {', '.join(f'{k} {v}' for k, v in versions.items())}; "
            f"{self.about['date']}; {self.about['rounds']} rounds. Figures are medians over the "
            "rounds, quartiles in their own column; differences and ratios are taken within each "
            f"round. {self.about['method']}"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `Report.write` needs."""
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")


def load_average() -> float:
    """How many processes wanted to run, on average of the last minute."""
    return os.getloadavg()[0]


def about_run(load_before: float) -> dict[str, Any]:
    """The machine, its load before and after the run, the versions and the date."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return {
        "machine": {
            "cpu": cpu,
            "cores": len(os.sched_getaffinity(0)),
            "load_before": load_before,
            "load_after": load_average(),
        },
        "versions": {
            "savedmodel": importlib.metadata.version("savedmodel"),
            "tensorflow": _tensorflow_version(),
            "numpy": importlib.metadata.version("numpy"),
            "python": platform.python_version(),
        },
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def _tensorflow_version() -> str:
    # Of `tensorflow` or of `tensorflow-cpu`.
    (distribution,) = set(importlib.metadata.packages_distributions()["tensorflow"])
    return importlib.metadata.version(distribution)

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
from rich.text import Text

_FORMATS = {
    "s": ",.3f",
    "ms": ",.1f",
    "us": ",.2f",
    "MB": ",.0f",
    "bytes": ",.0f",
    "calls": ",.0f",
    "models": ",.0f",
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
_RIGHT = ("figure", "quartiles", "limit")


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
class Grid:
    """Cells under headings. `right`: the headings of columns of numbers."""

    title: str
    headings: Sequence[str]
    right: Sequence[str]
    cells: Sequence[Sequence[str]]

    def print(self, console: Console) -> None:
        """Show it."""
        table = Table(title=self.title, title_justify="left", title_style="bold")
        for heading in self.headings:
            table.add_column(heading, justify="right" if heading in self.right else "left")
        styles = {"yes": "green", "NO": "red"}
        for cells in self.cells:
            table.add_row(*(Text(cell, styles.get(cell, "")) for cell in cells))
        console.print()
        console.print(table)

    def markdown(self) -> list[str]:
        """Its lines in a README."""
        rules = ["---:" if heading in self.right else "---" for heading in self.headings]
        rows = [self.headings, rules, *self.cells]
        return ["", f"**{self.title}**", "", *(f"| {' | '.join(cells)} |" for cells in rows)]


@dataclass(frozen=True)
class Report:
    """All that one run found."""

    about: dict[str, Any]  # of `about_run`, with "rounds", "method" and whatever else
    rows: list[Row]
    grids: Sequence[Grid] = ()  # shown before the rows

    def _grids(self) -> list[Grid]:
        """All tables: those of the rows are one for each section, in their order."""
        sections: dict[str, list[Row]] = {}
        for row in self.rows:
            sections.setdefault(row.section, []).append(row)
        return [
            *self.grids,
            *(
                Grid(section, _HEADINGS, _RIGHT, [row.cells() for row in rows])
                for section, rows in sections.items()
            ),
        ]

    def print(self, console: Console) -> None:
        """Show the tables."""
        console.print(self._summary())
        for grid in self._grids():
            grid.print(console)

    def markdown(self) -> str:
        """The same for a README."""
        lines = [self._summary()]
        for grid in self._grids():
            lines += grid.markdown()
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
        self.print(Console(width=None if sys.stdout.isatty() else 160))
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


def about_run(load_before: float, packages: Sequence[str] = ()) -> dict[str, Any]:
    """The machine, its load before and after the run, the versions and the date.

    `packages`: whose versions to tell beside those that every benchmark uses.
    """
    cpu = _fields("/proc/cpuinfo")
    flags = cpu.get("flags", "").split()
    return {
        "machine": {
            "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "vector_extensions": [
                flag for flag in flags if flag.startswith(("avx", "fma", "f16c", "amx"))
            ],
            "caches": _caches(),
            "memory": _fields("/proc/meminfo").get("MemTotal"),
            "os": platform.freedesktop_os_release().get("PRETTY_NAME"),
            "kernel": platform.release(),
            "load_before": load_before,
            "load_after": load_average(),
        },
        "versions": {
            "savedmodel": importlib.metadata.version("savedmodel"),
            "tensorflow": _tensorflow_version(),
            "numpy": importlib.metadata.version("numpy"),
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in packages},
        },
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def _fields(file: str) -> dict[str, str]:
    """The first value of each name in a file of "name: value" lines."""
    fields: dict[str, str] = {}
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def _caches() -> list[str]:
    """Of the first core, as "L1 Data 32K"."""
    return [
        " ".join(
            [f"L{folder.joinpath('level').read_text().strip()}"]
            + [folder.joinpath(name).read_text().strip() for name in ("type", "size")]
        )
        for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    ]


def _tensorflow_version() -> str:
    # Of `tensorflow` or of `tensorflow-cpu`.
    (distribution,) = set(importlib.metadata.packages_distributions()["tensorflow"])
    return importlib.metadata.version(distribution)

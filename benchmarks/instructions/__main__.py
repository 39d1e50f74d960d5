"""`python benchmarks/instructions`: see the package."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# `python FOLDER` puts the folder itself on the path, and its parts are modules of a package.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks import native  # noqa: E402

FOLDER = Path(__file__).resolve().parent
EXPECTED = FOLDER / "expected.json"
BUILD = native.ROOT / "build" / "instructions"
# Each with a signature that takes one row.
MODELS = {"scalar": ("shapes", "scalar"), "mlp": ("keras_mlp", "serving_default")}
CALLS = 500
MOST_GROWTH = 1.1


def main() -> None:
    """Count, print, and fail if a figure has grown too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the figures as expected")
    models = os.environ.get("SAVEDMODEL_TEST_MODELS", native.ROOT / "build" / "test-models")
    parser.add_argument("--models", type=Path, default=Path(models), metavar="FOLDER")
    arguments = parser.parse_args()

    valgrind = native.find_program("valgrind")
    if valgrind is None:
        print("SKIPPED: no valgrind here to count instructions with")
        return
    program = native.build_with_installed(FOLDER, BUILD) / "calls"
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    counted: dict[str, int] = {}
    grown = False
    for name, (model, signature) in MODELS.items():
        for kind in ("bound", "positional"):
            command = [str(program), str(arguments.models / model / "saved_model"), signature, kind]
            counted[f"{name} {kind}"] = count(valgrind, command)
    print(f"{'instructions of a call':24}{'expected':>10}{'counted':>10}")
    for name, instructions in counted.items():
        before = expected.get(name)
        too_many = before is None or instructions > MOST_GROWTH * before
        grown |= too_many
        verdict = "  TOO MANY" if too_many and not arguments.update else ""
        print(f"{name:24}{before or '':>10}{instructions:>10}{verdict}")
    if arguments.update:
        EXPECTED.write_text(json.dumps(counted, indent=2) + "\n")
    elif grown:
        sys.exit(
            "A call takes over a tenth more instructions than it did. "
            "If it has to: python benchmarks/instructions --update"
        )


def count(valgrind: str, command: list[str]) -> int:
    """The instructions of one call, as a mean of many."""
    # What limits the instruction set would choose other kernels.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}
    } | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(valgrind, "--tool=callgrind", "--toggle-collect=*Measured*"),
                f"--callgrind-out-file={folder}/out",
                *(*command, str(CALLS)),
            ],
            capture_output=True,
            text=True,
            env=environment,
        )
    collected = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode != 0 or collected is None:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return int(collected[1]) // CALLS


if __name__ == "__main__":
    main()

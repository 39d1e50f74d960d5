"""Print where an installed TensorFlow wheel lies, or its version, without importing it.

python find_tensorflow.py                    the `tensorflow` folder
python find_tensorflow.py --version FOLDER   the version of the wheel in that folder
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

_DIST_INFO = re.compile(
    r"(?:tensorflow|tf_nightly)(?:_cpu|_gpu|_intel|_rocm|_macos|_cpu_aws)?-([0-9][^-]*)\.dist-info"
)


def folder() -> Path:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("no tensorflow wheel is installed for this Python")
    return Path(next(iter(spec.submodule_search_locations)))


def version(tensorflow: Path) -> str:
    for entry in sorted(tensorflow.parent.glob("*.dist-info")):
        if match := _DIST_INFO.fullmatch(entry.name):
            return match.group(1)
    sys.exit(f"no dist-info of a tensorflow wheel beside {tensorflow}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--version"]:
        print(version(Path(sys.argv[2])))
    else:
        print(folder())

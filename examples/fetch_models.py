"""Fetch the two published models that the other examples run.

Both were published as Python packages, of which only the SavedModel is kept; nothing is
installed. Prints the folder of each model, one per line:

    python examples/fetch_models.py [basic-pitch] [guesslang]

The models go to $SAVEDMODEL_EXAMPLES_CACHE, by default ~/.cache/savedmodel/examples. What is
there already is not fetched again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Package(NamedTuple):
    """A published package, and where the model lies in it."""

    version: str
    sha256: str  # Of the wheel.
    folder: PurePosixPath  # What is kept of the wheel: the model, and what it was converted to.
    model: PurePosixPath  # The SavedModel, relative to that.


PACKAGES = {
    # Polyphonic music transcription, by Spotify. Apache License 2.0.
    "basic-pitch": Package(
        "0.4.0",
        "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
        PurePosixPath("basic_pitch/saved_models/icassp_2022"),
        PurePosixPath("nmp"),
    ),
    # Programming language detection, by Y. Somda. MIT License.
    "guesslang": Package(
        "2.2.1",
        "36bd12130515ee0e637f7255340ba92ea919d53423743f4c1b0c73727a5499cb",
        PurePosixPath("guesslang/data"),
        PurePosixPath("model"),
    ),
}


class DownloadError(RuntimeError):
    """A package could not be downloaded; the message is what pip says."""


def cache_dir() -> Path:
    """Return the folder that holds the models."""
    configured = os.environ.get("SAVEDMODEL_EXAMPLES_CACHE")
    return Path(configured or "~/.cache/savedmodel/examples").expanduser()


def fetch(name: str) -> Path:
    """Return the SavedModel directory of `name`, a key of PACKAGES, fetching it if need be.

    Raises DownloadError if the package cannot be downloaded, and ValueError if what was
    downloaded is not the package that was published.
    """
    package = PACKAGES[name]
    target = cache_dir() / f"{name}-{package.version}-{package.folder.name}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that one rename makes the whole model appear at once.
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            wheel = _download(name, package, Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            _unpack(wheel, package.folder, unpacked)
            try:
                unpacked.rename(target)
            except OSError:
                if not target.exists():  # Otherwise another process was faster.
                    raise
    return target / package.model


def _download(name: str, package: Package, folder: Path) -> Path:
    """Download the wheel of a package into `folder`, and check that it is the known one."""
    command = [sys.executable, "-m", "pip", "download", f"{name}=={package.version}"]
    # The packages ask for old versions of TensorFlow, which only their own code needs.
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command += ["--quiet", "--no-input", "--disable-pip-version-check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DownloadError(f"cannot download {name}: {result.stderr.strip()}")
    (wheel,) = folder.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise ValueError(f"{wheel.name}: expected sha256 {package.sha256}, got {digest}")
    return wheel


def _unpack(wheel: Path, folder: PurePosixPath, target: Path) -> None:
    """Write the files below `folder` of the wheel to `target`."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = PurePosixPath(member.filename)
            if member.is_dir() or not path.is_relative_to(folder):
                continue
            relative = path.relative_to(folder)
            if ".." in relative.parts:
                raise ValueError(f"{wheel.name}: '{member.filename}' leads out of the folder")
            destination = target / relative
            destination.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, destination.open("xb") as sink:
                shutil.copyfileobj(source, sink)


def main() -> None:
    """Fetch the models named on the command line, or all."""
    parser = argparse.ArgumentParser(description="Fetch the published models of the examples.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{' or '.join(PACKAGES)} (default: both)",
    )
    names: list[str] = parser.parse_args().names
    for name in names:
        if name not in PACKAGES:
            parser.error(f"no model {name!r}; models: {', '.join(PACKAGES)}")
    for name in names or PACKAGES:
        try:
            print(fetch(name))
        except (DownloadError, ValueError) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()

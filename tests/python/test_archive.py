"""SavedModels in archives: unpacked safely, removed again, and hostile ones refused."""

from __future__ import annotations

import contextlib
import gc
import io
import pickle
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import savedmodel
from conftest import DIGITS, run_python

IMAGE = np.zeros((1, 8, 8, 1), np.float32)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which must be empty again at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    gc.collect()
    assert list(folder.iterdir()) == []


def make_zip(path: Path, top: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(DIGITS.rglob("*")):
            archive.write(file, str(Path(top) / file.relative_to(DIGITS)))
    return path


def make_tar(path: Path, top: str = "", mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        archive.add(DIGITS, top or ".")
    return path


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "zip": lambda folder: make_zip(folder / "model.zip"),
    "stored zip": lambda folder: make_zip(folder / "model.zip", compression=zipfile.ZIP_STORED),
    "lzma zip": lambda folder: make_zip(folder / "model.zip", compression=zipfile.ZIP_LZMA),
    "zip in a folder": lambda folder: make_zip(folder / "model.zip", "digits"),
    "zip in folders": lambda folder: make_zip(folder / "model.zip", "models/digits"),
    "zip of a version": lambda folder: make_zip(folder / "model.zip", "digits/17"),
    "tar": lambda folder: make_tar(folder / "model.tar"),
    "tar in a folder": lambda folder: make_tar(folder / "model.tar", "digits"),
    "tar.gz": lambda folder: make_tar(folder / "model.tar.gz", "digits", "w:gz"),
    "tar.bz2": lambda folder: make_tar(folder / "model.tar.bz2", mode="w:bz2"),
    "tar.xz": lambda folder: make_tar(folder / "model.tar.xz", mode="w:xz"),
    "any name": lambda folder: make_tar(folder / "mödel 模\n型", mode="w:gz"),
}


@pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES)
def test_archives(
    tmp_path: Path, make: Callable[[Path], Path], digits: savedmodel.Model, temporary: Path
) -> None:
    path = make(tmp_path)
    with savedmodel.load(path) as model:
        np.testing.assert_array_equal(
            model.signatures["serve"](IMAGE)["probabilities"],
            digits.signatures["serve"](IMAGE)["probabilities"],
        )
        (folder,) = temporary.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert model.path.startswith(str(folder))
    assert not folder.exists()
    inspection = savedmodel.inspect(path)
    assert inspection.path == str(path)
    assert inspection.files == savedmodel.inspect(DIGITS).files


def test_versions_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for version in ("2", "10"):
            for file in DIGITS.rglob("*"):
                archive.write(file, str(Path("digits", version, file.relative_to(DIGITS))))
    assert savedmodel.inspect(path).versions == [2, 10]
    with savedmodel.load(path) as model:
        assert Path(model.path).name == "10"
    with savedmodel.load(path, version=2) as model:
        assert Path(model.path).name == "2"
        with pickle.loads(pickle.dumps(model)) as again:
            assert Path(again.path).name == "2"


def test_file_urls_of_archives(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "model.zip")
    with savedmodel.load(f"file://{path}") as model:
        assert model.signatures


def test_the_folder_goes_with_the_model(tmp_path: Path, temporary: Path) -> None:
    model = savedmodel.load(make_zip(tmp_path / "model.zip"))
    assert list(temporary.iterdir())
    del model
    gc.collect()
    assert not list(temporary.iterdir())


def test_the_folder_goes_with_the_interpreter(tmp_path: Path, temporary: Path) -> None:
    code = """
import sys, tempfile, savedmodel
tempfile.tempdir = sys.argv[2]
model = savedmodel.load(sys.argv[1])
print(model.path)
"""
    done = run_python(code, str(make_zip(tmp_path / "model.zip")), str(temporary))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(temporary))
    assert not list(temporary.iterdir())


def test_a_failed_load_leaves_nothing(tmp_path: Path, temporary: Path) -> None:
    path = make_zip(tmp_path / "model.zip")
    with pytest.raises(savedmodel.NotFoundError):
        savedmodel.load(path, tags="absent")
    gc.collect()
    assert not list(temporary.iterdir())


def test_a_pickled_model_is_its_archive(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "model.zip")
    with savedmodel.load(path) as model:
        pickled = pickle.dumps(model)
    assert str(path).encode() in pickled
    with pickle.loads(pickled) as again:
        assert again.signatures["serve"](IMAGE)


def test_links_inside(tmp_path: Path) -> None:
    """Files that are the same are links to one another in many an archive."""
    path = tmp_path / "model.tar"
    with tarfile.open(path, "w") as archive:
        for file in sorted(file for file in DIGITS.rglob("*") if file.is_file()):
            name = str(file.relative_to(DIGITS))
            link = tarfile.TarInfo(f"digits/{name}")
            if name.startswith("variables"):
                link.type, link.linkname = tarfile.LNKTYPE, f".store/{name}"
            else:  # before what it leads to
                link.type, link.linkname = tarfile.SYMTYPE, f"../.store/{name}"
                archive.addfile(link)
            archive.add(file, f".store/{name}")
            if link.type == tarfile.LNKTYPE:
                archive.addfile(link)
    with savedmodel.load(path) as model:
        assert model.signatures["serve"](IMAGE)
        assert not Path(model.path, "saved_model.pb").is_symlink()


def tar_of(*members: tarfile.TarInfo, fill: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(DIGITS / "saved_model.pb", "saved_model.pb")
        for member in members:
            archive.addfile(member, io.BytesIO(fill * member.size))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return tar_of(info)


def zip_of(name: str, content: bytes = b"x", mode: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        info.external_attr = mode << 16
        archive.writestr(info, content)
    return file.getvalue()


def twice() -> bytes:
    info = tarfile.TarInfo("variables/a")
    return tar_of(info, info)


def inside_a_file() -> bytes:
    return tar_of(tarfile.TarInfo("a"), tarfile.TarInfo("a/b"))


def declared(size: int) -> bytes:
    """A tar whose header promises far more than there is."""
    info = tarfile.TarInfo("variables/huge")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240


def long_header() -> bytes:
    """A header that is to be read into memory whole."""
    info = tarfile.TarInfo("a")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    return info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240


def looping_links() -> bytes:
    infos = []
    for name, link in (("a", "b"), ("b", "a")):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, link
        infos.append(info)
    return tar_of(*infos)


OUT = (savedmodel.InvalidArgumentError, "leads out of the archive")
HOSTILE: dict[str, tuple[Callable[[], bytes], type[Exception], str]] = {
    "tar ..": (lambda: member("../escaped"), *OUT),
    "tar .. inside": (lambda: member("variables/../../escaped"), *OUT),
    "tar absolute": (lambda: member("/tmp/escaped"), *OUT),
    "tar symlink": (lambda: member("a", tarfile.SYMTYPE, "../../escaped"), *OUT),
    "tar absolute symlink": (lambda: member("a", tarfile.SYMTYPE, "/etc/passwd"), *OUT),
    "tar hard link": (lambda: member("a", tarfile.LNKTYPE, "../escaped"), *OUT),
    "tar link to nothing": (
        lambda: member("a", tarfile.SYMTYPE, "absent"),
        savedmodel.InvalidArgumentError,
        "'absent', which is no file of the archive",
    ),
    "tar link to a folder": (
        lambda: member("variables/a", tarfile.SYMTYPE, "../variables"),
        savedmodel.InvalidArgumentError,
        "which is no file",
    ),
    "tar looping links": (looping_links, savedmodel.InvalidArgumentError, "which is no file"),
    "tar device": (lambda: member("a", tarfile.CHRTYPE), savedmodel.InvalidArgumentError, "device"),
    "tar fifo": (lambda: member("a", tarfile.FIFOTYPE), savedmodel.InvalidArgumentError, "special"),
    "tar twice": (twice, savedmodel.InvalidArgumentError, "'variables/a' is there twice"),
    "tar inside a file": (inside_a_file, savedmodel.InvalidArgumentError, "is inside a file"),
    "tar huge": (lambda: declared(1 << 50), savedmodel.ResourceExhaustedError, "'variables/huge'"),
    "tar truncated": (lambda: declared(1 << 20), savedmodel.DataLossError, "corrupt"),
    "tar long header": (long_header, savedmodel.NotFoundError, "is not a directory"),
    "zip ..": (lambda: zip_of("../escaped"), *OUT),
    "zip absolute": (lambda: zip_of("/tmp/escaped"), *OUT),
    "zip symlink": (lambda: zip_of("a", b"../../escaped", stat.S_IFLNK | 0o777), *OUT),
    "zip fifo": (
        lambda: zip_of("a", b"", stat.S_IFIFO),
        savedmodel.InvalidArgumentError,
        "special file",
    ),
    "zip truncated": (
        lambda: zip_of("a", b"x" * 1000)[:500],
        savedmodel.NotFoundError,
        "is not a directory",
    ),
    "zip of another model": (lambda: zip_of("readme.txt"), savedmodel.NotFoundError, "no SavedM"),
    "gzip of no tar": (
        lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"junk" * 100,
        savedmodel.DataLossError,
        "model.any",
    ),
    "empty": (lambda: b"", savedmodel.NotFoundError, "is not a directory"),
    "no archive": (lambda: b"no archive at all" * 100, savedmodel.NotFoundError, "not a directory"),
}


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("use", [savedmodel.load, savedmodel.inspect])
def test_hostile_archives(
    tmp_path: Path,
    temporary: Path,
    case: tuple[Callable[[], bytes], type[Exception], str],
    use: Callable[[Path], object],
) -> None:
    make, error, match = case
    path = tmp_path / "model.any"
    path.write_bytes(make())
    with pytest.raises(error, match=match) as caught:
        use(path)
    assert str(path) in str(caught.value)
    assert list(temporary.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [path, temporary]
    assert not Path("/tmp/escaped").exists()


def test_flipped_bytes(tmp_path: Path) -> None:
    """Damage anywhere: the model, or an exception."""
    random = np.random.default_rng(1)
    for make in ("zip", "tar.gz"):
        path = ARCHIVES[make](tmp_path)
        sound = bytearray(path.read_bytes())
        for _ in range(30):
            broken = bytearray(sound)
            for at in random.integers(0, len(broken), 3):
                broken[at] ^= 1 << int(random.integers(8))
            path.write_bytes(broken)
            with contextlib.suppress(savedmodel.SavedModelError):
                savedmodel.inspect(path)

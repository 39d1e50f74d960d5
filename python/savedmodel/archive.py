"""SavedModels in archives: `.zip`, `.tar`, and `.tar` compressed with gzip, bzip2 or xz.

An archive is somebody else's: it is unpacked into a private folder, and only regular files and
folders are ever made there. What a link leads to inside the archive is copied; a link that leads
out of it, a member of any other kind and a name that does not stay below the folder are errors.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import shutil
import stat
import tempfile
import weakref
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol

from savedmodel.errors import (
    DataLossError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    SavedModelError,
    UnimplementedError,
)

if TYPE_CHECKING:
    import tarfile
    import zipfile
    from collections.abc import Callable, Iterator
    from types import TracebackType

__all__ = ["UnpackedArchive", "unpack"]

_MAX_MEMBERS = 100_000
# The most that is read at once. A tar header that extends another is read into memory whole,
# whatever size it says it has.
_MAX_READ = 1 << 20

_COMPRESSED_TAR = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "lzma"}


class UnpackedArchive:
    """An archive's SavedModel in a temporary folder, removed with this object at the latest.

    `path`: the archive's. `folder`: what stands for it, a SavedModel or a folder of versions.
    """

    def __init__(self, path: str, root: str) -> None:
        """Owns the folder `root` from here on. Raises NotFoundError if no SavedModel is there."""
        self._remove = weakref.finalize(self, _remove, root, os.getpid())
        self.path = path
        self.folder = _model_folder(path, Path(root))

    def close(self) -> None:
        """Removes the folder. May be repeated."""
        self._remove()

    def __enter__(self) -> UnpackedArchive:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def unpack(path: str | os.PathLike[str]) -> UnpackedArchive | None:
    """Unpacks an archive into a temporary folder; None if the path is not one.

    Raises:
        NotFoundError: no SavedModel at the top of it or in the folder that it is all in.
        InvalidArgumentError: a member whose name, kind or link could lead out of the folder,
            or whose name another one has; an encrypted archive.
        DataLossError: a truncated or corrupt archive.
        ResourceExhaustedError: more than the temporary folder's disk has room for.
        UnimplementedError: a compression that this Python does not have.
    """
    archive = Path(local_path(os.fsdecode(path)))
    try:
        if not archive.is_file():
            return None
        file = archive.open("rb")
    except (OSError, ValueError):  # not readable, or no path at all: the loader says so
        return None
    with file:
        read = _reader_for(file)
        if read is None:
            return None
        absolute = os.path.abspath(archive)  # noqa: PTH100, a link stays a link
        root = tempfile.mkdtemp(prefix="savedmodel-")
        try:
            _Unpacker(absolute, Path(root)).unpack(read(file))
            return UnpackedArchive(absolute, root)
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)
            raise


def _remove(root: str, owner: int) -> None:
    if os.getpid() == owner:  # the child of a fork leaves the parent its folder
        shutil.rmtree(root, ignore_errors=True)


def _model_folder(path: str, root: Path) -> str:
    """The folder to load: the root, or what single folders lead to."""
    from savedmodel import _native

    folder = root
    while not _native.contains_saved_model(folder):
        # Archivers add entries of their own: "__MACOSX", ".DS_Store".
        entries = [p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX"))]
        if any(p.name.isdecimal() and _native.contains_saved_model(p) for p in entries):
            break  # versions
        if len(entries) != 1 or not entries[0].is_dir():
            raise NotFoundError(f"archive '{path}' holds no SavedModel")
        folder = entries[0]
    return str(folder)


def local_path(path: str) -> str:
    """The path that a file:// URL is to TensorFlow, as the loader reads it."""
    if not path.startswith("file://"):
        return path
    _, slash, rest = path[len("file://") :].partition("/")
    return slash + rest


class _Member(Protocol):
    """What the unpacker has to know of a member.

    `kind`: "file", "folder", "link", or in words what else it is. `target`: of a link, from the
    top of the archive.
    """

    name: str
    kind: str
    size: int
    target: str

    def open(self) -> IO[bytes]: ...


def _reader_for(file: IO[bytes]) -> Callable[[IO[bytes]], Iterator[_Member]] | None:
    import tarfile
    import zipfile

    start = file.read(8)
    file.seek(0)
    if start.startswith(b"PK"):
        return _read_zip if zipfile.is_zipfile(file) else None
    if any(start.startswith(magic) for magic in _COMPRESSED_TAR):
        return _read_tar
    try:
        with tarfile.open(fileobj=_Bounded(file), mode="r:"):
            return _read_tar
    except (tarfile.TarError, SavedModelError):
        return None
    finally:
        file.seek(0)


class _ZipMember:
    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        self.name = info.filename
        self.size = info.file_size
        self.target = ""
        mode = info.external_attr >> 16
        if info.is_dir():
            self.kind = "folder"
        elif stat.S_ISLNK(mode):
            self.kind = "link"
            if self.size > _MAX_READ:
                raise InvalidArgumentError(f"the link {self.name!r} is too long")
            target = os.fsdecode(archive.read(info))
            self.target = str(PurePosixPath(self.name).parent / target)
        elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
            self.kind = "file"
        else:
            self.kind = "a device or another special file"

    def open(self) -> IO[bytes]:
        return self._archive.open(self._info)


def _read_zip(file: IO[bytes]) -> Iterator[_Member]:
    import zipfile

    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            yield _ZipMember(archive, info)


class _TarMember:
    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._archive, self._info = archive, info
        self.name = info.name
        self.size = info.size
        self.target = ""
        if info.isdir():
            self.kind = "folder"
        elif info.issym():
            self.kind = "link"
            self.target = str(PurePosixPath(info.name).parent / info.linkname)
        elif info.islnk():  # from the top, unlike the other kind
            self.kind = "link"
            self.target = info.linkname
        elif info.isreg():
            self.kind = "file"
        else:
            self.kind = "a device or another special file"

    def open(self) -> IO[bytes]:
        opened = self._archive.extractfile(self._info)
        assert opened is not None, "a regular file"
        return opened


class _Bounded(io.BufferedIOBase):
    """A file that is never read into memory in large pieces."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ:
            raise DataLossError("a header is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _read_tar(file: IO[bytes]) -> Iterator[_Member]:
    import tarfile

    start = file.read(8)
    file.seek(0)
    stream: Any = file
    for magic, module in _COMPRESSED_TAR.items():
        if start.startswith(magic):
            stream = importlib.import_module(module).open(file, "rb")
    with tarfile.open(fileobj=_Bounded(stream), mode="r:") as archive:
        for info in archive:
            yield _TarMember(archive, info)


class _Unpacker:
    def __init__(self, path: str, root: Path) -> None:
        self._path = path
        self._root = root
        self._room = shutil.disk_usage(root).free
        self._kinds: dict[tuple[str, ...], str] = {}  # of the members so far
        self._links: dict[tuple[str, ...], tuple[str, ...]] = {}

    def unpack(self, members: Iterator[_Member]) -> None:
        import lzma
        import tarfile
        import zipfile
        import zlib

        try:
            for member in members:
                self._add(member)
            for place in self._links:
                self._copy_link(place)
        except SavedModelError as error:
            raise type(error)(f"archive '{self._path}': {error}") from None
        except (NotImplementedError, ImportError) as error:
            raise UnimplementedError(f"archive '{self._path}': {error}") from error
        except RuntimeError as error:  # zipfile's of an encrypted member
            raise InvalidArgumentError(f"archive '{self._path}': {error}") from error
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            ValueError,
        ) as error:
            raise DataLossError(f"archive '{self._path}' is corrupt: {error}") from error
        except OSError as error:  # also gzip's and bz2's of corrupt data
            message = f"archive '{self._path}' cannot be unpacked: {error}"
            if error.errno == errno.ENOSPC:
                raise ResourceExhaustedError(message) from error
            raise DataLossError(message) from error

    def _add(self, member: _Member) -> None:
        kind = member.kind
        place = None if ".." in member.name.split("/") else _place(member.name)
        if place is None or (not place and kind != "folder"):
            raise InvalidArgumentError(f"member {member.name!r} leads out of the archive")
        if kind not in ("file", "folder", "link"):
            raise InvalidArgumentError(f"member {member.name!r} is {kind}")
        if len(self._kinds) >= _MAX_MEMBERS:
            raise InvalidArgumentError(f"it has more than {_MAX_MEMBERS} members")
        for depth in range(1, len(place)):
            if self._kinds.setdefault(place[:depth], "folder") != "folder":
                raise InvalidArgumentError(f"member {member.name!r} is inside a file")
        known = self._kinds.get(place)
        if known is not None and not known == kind == "folder":
            raise InvalidArgumentError(f"member {member.name!r} is there twice")
        self._kinds[place] = kind
        if kind == "folder":
            self._target(place).mkdir(parents=True, exist_ok=True)
        elif kind == "file":
            self._take_room(member.name, member.size)
            with member.open() as source:
                self._write(place, source)
        else:
            target = _place(member.target)
            if not target:
                raise InvalidArgumentError(
                    f"the link {member.name!r} leads out of the archive, to {member.target!r}"
                )
            self._links[place] = target

    def _copy_link(self, place: tuple[str, ...]) -> None:
        name = "/".join(place)
        target = place
        for _ in range(16):  # links may lead to links
            if target not in self._links:
                break
            target = self._links[target]
        if self._kinds.get(target) != "file":
            raise InvalidArgumentError(
                f"the link {name!r} leads to {'/'.join(target)!r}, which is no file of the archive"
            )
        source = self._target(target)
        self._take_room(name, source.stat().st_size)
        with source.open("rb") as opened:
            self._write(place, opened)

    def _take_room(self, name: str, size: int) -> None:
        if not 0 <= size <= self._room:
            raise ResourceExhaustedError(
                f"member {name!r} has {size} bytes, and the disk of the temporary folder has room "
                f"for {self._room}"
            )
        self._room -= size

    def _write(self, place: tuple[str, ...], source: IO[bytes]) -> None:
        target = self._target(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            shutil.copyfileobj(source, file, _MAX_READ)

    def _target(self, place: tuple[str, ...]) -> Path:
        return self._root.joinpath(*place)


def _place(name: str) -> tuple[str, ...] | None:
    """The parts of a name in the archive; None for one that leads out of it."""
    if name.startswith("/") or "\0" in name:
        return None
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)

"""How files are written: whole or not at all, into a folder that was tried before work is put in."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.runs.temporary import sweep_once, temporary_beside

PATH_ERRORS = "surrogateescape"
"""Error handler by which Python keeps the bytes of file names that are not valid UTF-8."""


def ensure_writable(folder: Path, option: str = "`default_root_dir`", advice: str = "") -> None:
    """Write a file to ``folder``, or where it would be made, to see that it takes one; nothing stays.

    Raises:
        DataError: It does not; the message names ``option``, or gives other ``advice``.
    """
    there = _nearest(folder)
    probe = temporary_beside(there / "probe")
    sweep_once(there)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        advice = advice or f"choose another folder by {option}"
        raise DataError(f"cannot write to {folder}: {error.strerror}; {advice}") from error


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk of ``folder``, which need not be there yet."""
    return shutil.disk_usage(_nearest(folder)).free


def _nearest(folder: Path) -> Path:
    """The folder, or the one above it in which it would be made."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; its file replaces ``path`` when the block ends without an error.

    A kill or a full disk leaves the old file.

    Raises:
        DataError: The file cannot be written.
    """
    temporary = temporary_beside(path)
    sweep_once(path.parent.absolute())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if os.name != "nt":  # Windows cannot open a folder, and need not sync it
            _sync(path.parent, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; free space or mend the folder") from error
    finally:
        with suppress(OSError):  # a read-only folder refuses this too, and has said so above
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that becomes it when the block ends without an error; else nothing stays.

    Raises:
        UsageError: There is something at ``path``.
        DataError: The folder cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists, and nothing in it is replaced: name a folder that does not exist yet")
    ensure_writable(path, advice="name a folder elsewhere")
    temporary = temporary_beside(path).absolute()
    missing = [parent for parent in temporary.parents if not parent.exists()]
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.rename(temporary, path)
    except OSError as error:
        place = temporary if error.filename is None else Path(os.fsdecode(error.filename)).absolute()
        written = place.is_relative_to(temporary) or temporary.is_relative_to(place)  # else something was to be read
        advice = "; free space or mend the folder" if written else ""
        raise DataError(
            f"cannot {'write' if written else 'use'} {error.filename or path}: {error.strerror or error}{advice}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in missing:
            with suppress(OSError):  # it is no longer empty
                parent.rmdir()


@contextmanager
def atomic_csv(path: Path) -> Iterator[TextIO]:
    """Give a stream for ``csv.writer`` that takes the place of ``path`` as ``atomic_write`` does; raises the same.

    File names in it that are not valid UTF-8 are written byte by byte.
    """
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=PATH_ERRORS) as stream,
    ):
        yield stream


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, or nested so deeply that nothing of ours has written it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write ``value`` as JSON, in which nan is null, whole or not at all; raises as ``atomic_write`` does."""
    with atomic_write(path) as temporary:
        text = json.dumps(_without_nan(value), indent=indent, ensure_ascii=False, allow_nan=False)
        temporary.write_text(
            f"{text}\n", encoding="utf-8", errors="backslashreplace"
        )  # file names may hold invalid UTF-8


def write_page(path: Path, text: str) -> Path:
    """Write an HTML page, whole or not at all, and return its path; raises as ``atomic_write`` does."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")  # file names may hold invalid UTF-8
    return path


def _without_nan(value: Any) -> Any:
    """Replace every number that JSON does not have, such as nan, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Zip files of ``torch.save``: whole, and no larger in memory than on disk, before anything in them is used."""

import pickletools
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

VALUES = "/data/"
"""What the names of records with the numbers of tensors contain."""

FOLDER = 0x10
"""Attribute by which an archive of DOS marks a folder."""

CHUNK = 1 << 20

MOST_STEPS = 2_000_000
"""Steps by which a pickle may build something; a network of 300 tensors with its optimizer takes 60,000."""

MOST_TEXT = 1 << 30
"""Bytes that a pickle may take for copies of the longest text in it."""

Checksums = set[tuple[int, int]]
"""CRC-32 and size of each record."""


class ArchiveError(ValueError):
    """A file is not what ``torch.save`` has written; the text says how it is not."""


def check_archive(file: BinaryIO, values: bool = True, trusted: bool = False) -> Checksums:
    """Compare each record with the checksum that was written with it, and return those checksums.

    Args:
        file: A zip file.
        values: False leaves the numbers of tensors unread.
        trusted: True for a file that this process has written: its pickle is as large as it should be.

    Raises:
        ArchiveError: A record is damaged, the archive takes more memory than it has bytes, or its pickle builds more
            than one of ``torch.save``.
    """
    try:
        with ZipFile(file) as archive:
            records = archive.infolist()
            _check_sizes(records, size=file.seek(0, 2))
            if archive.comment or records[0].header_offset:
                raise ArchiveError("damaged")  # torch's reader might find another archive in the same file
            for record in records:
                if values or VALUES not in record.filename:
                    _check_record(archive, record, trusted)
            return {(record.CRC, record.file_size) for record in records}
    except ArchiveError:
        raise
    except Exception as error:  # whatever zipfile raises of damaged bytes
        raise ArchiveError("damaged") from error


def check_pickles(file: BinaryIO) -> None:
    """Check a file of before torch 1.6, a row of pickles, of which the fourth holds what was saved.

    Raises:
        ArchiveError: One is damaged, or builds more than one of ``torch.save``.
    """
    for _ in range(5):
        _check_pickle(file)


def _check_sizes(records: list[ZipInfo], size: int) -> None:
    """Refuse what decompresses: ``torch.save`` stores its records as they are, one behind the other, in no folders."""
    if any(record.is_dir() or record.external_attr & FOLDER for record in records):
        raise ArchiveError("damaged")  # of a folder, torch's reader would read nothing and not say so
    compressed = any(
        record.compress_type != ZIP_STORED or record.compress_size < record.file_size for record in records
    )
    if compressed or sum(record.file_size for record in records) > size:
        raise ArchiveError("would take more memory than the file has bytes, which no file of torch.save does")


def _check_record(archive: ZipFile, record: ZipInfo, trusted: bool) -> None:
    with archive.open(record) as stream:
        while stream.read(CHUNK):  # ZipFile compares the checksum at the end
            pass
    if record.filename.endswith(".pkl") and not trusted:
        with archive.open(record) as stream:
            _check_pickle(stream)  # type: ignore[arg-type]  # it reads as a file does


def _check_pickle(stream: BinaryIO) -> None:
    """Refuse a pickle that takes much more memory than its own bytes, as far as its steps show it."""
    longest, calls = 0, 0
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            calls += opcode.name == "REDUCE"
            if isinstance(argument, str | bytes):
                longest = max(longest, len(argument))
            makes_zeros = opcode.name == "GLOBAL" and str(argument).endswith(" bytearray")
            if step > MOST_STEPS or longest * calls > MOST_TEXT or makes_zeros:
                raise ArchiveError("would take more memory than a file of torch.save does")
    except ArchiveError:
        raise
    except (ValueError, LookupError, OverflowError) as error:
        raise ArchiveError("damaged") from error

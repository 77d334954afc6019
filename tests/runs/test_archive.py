import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch

from emotion_lightning.errors import DataError
from emotion_lightning.runs import archive
from emotion_lightning.runs.archive import ArchiveError, check_archive
from emotion_lightning.runs.loading import load_safely
from tests.helpers import assert_equal

CHECKPOINT = {"epoch": 3, "state_dict": {"a": torch.arange(30.0), "b": torch.ones(5, 5)}, "other": torch.zeros(40)}


@pytest.mark.parametrize("names", [None, ("state_dict",)])
def test_each_flipped_bit_is_found_or_without_effect(tmp_path: Path, names: tuple[str] | None) -> None:
    file, draw = tmp_path / "a.ckpt", random.Random(0)
    torch.save(CHECKPOINT, file)
    content, refused = file.read_bytes(), 0
    expected = load_safely(file, "`here`", names)
    for _ in range(40):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        try:
            assert_equal(load_safely(file, "`here`", names), expected)
        except DataError as error:
            assert str(file) in str(error)  # noqa: PT017  # either is right
            refused += 1
    assert refused > 5


def test_a_record_that_is_marked_as_a_folder_is_refused(tmp_path: Path) -> None:
    torch.save(CHECKPOINT, tmp_path / "a.ckpt")
    content = bytearray((tmp_path / "a.ckpt").read_bytes())
    content[content.rfind(b"PK\x01\x02", 0, content.rfind(b"/data/0")) + 38] ^= 0x10  # torch would read nothing of it
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.ckpt: damaged"):
        load_safely(tmp_path / "a.ckpt", "`here`")


def rewritten(file: Path, compression: int = zipfile.ZIP_STORED, **records: bytes) -> Path:
    """Write the archive again with other records, and with checksums that are right."""
    with zipfile.ZipFile(file) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(file, "w", compression) as new:
        for name, value in content.items():
            new.writestr(name, records.get(Path(name).stem, value))
    return file


def test_what_would_take_more_memory_than_the_file_has_bytes_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(5_000_000)}, tmp_path / "a.ckpt")
    small = rewritten(tmp_path / "a.ckpt", zipfile.ZIP_DEFLATED)
    assert small.stat().st_size < 100_000
    for names in (None, ("a",)):
        with pytest.raises(DataError, match=r"a\.ckpt: would take more memory than the file has bytes"):
            load_safely(small, "`here`", names)


@pytest.mark.parametrize(
    "steps",
    [
        b"c__builtin__\nbytearray\n" + pickle.dumps(10**10, 2)[2:-1] + b"\x85R",
        b"]" + b"}" * 3001,
        pickle.dumps("x" * 20_000, 2)[2:-1] + b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR" * 600,
    ],
    ids=["zeros", "containers", "copies"],
)
def test_a_pickle_that_builds_more_than_its_own_size_is_refused(
    tmp_path: Path, steps: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_STEPS", 3000)
    monkeypatch.setattr(archive, "MOST_TEXT", 10_000_000)
    torch.save({}, tmp_path / "a.ckpt")
    rewritten(tmp_path / "a.ckpt", data=b"\x80\x02" + steps + b".")
    with pytest.raises(DataError, match=r"a\.ckpt: would take more memory than a file of torch\.save does"):
        load_safely(tmp_path / "a.ckpt", "`here`")


def test_a_file_of_before_torch_1_6_is_loaded_and_checked_as_far_as_it_can_be(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert load_safely(tmp_path / "a.pth", "`here`")["a"].tolist() == [0, 1, 2]
    torch.save({"a": bytearray(9)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="would take more memory"):
        load_safely(tmp_path / "a.pth", "`here`")


def test_numbers_may_be_left_unread(tmp_path: Path) -> None:
    torch.save(CHECKPOINT, tmp_path / "a.ckpt")
    content = bytearray((tmp_path / "a.ckpt").read_bytes())
    content[content.index(torch.ones(5, 5).numpy().tobytes())] ^= 1
    (tmp_path / "a.ckpt").write_bytes(content)
    with (tmp_path / "a.ckpt").open("rb") as file:
        check_archive(file, values=False)
        with pytest.raises(ArchiveError):
            check_archive(file)
    assert load_safely(tmp_path / "a.ckpt", "`here`", ("epoch", "other"))["epoch"] == 3
    with pytest.raises(DataError, match=r"a\.ckpt: damaged"):
        load_safely(tmp_path / "a.ckpt", "`here`", ("state_dict",))

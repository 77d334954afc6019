from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from emotion_lightning.errors import DataError
from emotion_lightning.runs.loading import load_safely


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('ran', 'w')",)


def test_what_torch_saved_is_loaded(tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(3)}, tmp_path / "plain.pt")
    assert load_safely(tmp_path / "plain.pt", "`here`")["weight"].tolist() == [0, 1, 2]


@pytest.mark.usefixtures("in_an_empty_folder")
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(DataError, match=r"`here` .*bomb\.pt: holds more than plain data and may run code"):
        load_safely(tmp_path / "bomb.pt", "`here`")
    assert not Path("ran").exists()


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "damaged.pt"
    torch.save({"weight": torch.arange(300)}, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"damaged\.pt: damaged, or no file of torch\.save"):
        load_safely(file, "`here`")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.pt: no such file"):
        load_safely(tmp_path / "gone.pt", "`here`")


def test_an_address_is_not_fetched() -> None:
    with pytest.raises(DataError, match=r"`here` https://example\.org/a\.ckpt: addresses are not fetched; download"):
        load_safely("https://example.org/a.ckpt", "`here`")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a page for a browser"),
        (b"<HTML><body>Not found</body></HTML>", "is a page for a browser"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7\n", "is a pointer of Git LFS"),
        (b'{"error": "not found"}', "no file of torch.save"),
        (b"cos\nsystem\n(S'touch ran'\ntR.", "no file of torch.save"),
    ],
)
@pytest.mark.parametrize("names", [None, ("epoch",)])
def test_a_file_of_another_kind_is_called_what_it_is(
    tmp_path: Path, content: bytes, said: str, names: tuple[str] | None
) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(DataError, match=f"a.ckpt: {said}"):
        load_safely(tmp_path / "a.ckpt", "`here`", names)


def test_a_foreign_archive_is_no_checkpoint(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(DataError, match=r"a\.ckpt: damaged, or no file of torch\.save"):
        load_safely(tmp_path / "a.ckpt", "`here`", ("epoch",))

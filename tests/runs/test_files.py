import os
import re
from pathlib import Path

import pytest
import torch

from emotion_lightning.cli import main
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import atomic_write, ensure_writable, new_folder
from tests.helpers import QUIET


def test_a_folder_that_fails_leaves_none_of_those_that_it_needed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="of the data"), new_folder(tmp_path / "there/pa/rent/model"):
        raise DataError("of the data")
    assert list((tmp_path / "there").iterdir()) == []
    with new_folder(tmp_path / "there/pa/rent/model") as temporary:
        (temporary / "a.txt").write_text("all")
    assert [path.name for path in (tmp_path / "there/pa/rent").iterdir()] == ["model"]
    with pytest.raises(DataError, match="of the data"), new_folder(tmp_path / "there/pa/other"):
        raise DataError("of the data")
    assert (tmp_path / "there/pa/rent/model/a.txt").read_text() == "all"


def test_what_cannot_be_read_is_not_told_as_what_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^cannot use .*gone\.txt: No such file or directory$"),
        new_folder(tmp_path / "model"),
    ):
        (tmp_path / "gone.txt").read_text()
    with pytest.raises(DataError, match=r"^cannot write .*; free space"), new_folder(tmp_path / "model") as temporary:
        (temporary / "no/a.txt").write_text("")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_when_all_of_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.txt"
    with atomic_write(file) as temporary:
        temporary.write_text("all")
        assert not file.exists()
    assert file.read_text() == "all"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def write_half() -> None:
        with atomic_write(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match=r"taken/below.*choose another folder by --here"):
        ensure_writable(tmp_path / "taken" / "below", "--here")
    ensure_writable(tmp_path / "made" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list what is mapped")
@pytest.mark.usefixtures("in_an_empty_folder")
def test_nothing_is_mapped_that_is_replaced(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, replaced = os.replace, []

    def replace(source: Path, target: Path) -> None:
        replaced.append(Path(target).name)
        assert str(target) not in Path("/proc/self/maps").read_text(encoding="utf-8")  # Windows would refuse
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    first = torch.load(trained / "epoch_000.ckpt", weights_only=True)
    first["callbacks"]["Checkpoint"]["best_score"] = -1.0  # so that the next epoch is better
    for name in ("last.ckpt", "best.ckpt"):
        torch.save(first, trained / name)
        main(["fit", "--ckpt_path", str(trained / name), *QUIET])
    main(["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET])
    assert {"last.ckpt", "best.ckpt", "metrics.json"} <= set(replaced)


def test_every_name_in_a_run_is_one_on_windows(reported: Path) -> None:
    names = {part for path in reported.rglob("*") for part in path.relative_to(reported).parts}
    assert len(names) > 20
    assert [name for name in names if re.search(r'[<>:"|?*\\\x00-\x1f]|[. ]$', name)] == []
    assert not {name.partition(".")[0].upper() for name in names} & {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}


def test_a_folder_that_refuses_also_the_removal_says_why_it_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*args: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    monkeypatch.setattr(Path, "write_text", read_only)
    with (
        pytest.raises(DataError, match=r"cannot write .*Read-only file system"),
        atomic_write(tmp_path / "a") as temporary,
    ):
        temporary.write_text("a")

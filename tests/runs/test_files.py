from pathlib import Path

import pytest

from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import atomic_write, ensure_writable


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

from pathlib import Path

import pytest

from tests.data.files import faces, table


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder tree with all three splits of two classes."""
    for part, (split, count) in enumerate({"train": 4, "val": 2, "test": 1}.items()):
        faces(tmp_path / split / "happy", count, part * 100)
        faces(tmp_path / split / "angry", count, part * 100 + 50)
    return tmp_path


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """CSV manifests without a label map."""
    faces(tmp_path / "faces", 6)
    for split, numbers in {"train": (0, 1, 2, 3), "val": (4, 5)}.items():
        rows = [(f"faces/{n}.png", ("sad", "happy")[n % 2]) for n in numbers]
        table(tmp_path / f"{split}.csv", "filepath,label", rows)
    return tmp_path

"""What the faces of photographs are called."""

from pathlib import Path

from emotion_lightning.inference.preparation import _stems


def test_photographs_whose_faces_would_be_called_alike_keep_their_suffix() -> None:
    names = ["a/..jpg", "a/...png", "a/x.jpg", "a/X.png", "a/y.jpg", "b/x.jpg", "b/z.jpg", "b/z.jpg.png"]
    assert _stems(list(map(Path, names))) == [".", "..", "x.jpg", "X.png", "y", "x", "z", "z.jpg.png"]

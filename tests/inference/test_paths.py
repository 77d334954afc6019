"""Which pictures a command line names."""

from io import BytesIO
from pathlib import Path

import pytest

from emotion_lightning.errors import DataError
from emotion_lightning.inference.paths import listed_pictures, named_pictures

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture(autouse=True)
def _some_pictures(in_an_empty_folder: None) -> None:
    for name in ("b/z.png", "b/a/deep.JPG", "b/b.txt", "b/movie.mp4", "b/.hidden.png", "a.png", "with [1].png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def named(*given: str) -> list[str]:
    return list(map(str, named_pictures(given, [])))


def test_files_come_in_the_order_given_and_a_folder_in_that_of_its_paths() -> None:
    assert named("b/z.png", "b", "a.png") == ["b/z.png", "b/a/deep.JPG", "b/z.png", "a.png"]


def test_what_is_not_read_in_a_folder_is_said() -> None:
    notes = list[str]()
    named_pictures(["b"], notes)
    assert notes == ["b: not read: 1 video (movie.mp4)"]


def test_patterns_that_no_shell_expanded_are() -> None:
    assert named("*.png") == ["a.png", "with [1].png"]
    assert named("**/*.png") == ["a.png", "b/z.png", "with [1].png"]
    assert named("[b]") == ["b/a/deep.JPG", "b/z.png"]
    assert named("with [1].png") == ["with [1].png"]  # a file of that name


@pytest.mark.parametrize("column", ["path", "filepath", "image", "file", "FilePath"])
def test_paths_in_a_table_start_from_its_folder(column: str) -> None:
    Path("b/list.csv").write_text(f'label,{column}\nhappy,z.png\nsad,"a/deep.JPG"\n\nsad,"gone, too.png"\n')
    assert named("b/list.csv") == ["b/z.png", "b/a/deep.JPG", "b/gone, too.png"]
    absolute = str(Path("a.png").resolve())
    Path("list.csv").write_text(f"{column}\na.png\n{absolute}\n")
    assert named("list.csv", "b") == ["a.png", absolute, "b/a/deep.JPG", "b/z.png"]


def test_a_line_without_a_path_does_not_end_the_run() -> None:
    Path("list.csv").write_text("label,path\nhappy,a.png\nsad\nsad,\nsad, \nsad,b/z.png\n")
    notes = list[str]()
    first, short, last = named_pictures(["list.csv"], notes)
    assert (first, last) == ("a.png", "b/z.png")
    assert str(short) == "list.csv line 3: the line is too short to have a path"
    assert notes == ["list.csv: 2 lines without a path left out"]


def test_a_table_without_paths_is_refused() -> None:
    Path("list.csv").write_text("emotion,pixels\n3,0 0 0 0\n")
    with pytest.raises(DataError, match=r"list\.csv: its first line names no column of paths; call one path, filepath"):
        named("a.png", "list.csv")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.jpg", "gone.jpg: no such file or folder, and no pattern that any matches"),
        ("*.bmp", r"\*\.bmp: no such file or folder"),
        ("empty", "empty holds no images .* it holds no files"),
        ("https://example.org/a.jpg", "addresses are not fetched"),
    ],
)
def test_what_names_nothing_is_refused_alone_and_kept_among_others(name: str, said: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(DataError, match=said):
        named(name)
    assert named("a.png", name) == ["a.png", name]


def test_a_list_is_read_line_by_line_whatever_its_bytes() -> None:
    assert list(listed_pictures(BytesIO(b"a b.png\r\n\n \xff.png\nlast"))) == ["a b.png", " \udcff.png", "last"]


def test_a_link_that_leads_nowhere_is_a_picture_that_cannot_be_read() -> None:
    Path("link.png").symlink_to("nowhere")
    Path("c").mkdir()
    assert named("*") == ["a.png", "b/a/deep.JPG", "b/z.png", "c", "link.png", "with [1].png"]
    with pytest.raises(DataError, match=r"link\.png: no such file or folder"):
        named("link.png")

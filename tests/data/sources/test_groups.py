import random
import shutil
from pathlib import Path

import pytest

from emotion_lightning.data.sources.groups import (
    MOST_COPIES,
    augmented_copies,
    connected_components,
    join_groups,
    original_stem,
)
from emotion_lightning.data.sources.manifest import read_manifest, write_splits
from emotion_lightning.data.sources.splits import verify_split
from emotion_lightning.errors import DataError, UsageError
from tests.data.files import face, faces, table
from tests.helpers import naive, straddling


@pytest.mark.parametrize(
    "name",
    [
        *("x_aug3.jpg", "x.jpg0.jpg", "x.jpg.jpg", "x_flip.jpg", "x (1).jpg", "x(2).jpg", "x_copy.jpg", "x_rot15.jpg"),
        *("x - Copy.png", "x - Copy (2).png", "x_rot-15.png", "x_rotated_90.JPG", "x-hflip.bmp", "x_flip_lr.webp"),
        *("x_aug_0_flip.jpg", "x_augmented.jpg", "x_bright1.2.jpg", "x_NOISE.PNG", "x_mirror.jpg", "x_blur3.jpg"),
        *("x_png.rf.0123456789abcdef0123456789ABCDEF.jpg", "x.jpg"),
        *("aug_x.jpg", "rotated_x.jpg", "flip-x.png", "copy of x.jpg", "Copy of x.JPG", "Copy (2) of x.png"),
        *("AUG3_x.jpg", "rot90_x.jpg", "rot-15_x.jpg", "hflip x.jpg", "flipped.x.jpg", "bright1.2_x.jpg", "crop-x.jpg"),
        *("horizontal_flip_x.jpg", "flip_lr_x.jpg", "aug_flip_x.jpg", "aug_x_flip.jpg", "grayscale_x.jpg"),
        *("augmented_x (1).jpg", "x_flip_horizontal.jpg", "x_vflip.jpg", "x_cropped.jpg"),
    ],
)
def test_marks_of_copies_are_taken_off(name: str) -> None:
    assert original_stem(name) == "x"


@pytest.mark.parametrize(
    "stem",
    [
        *(
            "Training_123",
            "PublicTest_9",
            "S010_004_00000017",
            "train_00001_aligned",
            "image0000123",
            "im0",
            "1",
            "x_1",
        ),
        *("augusta", "flip", "_aug1", "copy", "rotterdam_3", "happy-12", "a.b", "(1)", "face_profile", "x_1", "x_2024"),
        *(
            "happy_1",
            "flipper",
            "augustus",
            "flipper_1",
            "augustus-2",
            "dark",
            "copyright_3",
            "shifty_1",
            "happyflip_1",
        ),
        *("happyflip_1", "Zoomer 3", "rotation", "h_1", "noises_2"),
    ],
)
def test_real_names_stay(stem: str) -> None:
    assert original_stem(f"{stem}.jpg") == stem


def families(*names: str) -> list[set[str]]:
    found = augmented_copies(names, [name.rpartition("/")[0].rpartition("/")[2] for name in names])
    keys = [key for key in dict.fromkeys(found) if key]
    return [{name for name, key in zip(names, found, strict=True) if key == own} for own in keys]


def test_a_family_has_its_original_or_another_copy() -> None:
    assert families("a/x.jpg", "a/x_aug0.jpg", "a/x.jpg1.jpg") == [{"a/x.jpg", "a/x_aug0.jpg", "a/x.jpg1.jpg"}]
    assert families("a/x_aug0.jpg", "a/x_flip.jpg", "a/y_aug0.jpg") == [{"a/x_aug0.jpg", "a/x_flip.jpg"}]
    assert families("a/x.jpg", "b/x_aug0.jpg", "a/x.png", "a/x2.jpg") == []  # another class, and no copies


@pytest.mark.parametrize(
    "copy",
    [
        *("aug_a.jpg", "rotated_a.jpg", "flip-a.png", "copy of a.jpg", "A_FLIP.JPG", "AUG_A.JPG", "Copy of A.jpg"),
        *("a_Flip.jpg", "rot_15_a.jpg", "rot 15 a.jpg", "ROT15_A.png", "a.JPG0.jpg", "aug_3_a_flip.jpg"),
    ],
)
def test_copies_are_found_by_marks_anywhere_and_in_any_case(copy: str) -> None:
    assert families("c/a.jpg", f"c/{copy}", "c/b.jpg") == [{"c/a.jpg", f"c/{copy}"}]
    assert families("c/b.jpg", f"c/{copy}") == families("d/a.jpg", f"c/{copy}") == []


def test_ordinary_names_and_names_that_differ_in_case_are_no_copies() -> None:
    ordinary = ("happy.jpg", "happy_1.jpg", "flipper.jpg", "per.jpg", "augustus.jpg", "ustus.jpg", "IMG.jpg", "img.jpg")
    assert families(*(f"c/{name}" for name in (*ordinary, "1.jpg", "happy_2.jpg"))) == []


def test_what_a_mark_in_front_is_a_copy_of_is_what_is_there() -> None:
    assert families("c/12_a.jpg", "c/rot_12_a.jpg", "c/b.jpg") == [{"c/12_a.jpg", "c/rot_12_a.jpg"}]
    assert families("c/a.jpg", "c/rot_12_a.jpg") == [{"c/a.jpg", "c/rot_12_a.jpg"}]


def test_parts_of_one_image_are_no_copies_of_it() -> None:
    parts = [f"c/a.jpg#xywh={place},0,9.5,9" for place in (0, 10)]
    assert families(*parts) == []
    assert families(*parts, "c/flip_a.jpg#xywh=0,0,9.5,9") == [{*parts, "c/flip_a.jpg#xywh=0,0,9.5,9"}]


def test_numbers_in_brackets_are_copies_only_of_an_original_that_is_there() -> None:
    assert families("a/x.jpg", "a/x (1).jpg") == [{"a/x.jpg", "a/x (1).jpg"}]
    assert families(*(f"a/face ({number}).jpg" for number in range(1, 9))) == []
    many = [f"a/download ({number}).jpg" for number in range(1, MOST_COPIES + 2)]
    assert families("a/download.jpg", *many) == []


def test_a_common_stem_of_very_many_is_a_numbering() -> None:
    marked = [f"a/face_aug{number}.jpg" for number in range(MOST_COPIES + 1)]
    assert families(*marked) == []
    assert len(families(*marked[1:])[0]) == MOST_COPIES
    assert len(families("a/face.jpg", *marked)[0]) == MOST_COPIES + 2


def test_copies_are_found_in_other_splits_where_names_tell_images_apart() -> None:
    crossing = ("train/a/x_aug0.jpg", "test/a/x.jpg")
    assert families(*crossing) == [set(crossing)]
    assert families(*crossing, "train/a/y.jpg", "test/a/y.jpg") == []  # numbered anew in every split


def test_components_are_named_by_their_smallest_node() -> None:
    assert connected_components(7, [(4, 6), (2, 6), (0, 5)]) == [0, 1, 2, 3, 2, 0, 2]
    assert connected_components(3, []) == [0, 1, 2]


def test_groups_join_what_shares_a_key_through_others() -> None:
    digests = ["d3", "d1", "d1", "d2", "d9"]
    subjects = ["S1", "S2", None, "S2", None]
    copies = [None, None, "x", None, "x"]
    assert join_groups(digests, subjects, copies) == ["d3", "d1", "d1", "d1", "d1"]
    assert join_groups(subjects, copies) == ["S1", "S2", "x", "S2", "x"]
    assert join_groups([None, "b"], ["a", None]) == ["a", "b"]
    assert join_groups([None]) == [None]


def test_joined_groups_do_not_depend_on_the_order() -> None:
    draw = random.Random(3)
    keys = [[draw.choice([None, f"{kind}{draw.randrange(400)}"]) for _ in range(200)] for kind in "abc"]
    expected = join_groups(*keys)
    assert 50 < len(set(expected)) < 150
    for _ in range(3):
        order = draw.sample(range(200), 200)
        assert join_groups(*[[key[i] for i in order] for key in keys]) == [expected[i] for i in order]


def test_a_cut_that_divides_a_group_is_refused() -> None:
    verify_split(["train", "val", "train"], ["a", "b", "a"], ["s", None, None])
    with pytest.raises(DataError, match="the cut put 's' into both train and val"):
        verify_split(["train", "val"], ["a", "b"], ["s", "s"])


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    """Twenty people, two faces of each in either class, and one face of nobody."""
    for person in range(20):
        for number in range(4):
            emotion = ("happy", "sad")[number % 2]
            face(tmp_path / "data" / emotion / f"p{person:02d}-{number}.png", 10 * person + number)
    face(tmp_path / "data" / "sad" / "somebody.png", 999)
    return tmp_path / "data"


@pytest.mark.parametrize("pattern", [r"/(p\d+)-", r"(?P<emotion>\w+)/(?P<subject>p\d+)-", r"((?:p\d\d)?)-?[^/]*$"])
def test_a_pattern_keeps_subjects_whole(subjects: Path, pattern: str) -> None:
    manifest = read_manifest(subjects, group_regex=pattern)
    assert manifest.describe().endswith("; 1 images without a group; 20 groups kept whole")
    assert manifest.groups is not None
    assert manifest.groups[manifest.names.index("sad/p07-3.png")] == "p07"
    people = [group or name for group, name in zip(manifest.groups, manifest.names, strict=True)]
    assert straddling(people, manifest.splits) == 0
    assert straddling(people, read_manifest(subjects).splits) > 0


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"p(\d+", r"`group_regex` 'p\(\\\\d\+' is no regular expression: missing \)"),
        (r"p\d+", r"has no group: put what names the subject into parentheses"),
        (r"/(q\d+)", r"matches no image; the first is happy/p00-0\.png"),
    ],
)
def test_patterns_that_cannot_work_are_refused(subjects: Path, pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_manifest(subjects, group_regex=pattern)


@pytest.mark.parametrize("column", ["subject", "Group"])
def test_a_column_keeps_subjects_whole_and_stays_in_the_splits_file(subjects: Path, column: str) -> None:
    rows = [(f"{e}/p{p:02d}-{n}.png", e, p) for p in range(20) for n, e in enumerate(("happy", "sad") * 2)]
    table(subjects / "train.csv", f"filepath,label,{column}", [*rows, ("sad/somebody.png", "sad", "")])
    manifest = read_manifest(subjects)
    assert manifest.cut == ("val",)
    assert manifest.groups == (*(str(person) for _, _, person in rows), None)
    assert straddling(manifest.groups[:-1], manifest.splits[:-1]) == 0  # type: ignore[arg-type]
    write_splits(manifest, subjects / "splits.csv")
    assert read_manifest(subjects, splits_file=subjects / "splits.csv").groups == manifest.groups


def test_two_columns_of_groups_are_refused(subjects: Path) -> None:
    table(subjects / "train.csv", "filepath,label,subject,group", [("sad/somebody.png", "sad", 1, 2)])
    with pytest.raises(DataError, match=r"train\.csv has both columns subject and group: keep the one"):
        read_manifest(subjects)


def test_augmented_copies_never_leak(tmp_path: Path) -> None:
    for label, emotion in enumerate(("happy", "sad")):
        for number in range(60):
            faces(tmp_path / emotion, 0)
            face(tmp_path / emotion / f"{number}.png", 1000 * label + 10 * number)
            for copy in range(4):  # other pixels, so that only the name tells
                face(tmp_path / emotion / f"{number}_aug{copy}.png", 1000 * label + 10 * number + copy + 1)
    manifest = read_manifest(tmp_path)
    originals = [name.removesuffix(".png").partition("_aug")[0] for name in manifest.names]
    assert straddling(originals, manifest.splits) == 0
    assert manifest.describe().endswith("; 120 groups kept whole")
    assert manifest.counts("test") == {"happy": 45, "sad": 45}
    assert straddling(originals, naive(originals, manifest.labels)) > 90  # of 120: what people get


def test_subjects_copies_and_equal_files_are_kept_together_in_a_chain(tmp_path: Path) -> None:
    faces(tmp_path / "happy", 40)
    faces(tmp_path / "sad", 40, 100)
    chain = [f"sad/{name}" for name in ("s1-a.png", "s1-b.png", "s1-b_flip.png", "z.png")]
    for number, name in enumerate(chain[:3]):
        face(tmp_path / name, 500 + number)
    shutil.copy(tmp_path / chain[2], tmp_path / chain[3])
    manifest = read_manifest(tmp_path, group_regex=r"/(s1)-\w\.png")
    assert len({manifest.splits[manifest.names.index(name)] for name in chain}) == 1
    assert manifest.groups is not None
    assert [manifest.groups[manifest.names.index(name)] for name in chain] == ["s1", "s1", "s1", None]

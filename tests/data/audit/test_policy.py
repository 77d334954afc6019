import pytest

from emotion_lightning.data.audit.policy import Policies, enforce, excluded, policy_messages, unreadable_message
from emotion_lightning.errors import DataError
from tests.data.files import audit, overlapping


def test_drop_takes_the_earlier_copy_and_never_a_test_image() -> None:
    found = audit("aacaaabb", near=())  # 0, 1 train; 3, 4 val; 5 test; 6 test and 7 train
    out = excluded(found, Policies(leaks="drop"))
    assert out == dict.fromkeys((0, 1, 3, 4, 7), "leak")
    assert overlapping(found, "test", Policies(leaks="drop")) == set()
    assert overlapping(found, "test") == {5, 6}


def test_drop_of_conflicts_takes_training_images_only() -> None:
    found = audit("abadaefg")
    assert found.conflicts == [[0, 2, 4]]
    assert excluded(found, Policies(conflicts="drop")) == {0: "conflict", 2: "conflict"}
    assert excluded(found, Policies()) == {}


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (Policies(leaks="error"), r"1 of 2 val images have a copy in train; `leaks=drop`"),
        (Policies(conflicts="error"), r"2 identical images in 1 group have different labels; `conflicts=drop`"),
    ],
)
def test_error_stops_training_only(policies: Policies, message: str) -> None:
    found = audit("abadebfg"[:5] + "xyz", near=((1, 3),))
    with pytest.raises(DataError, match=message):
        enforce(found, policies, ("train", "val"), training=True)
    enforce(found, policies, ("val",), training=False)
    enforce(found, Policies(), ("train", "val"), training=True)


def test_unreadable_images_stop_what_uses_them_and_are_all_listed() -> None:
    found = audit(unreadable=(5, 6))
    listed = r"(?s)2 unreadable.*skip`:\n  test/5\.png: truncated\n  test/6\.png: truncated"
    with pytest.raises(DataError, match=listed):
        enforce(found, Policies(), ("test",), training=False)
    assert unreadable_message({"a\nb.png": "truncated"}).splitlines()[1:] == [r"  a\nb.png: truncated"]
    enforce(found, Policies(), ("val",), training=False)
    enforce(found, Policies(unreadable="skip"), ("test",), training=False)
    assert excluded(found, Policies()) == dict.fromkeys((5, 6), "unreadable")


def test_what_is_found_and_done_is_policy_messages() -> None:
    found = audit("abadaefg", unreadable=(6,))
    assert policy_messages(found, Policies()) == [
        "1 of 2 val images have a copy in train: metrics on them are too good (WARNING); "
        "`leaks=drop` leaves out the copies in the earlier split",
        "3 identical images in 1 group have different labels: at least one of them is wrong (WARNING); "
        "`conflicts=drop` leaves them out of training",
    ]
    lines = policy_messages(found, Policies("skip", "drop", "drop"))
    assert lines[0].endswith("2 train images left out")
    assert lines[1].endswith("no more images left out")
    assert policy_messages(found, Policies(leaks="error", conflicts="error")) == []
    family = audit(groups=("x", None, None, "x", None, None, None, None))
    assert policy_messages(family, Policies())[0].startswith(
        "1 of 2 val images have another image of their group in train"
    )
    assert lines[2] == "1 unreadable image(s) left out:\n  test/6.png: truncated"

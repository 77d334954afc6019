from emotion_lightning.data.audit.summary import everything, summary
from tests.data.files import audit


def test_the_report_has_every_finding_with_its_paths() -> None:
    found = audit("abadaefg", near=((1, 3), (6, 7)), unreadable=(5,))
    report = everything(found)
    assert report["leaks"]["train-val"] == {"images": 2, "of": 2, "exact": 1, "near": 1}
    assert report["conflicting"][0][0] == {"path": "train/0.png", "label": "angry", "split": "train"}
    assert [(pair["first"]["path"], pair["second"]["path"]) for pair in report["near"]] == [
        ("train/1.png", "val/3.png"),
        ("test/6.png", "train/7.png"),
    ]
    assert report["unreadable_images"] == [
        {"path": "test/5.png", "label": "happy", "split": "test", "reason": "truncated"}
    ]
    assert report["other_files"] == ["notes.pdf"]
    assert report["balance"]["train"] == {"angry": 2, "happy": 2}
    assert report["sizes"] == {"48 x 48": 7}
    text = summary(found)
    assert "val images with a copy in train" in text
    assert "2 of 2 (1 exact, 1 near)" in text
    assert "nothing found" not in text

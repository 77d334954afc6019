import csv
import shutil
from pathlib import Path

import pytest

from emotion_lightning.callbacks import MetricsWriter
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.corrections import COLUMNS
from emotion_lightning.data.sources.manifest import Manifest, write_splits
from emotion_lightning.errors import DataError
from emotion_lightning.report.results import read_results
from tests.helpers import Lab

Row = tuple[str, str, str, str, str]


def row(data: EmotionDataModule, name: str, new: str, digest: str = "", old: str = "") -> Row:
    manifest, audit = data.manifest, data.audit
    assert audit is not None
    place = manifest.names.index(name)
    given = manifest.class_names[manifest.labels[place]]
    return name, digest or audit.scan.digests[place], old or given, new, "test"


def write(file: Path, *rows: Row) -> str:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return str(file)


def labels(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.names, (manifest.class_names[label] for label in manifest.labels), strict=True))


@pytest.fixture
def loose(faces: Path, tmp_path: Path) -> Path:
    """The faces without splits, so that these are cut."""
    for number, file in enumerate(sorted(faces.rglob("*.png"))):
        target = tmp_path / "loose" / file.parent.name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return tmp_path / "loose"


@pytest.mark.parametrize("cut", [{}, {"folds": 3, "fold": 1}])
def test_exactly_the_named_labels_change_and_the_split_stands_still(
    lab: Lab, loose: Path, tmp_path: Path, cut: dict[str, int]
) -> None:
    plain = lab.data(root=str(loose), **cut)
    first, second, third = plain.manifest.names[:3]
    rows = row(plain, first, "happy"), row(plain, second, ""), row(plain, third, labels(plain.manifest)[third])
    data = lab.data(root=str(loose), corrections=write(tmp_path / "c.csv", *rows), **cut)
    assert labels(data.manifest) == labels(plain.manifest) | {first: "happy"}
    assert data.manifest.splits == plain.manifest.splits
    used = {data.manifest.names[place] for split in ("train", "val", "test") for place in data.indices(split)}
    assert set(data.manifest.names) - used == {second}
    assert data.identity()["fingerprint"] != plain.identity()["fingerprint"]
    said = data.manifest.describe()
    assert "c.csv: labels of 1 image (1 train) changed, 1 image" in said
    assert "left out" in said
    assert said.endswith("1 confirmed")
    write_splits(data.manifest, tmp_path / "splits.csv")  # can be corrected again
    again = lab.data(root=str(loose), corrections=str(tmp_path / "c.csv"), splits_file=str(tmp_path / "splits.csv"))
    assert again.manifest.labels == data.manifest.labels


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "train/angry/none.png"}, "'train/angry/none.png' is no image of"),
        ({"digest": "0" * 64}, "train/angry/00.png has changed since"),
        ({"old": "happy"}, "has the label 'angry', not 'happy'"),
        ({"new": "bored"}, "'bored' is none of the classes angry, happy, surprised"),
        ({"new": "surprised"}, "has another answer in an earlier row"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_file_and_row(
    lab: Lab, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    good = row(lab.data(), "train/angry/00.png", "happy")
    fields = dict(zip(("name", "digest", "old", "new", "why"), good, strict=True)) | change
    file = write(tmp_path / "c.csv", good, tuple(fields.values()))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"c\.csv row 3: ") as refused:
        _ = lab.data(corrections=file).manifest
    assert said in str(refused.value)


def test_a_file_of_something_else_is_refused(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("filepath,label\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"c.csv has no column 'hash'"):
        _ = lab.data(corrections=str(file)).manifest


def test_figures_on_old_and_new_labels_stand_side_by_side(lab: Lab, tmp_path: Path) -> None:
    plain = lab.data()
    rows = [row(plain, f"test/angry/{n:02d}.png", "happy") for n in range(3)] + [row(plain, "test/happy/00.png", "")]
    trainer = lab.trainer(callbacks=[MetricsWriter()])
    model = lab.model()
    found = {}
    for name, options in {"old": {}, "new": {"corrections": write(tmp_path / "c.csv", *rows)}}.items():
        trainer.test(model, lab.data(**options), verbose=False)
        results = read_results(next(tmp_path.rglob("report/test")))
        assert results is not None
        found[name] = results
    assert found["old"].metrics["corrected"] is None
    corrected = found["new"].metrics["corrected"]
    assert (corrected["labels"], corrected["left_out"]) == (3, 1)
    support = {name: each["support"] for name, each in found["new"].metrics["per_class"].items()}
    assert support == {"angry": 3, "happy": 8, "surprised": 6}
    was = {name: each["support"] for name, each in corrected["as_given"]["per_class"].items()}
    assert was == {"angry": 6, "happy": 5, "surprised": 6}
    kept = [place for place, name in enumerate(found["old"].names) if name != "test/happy/00.png"]
    outputs = found["old"].outputs
    assert corrected["as_given"]["accuracy"] == pytest.approx(
        (outputs.predicted == outputs.labels)[kept].double().mean().item()
    )


def test_data_that_has_moved_keeps_its_corrections_and_other_data_has_none_of_them(
    lab: Lab, faces: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "c.csv", row(lab.data(), "val/angry/00.png", "happy"))
    trained = lab.data(corrections=file)
    trainer = lab.trainer(callbacks=[])
    trainer.validate(lab.model(), trained, verbose=False)
    saved = trained.state_dict()
    moved, other = tmp_path / "moved", tmp_path / "other"
    shutil.copytree(faces, moved)
    for name in ("angry", "happy", "surprised"):
        shutil.copytree(faces / "test" / name, other / name)
    for root, corrected in ((moved, True), (other, False)):
        data = lab.data(root=str(root), corrections=file)
        trainer = lab.trainer(callbacks=[])
        trainer.strategy.connect(lab.model())
        trainer.state.fn = "validate"  # type: ignore[assignment]
        data.trainer = trainer
        data._measure_only()
        data._recognize(saved)
        assert (data.other, data.manifest.given is not None) == (not corrected, corrected)

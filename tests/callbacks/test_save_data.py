import json
import shutil
from pathlib import Path

from emotion_lightning.callbacks import SaveData
from emotion_lightning.data.sources.manifest import read_manifest
from tests.helpers import Lab


def test_only_splits_that_were_cut_are_saved_and_the_audit_always(lab: Lab, faces: Path, tmp_path: Path) -> None:
    flat = shutil.copytree(faces / "train", tmp_path / "flat")
    for folder, root in (("given", faces), ("cut", flat)):
        trainer = lab.trainer(folder, max_epochs=1, limit_train_batches=1, callbacks=[SaveData()])
        data = lab.data(root=str(root))
        trainer.fit(lab.model(), data)
        assert json.loads((tmp_path / folder / "audit.json").read_text())["images"] == len(data.manifest)
        assert (tmp_path / folder / "splits.csv").is_file() == (folder == "cut")
    again = read_manifest(flat, splits_file=tmp_path / "cut" / "splits.csv")
    assert again.splits == data.manifest.splits


def test_a_trial_run_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    lab.trainer(callbacks=[SaveData()], fast_dev_run=True).fit(lab.model(), lab.data())
    assert not (tmp_path / "run" / "audit.json").exists()

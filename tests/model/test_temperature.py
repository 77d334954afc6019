"""The temperature is fitted to the validation split, belongs to a checkpoint, and makes predictions honest."""

import shutil
from pathlib import Path

import pytest
import torch

from emotion_lightning.callbacks import EMA, Calibration, EarlyStopping, RunCheckpoint, Unfreeze
from emotion_lightning.evaluation.calibration import fit_temperature
from emotion_lightning.evaluation.outputs import OutputCollector
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import Lab


def test_a_checkpoint_has_the_temperature_of_its_own_weights(lab: Lab) -> None:
    model, data = lab.model(mix_prob=0.0, dropout_rate=0.0), lab.data()
    recipe = [Unfreeze({0: "all_layers"}), EMA(0.5), EarlyStopping(), RunCheckpoint(every_n_epochs=3), Calibration()]
    trainer = lab.trainer(max_epochs=9, callbacks=recipe)
    trainer.fit(model, data)
    found = set()
    for file in (lab.folder / "run/checkpoints").glob("*.ckpt"):
        restored = EmotionClassifier.load_from_checkpoint(file)
        lab.trainer(callbacks=[]).validate(restored, data, verbose=False)
        outputs = restored.val_outputs.outputs()
        assert restored.temperature == pytest.approx(fit_temperature(outputs.logits, outputs.labels), rel=1e-4)
        found.add(restored.temperature)
    assert len(found) > 1  # every epoch has its own
    best = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
    assert model.temperature == best["calibration"]["temperature"]  # restored with the best weights


def test_neither_a_validation_nor_a_test_changes_it(lab: Lab) -> None:
    model, data = lab.model(), lab.data()
    model.temperature = 3.0
    lab.trainer(callbacks=[]).validate(model, data, verbose=False)
    lab.trainer(callbacks=[]).test(model, data, verbose=False)
    assert model.temperature == 3.0


def test_predictions_are_divided_by_it(lab: Lab, tmp_path: Path) -> None:
    model = lab.model().eval()
    images, indices = torch.randn(4, 3, 32, 32), torch.arange(4)
    with torch.no_grad():
        model.temperature = 2.0
        probabilities, _ = model.predict_step((images, None, indices), 0)
        assert torch.allclose(probabilities, (model(images) / 2).softmax(1))


def test_outputs_are_in_the_order_of_the_data_without_padding(lab: Lab) -> None:
    model, data = lab.model(), lab.data()
    lab.trainer(callbacks=[]).test(model, data, verbose=False)
    outputs = model.test_outputs.outputs()
    assert outputs.indices.tolist() == data.indices("test")
    assert [data.manifest.labels[index] for index in outputs.indices] == outputs.labels.tolist()
    model.test_outputs.update(torch.zeros(2, 3), torch.tensor([-1, 1]), torch.tensor([-1, 0]))
    assert model.test_outputs.outputs().indices.tolist() == [0, *data.indices("test")]


def test_a_single_image_can_be_measured() -> None:
    gathered = OutputCollector()
    gathered.update(torch.zeros(1, 3), torch.tensor([2]), torch.tensor([0]))
    assert gathered.outputs().losses.shape == (1,)


def test_it_is_fitted_to_images_without_a_copy_in_train(lab: Lab, faces: Path, tmp_path: Path) -> None:
    root = shutil.copytree(faces, tmp_path / "leaky")
    for image in sorted((faces / "val/happy").glob("*.png"))[:4]:
        shutil.copy(image, root / "train/happy" / f"copy_{image.name}")
    model, data = lab.model(mix_prob=0.0, dropout_rate=0.0), lab.data(root=str(root))
    lab.trainer(max_epochs=6, callbacks=[Unfreeze({0: "all_layers"}), Calibration()]).fit(model, data)
    outputs, leaked = model.val_outputs.outputs(), data.exposure.overlap_mask("val")
    assert leaked is not None
    clean = ~leaked[outputs.indices]
    assert clean.sum() == 14
    assert model.temperature == fit_temperature(outputs.logits[clean], outputs.labels[clean])
    assert model.temperature != fit_temperature(outputs.logits, outputs.labels)

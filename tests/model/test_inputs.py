import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from emotion_lightning.batch import normalize
from emotion_lightning.callbacks import default_callbacks
from emotion_lightning.errors import DataError
from emotion_lightning.model.inputs import as_batch, as_images
from tests.helpers import Lab

PIXELS = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3


def loader(*tensors: Tensor) -> DataLoader:
    return DataLoader(TensorDataset(*tensors), batch_size=8)


def test_pixels_are_normalized_and_floats_are_taken_as_they_are() -> None:
    floats = normalize(PIXELS / 255)
    for dtype in (torch.uint8, torch.int64):
        torch.testing.assert_close(as_images(PIXELS.to(dtype)), floats)
    assert as_images(floats) is floats


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (2, 32, 32, 3), (2, 3)])
def test_images_of_another_shape_are_refused(lab: Lab, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"takes \(B, 3, H, W\)"):
        lab.model().eval()(torch.zeros(shape))


def test_batches_of_the_datamodule_pass_as_they_are() -> None:
    batch = (normalize(PIXELS / 255), LABELS, torch.arange(20))
    assert all(found is given for found, given in zip(as_batch(batch, 5), batch, strict=True))


def test_images_without_positions_are_counted() -> None:
    images, labels, positions = as_batch([PIXELS, LABELS.to(torch.int32)], 5)
    assert images.dtype == torch.float32
    assert labels.tolist() == LABELS.tolist()
    assert labels.dtype == torch.int64
    assert positions.tolist() == list(range(5, 25))


@pytest.mark.parametrize(
    "batch",
    [PIXELS, (PIXELS,), {"image": PIXELS}, (PIXELS, LABELS, LABELS, LABELS)]
    + [(PIXELS, LABELS.float()), (PIXELS, LABELS[:4]), (PIXELS, torch.eye(20)[:, :3])]
    + [(PIXELS, LABELS.tolist()), (PIXELS, LABELS, ["a.png"] * 20)],
)
def test_batches_that_cannot_be_learned_from_are_refused(batch: object) -> None:
    with pytest.raises(DataError, match=r"the model takes (\(images, labels\)|whole numbers)"):
        as_batch(batch, 0)


def test_what_is_no_tensor_is_named_and_beside_images_to_predict_ignored() -> None:
    with pytest.raises(DataError, match="a list of Tensor, Tensor, tuple: the model takes"):
        as_batch([PIXELS, LABELS, ("a.png",) * 20], 0)
    assert as_batch((PIXELS, ["a.png"] * 20), 3, labeled=False)[2].tolist() == list(range(3, 23))


@pytest.mark.parametrize(("labels", "said"), [(LABELS + 1, "from 1 to 3"), (LABELS - 1, "from -1 to 1")])
def test_labels_that_are_no_positions_of_classes_are_refused(lab: Lab, labels: Tensor, said: str) -> None:
    trainer = lab.trainer(max_epochs=1, callbacks=[])
    for run in (trainer.fit, trainer.validate, trainer.test):
        with pytest.raises(DataError, match=f"labels {said}: with 3 classes the model takes those from 0 to 2"):
            run(lab.model(), loader(PIXELS, labels))
    images, positions = normalize(PIXELS / 255), torch.arange(20)
    if labels.max() == 3:  # as of a loader on a GPU, whose labels are looked at when the epoch ends
        with pytest.raises(DataError, match="labels from 1 to 3: with 3 classes"):
            trainer.validate(lab.model(), loader(images, labels, positions))


@pytest.mark.parametrize("recipe", [False, True])
@pytest.mark.parametrize("images", [PIXELS, normalize(PIXELS / 255)], ids=["pixels", "floats"])
def test_a_loader_of_pairs_is_trained_on_measured_and_predicted(lab: Lab, recipe: bool, images: Tensor) -> None:
    callbacks = default_callbacks({0: "layer4"}, every_n_epochs=1) if recipe else []
    model, trainer = lab.model(), lab.trainer(max_epochs=1, callbacks=callbacks)
    trainer.fit(model, loader(images, LABELS), loader(images, LABELS))
    for measure, split in ((trainer.validate, "val"), (trainer.test, "test")):
        [logged] = measure(model, loader(images, LABELS), verbose=False)
        right = (model.eval()(images).argmax(dim=1) == LABELS).float().mean()
        assert logged[f"{split}/accuracy"] == pytest.approx(right.item())
    expected = (model(images) / model.temperature).softmax(dim=1)
    for given in (loader(images, LABELS), loader(images), DataLoader(images, batch_size=8)):
        probabilities, positions = (torch.cat(found) for found in zip(*trainer.predict(model, given), strict=True))
        assert positions.tolist() == list(range(20))
        torch.testing.assert_close(probabilities, expected)


def test_a_restored_model_classifies_one_image_and_can_be_trained_further(lab: Lab) -> None:
    model, trainer = lab.model(), lab.trainer(max_epochs=1)
    trainer.fit(model, lab.data())
    restored = type(model).load_from_checkpoint(trainer.checkpoint_callback.best_model_path)
    assert not any(module.training for module in restored.modules())
    assert restored(PIXELS[:1]).shape == (1, 3)
    before = restored.classifier[0].running_mean.clone()
    lab.trainer(max_epochs=1, callbacks=[], enable_checkpointing=False).fit(restored, loader(PIXELS, LABELS))
    assert all(module.training for module in restored.modules())
    assert not torch.equal(restored.classifier[0].running_mean, before)


def test_stages_that_are_set_on_a_restored_model_stay_set(lab: Lab) -> None:
    model = lab.model().eval()
    model.set_trainable(["classifier"])
    trainer = lab.trainer(max_epochs=1, callbacks=[])
    trainer.fit(model, loader(PIXELS, LABELS))
    assert not model.backbone.body.layer4.training
    assert model.classifier.training

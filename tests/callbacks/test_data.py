from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from emotion_lightning.callbacks import Calibration, data_of
from tests.helpers import Lab


def test_plain_loaders_are_no_datamodule_and_train_all_the_same(lab: Lab) -> None:
    found: list[Any] = []

    class Look(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            found.append(data_of(trainer))

    data, model = lab.data(), lab.model()
    images = [batch for batch, _ in zip(data.val_dataloader(), range(2), strict=False)]
    batches = [(pixels.float() / 255, labels, indices) for pixels, labels, indices in images]
    loader: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    lab.trainer(max_epochs=1, callbacks=[Look(), Calibration()]).fit(model, loader, loader)
    assert found == [None]
    assert model.temperature_tta == "none"  # fitted to all images, as nothing is known of them

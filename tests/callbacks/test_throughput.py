from itertools import count

import pytest

from emotion_lightning.callbacks import History, Throughput, Unfreeze, throughput
from emotion_lightning.runs.history import read_history
from tests.helpers import SCHEDULE, Lab


@pytest.mark.parametrize(("every", "validations"), [(1.0, 1), (2, 3)])
def test_the_time_of_an_epoch_is_that_of_all_its_validations(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, every: float, validations: int
) -> None:
    ticks = count()
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: float(next(ticks)))  # a second whenever it is asked
    callbacks = [Unfreeze(SCHEDULE), Throughput(), History()]
    trainer = lab.trainer(callbacks=callbacks, max_epochs=2, val_check_interval=every, limit_train_batches=6)
    trainer.fit(lab.model(), lab.data())
    batches = sum(trainer.num_val_batches)
    assert set(read_history(lab.folder / "run")["val/epoch_seconds"].values()) == {batches * validations}
    [measured] = trainer.validate(lab.model(), lab.data(), verbose=False)
    assert measured["val/epoch_seconds"] == batches

import gc

from emotion_lightning.runtime.collector import paused_collector


def test_the_collector_rests_only_meanwhile() -> None:
    with paused_collector():
        assert not gc.isenabled()
    assert gc.isenabled()

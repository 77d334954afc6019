from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import TCPStore

from emotion_lightning.runtime import launched as module
from emotion_lightning.runtime.launched import Ending, Launched, launched


@pytest.fixture
def store() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def process(monkeypatch: pytest.MonkeyPatch, store: TCPStore, rank: int, machine: int = 0) -> Launched:
    for name, value in {"RANK": rank, "WORLD_SIZE": 2, "GROUP_RANK": machine, "MASTER_PORT": store.port}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    found = launched()
    assert found is not None
    return found


def test_without_torchrun_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert launched() is None


def test_processes_begin_when_all_are_ready(monkeypatch: pytest.MonkeyPatch, store: TCPStore) -> None:
    both = [process(monkeypatch, store, rank) for rank in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(Launched.wait_until_ready, both)) == [None, None]


@pytest.mark.parametrize(("machine", "ready"), [(0, True), (1, True), (1, False)])
def test_a_process_that_ends_is_heard_by_the_others_and_says_so_itself(
    monkeypatch: pytest.MonkeyPatch, store: TCPStore, machine: int, ready: bool
) -> None:
    first, second = process(monkeypatch, store, 0), process(monkeypatch, store, 1, machine)
    with ThreadPoolExecutor(2) as pool:
        ended = pool.submit(second.end, 2, "no such option")
        heard = first.wait_until_ready() if ready else None
        while heard is None:  # as a process that trains sees it when its connection is gone
            heard = first.first_ending()
        assert heard == Ending(1, machine, 2, "no such option")
        assert ended.result(timeout=5)


def test_of_processes_that_end_alike_on_a_machine_one_says_so(monkeypatch: pytest.MonkeyPatch, store: TCPStore) -> None:
    both = [process(monkeypatch, store, rank) for rank in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda each: each.end(2, "no such option"), both)) == [True, False]


def test_a_process_that_nobody_hears_ends_all_the_same(monkeypatch: pytest.MonkeyPatch, store: TCPStore) -> None:
    monkeypatch.setattr(module, "HEARD", 0.1)
    assert process(monkeypatch, store, 1).end(1, "gone")

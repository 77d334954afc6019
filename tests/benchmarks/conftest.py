import pytest

from benchmarks.drawn_faces import write_faces
from benchmarks.setting import Setting


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """Two steps of a tiny network on the CPU."""
    root = tmp_path_factory.mktemp("drawn")
    write_faces(root, train=36, val=12)
    return Setting(
        peers=("ours", "notebook"),
        root=root,
        backbone="test_resnet",
        image_size=32,
        batch_size=8,
        rounds=1,
        warm_up=1,
        steps=1,
        workers=0,
        device="cpu",
        least_seconds=0.0,
    )

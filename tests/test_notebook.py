"""The notebook of the docs, as a new user runs it."""

import os
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_run.ipynb"
SMALL = {
    "data": {"image_size": 32, "batch_size": 8, "num_workers": 0},
    "model": {"backbone": "test_resnet", "pretrained": False},
    "trainer": {"max_epochs": 2},
    "unfreeze": {"schedule": {0: "classifier", 1: "all"}},
}


@pytest.mark.slow
def test_the_notebook_trains_tests_and_shows(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    book = nbformat.read(NOTEBOOK, as_version=4)
    settings = next(cell for cell in book.cells if cell.source.startswith("import"))
    settings.source = re.sub(r"options = .*", f"options = {SMALL}", settings.source).replace("faces/", str(faces))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOK.parents[1]), os.environ.get("PYTHONPATH", "")]))
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(book, tmp_path / "executed.ipynb")
    picture, training, tested, report, answer = [
        cell.outputs for cell in book.cells if cell.cell_type == "code" and cell is not settings
    ]
    everything = [*picture, *training, *tested, *report, *answer]
    red = [output.text for output in everything if output.get("name") == "stderr"]
    assert [text for text in red if "IProgress not found" not in text] == []  # which ipywidgets would bring
    assert "image/png" in picture[-1].data
    said = "".join(output.text for output in training if output.output_type == "stream")
    assert "macro F1" in said
    assert "Best epoch" in said
    assert "test accuracy" in "".join(output.text for output in tested)
    assert "srcdoc" in report[-1].data["text/html"]
    assert "probability" in answer[-1].data["text/plain"]
    assert (tmp_path / "lightning_logs/version_0/checkpoints/best.ckpt").is_file()

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emotion_lightning.runs import temporary
from emotion_lightning.runs.temporary import is_left, owner, sweep, sweep_below, temporary_beside

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

KILLED = """
import os, signal, sys
from pathlib import Path
from emotion_lightning.runs import files

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

folder, where = Path(sys.argv[1]), sys.argv[2]
if where == "probe":
    Path.unlink = kill
    files.ensure_writable(folder / "new")
elif where == "file":
    with files.atomic_write(folder / "x.json") as path:
        path.write_text("half")
        kill()
else:
    with files.new_folder(folder / "model") as path:
        (path / "a.txt").write_text("half")
        kill()
"""
NEXT = """
import sys
from pathlib import Path
from emotion_lightning.runs.files import atomic_write
with atomic_write(Path(sys.argv[1]) / "other.json") as path:
    path.write_text("all")
"""
WAITING = """
import sys
from pathlib import Path
from emotion_lightning.runs.files import atomic_write
with atomic_write(Path(sys.argv[1]) / "x.json") as path:
    path.write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""


def python(code: str, *args: str) -> int:
    return subprocess.run([sys.executable, "-c", code, *args], check=False, capture_output=True).returncode


@pytest.mark.parametrize("where", ["probe", "file", "folder"])
def test_the_next_command_sweeps_what_a_killed_one_left(tmp_path: Path, where: str) -> None:
    assert python(KILLED, str(tmp_path), where) == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert python(NEXT, str(tmp_path)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


def test_what_a_process_at_work_writes_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sweep(tmp_path)
        sweep_below(tmp_path.parent)
        [left] = tmp_path.iterdir()
        assert left.name.startswith(".x.json.")
        process.communicate()
    assert (tmp_path / "x.json").read_text() == "half"


def test_another_process_of_the_same_number_is_known_by_its_start(tmp_path: Path) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system does not tell when a process started")
    mine = temporary_beside(tmp_path / "a")
    machine, pid, start = owner().split(".")
    earlier = tmp_path / f".a.{machine}.{pid}.{int(start) - 1}.tmp"
    for path in (mine, earlier):
        path.touch()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_what_may_be_another_machines_stays_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / ".a.0123abcd.999999.1.tmp"
    others = [tmp_path / name for name in (".hidden.tmp", "a.0123abcd.999999.1.tmp", ".a.b.tmp", ".a.999999.tmp")]
    for path in (foreign, *others):
        path.touch()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    monkeypatch.setattr(temporary, "FOREIGN", -1.0)
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_without_the_start_of_a_process_its_number_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_start", lambda pid: None)
    here, gone = temporary_beside(tmp_path / "a"), tmp_path / f".a.{owner().split('.')[0]}.{2**30}..tmp"
    for path in (here, gone):
        path.touch()
    assert (is_left(here), is_left(gone)) == (False, True)


def test_a_link_is_swept_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").touch()
    (tmp_path / f".x.{owner().split('.')[0]}.{2**30}.1.tmp").symlink_to(tmp_path / "data")
    sweep(tmp_path)
    assert (tmp_path / "data/a").exists()
    assert len(list(tmp_path.iterdir())) == 1

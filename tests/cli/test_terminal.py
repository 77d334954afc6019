import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from emotion_lightning.cli import main
from emotion_lightning.cli.terminal import Terminal, visible
from tests.helpers import fails

EVIL = "\x1b[2J\x1b]0;title\x07ev\u202eil\r\x9b"
SHOWN = r"\x1b[2J\x1b]0;title\x07ev\u202eil\r\x9b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [(EVIL, SHOWN), ("one\ttwo\r\nthree\n", "one\ttwo\r\nthree\n"), ("é 笑 👨‍👩‍👧 שמח", "é 笑 👨‍👩‍👧 שמח")],
)
def test_controls_are_shown_and_letters_stay(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_bars_are_drawn_and_what_is_printed_between_is_shown() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    for _ in tqdm(range(2), position=1, file=terminal, mininterval=0):
        print(EVIL, file=terminal)
    terminal.writelines([EVIL])
    drawn = stream.getvalue()
    assert "\r" in drawn
    assert "\x1b[A" in drawn
    assert drawn.count(SHOWN) == 3
    assert "\x1b[2J" not in drawn


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
@pytest.mark.usefixtures("in_an_empty_folder")
def test_names_of_files_do_nothing_in_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path(EVIL).mkdir()
    before = sys.stdout, sys.stderr
    error = fails(capsys, 1, "audit", "--data.root", EVIL)
    assert SHOWN in error
    assert "\x1b" not in error
    assert (sys.stdout, sys.stderr) == before


def test_a_traceback_that_is_still_to_come_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("emotion_lightning.cli.asks_for_overview", fail)
    with pytest.raises(RuntimeError):
        main(["fit"])
    assert isinstance(sys.stderr, Terminal)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
def test_standard_output_is_shown_on_a_terminal_and_raw_in_a_pipe() -> None:
    code = f"from emotion_lightning.cli import terminal\nwith terminal.controls_shown(): print({EVIL!r})"
    piped = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert piped.stdout.decode() == f"{EVIL}\n"
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=theirs)
    os.close(theirs)
    assert os.read(ours, 1_000).decode() == f"{SHOWN}\r\n"
    os.close(ours)

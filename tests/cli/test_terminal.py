import io
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from tqdm import tqdm

from emotion_lightning.cli import main
from emotion_lightning.cli.terminal import Terminal, visible
from tests.helpers import TINY, Tty, fails, on_a_terminal, screen

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
    terminal.flush()
    drawn = stream.getvalue()
    assert "\r" in drawn
    assert "\x1b[A" in drawn
    assert drawn.count(SHOWN) == 3
    assert "\x1b[2J" not in drawn


def test_what_is_said_while_a_bar_is_drawn_has_lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", Terminal(stream))
    with tqdm(total=4, desc="Epoch 1", file=sys.stderr, ncols=30) as bar:
        bar.update(2)
        print("a", "warning", file=sys.stderr)
        bar.refresh()
        print("no end yet", end="", file=sys.stderr)
        bar.refresh()
        print(", and now", file=sys.stderr)
        bar.refresh()
        *said, last = screen(stream.getvalue())
    assert said == ["a warning", "no end yet, and now"]
    assert last.startswith("Epoch 1:")


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_where_the_cursor_is_to_stay_there_is_no_terminal_for_bars(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    on_a_terminal(monkeypatch)
    assert Terminal(Tty()).isatty()
    monkeypatch.setenv(name, value)
    assert not Terminal(Tty()).isatty()
    for _ in tqdm(range(2), file=Terminal(stream := Tty()), disable=None):
        pass
    assert stream.getvalue() == ""


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


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
@pytest.mark.usefixtures("in_an_empty_folder")
def test_bars_are_drawn_on_standard_error_and_results_printed_on_standard_output(faces: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-m", "emotion_lightning", "fit", "--data.root", str(faces), *TINY]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with Path("run.txt").open("w", encoding="utf-8") as file:
        run = subprocess.Popen(command, stdout=file, stderr=theirs, env=environment)
    os.close(theirs)
    drawn = b"".join(_until_closed(ours)).decode()
    assert run.wait() == 0
    printed = Path("run.txt").read_text(encoding="utf-8")
    assert "Epoch 1/3 " in drawn
    assert "training classifier" not in drawn
    assert "\r" not in printed
    for said in ("  3/3  all ", "Best epoch", "macro avg", "Next:"):
        assert said in printed


def _until_closed(terminal: int) -> Iterator[bytes]:
    """What a process writes to ``terminal``, which gives an error in place of an end."""
    with suppress(OSError):
        while chunk := os.read(terminal, 65_536):
            yield chunk
    os.close(terminal)


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader has left."""
    theirs, ours = os.pipe()
    os.close(theirs)
    with open(ours, "w", encoding="utf-8") as stream:
        yield stream


def test_a_reader_who_has_enough_ends_a_command_without_a_word(unread: TextIO) -> None:
    command = [sys.executable, "-m", "emotion_lightning", "--help"]
    run = subprocess.run(command, check=False, stdout=unread, stderr=subprocess.PIPE)
    assert (run.returncode, run.stderr) == (141, b"")


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_reader_who_leaves_ends_no_training(faces: Path, unread: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    monkeypatch.setattr(sys, "stderr", unread)
    main(["fit", "--data.root", str(faces), *TINY])
    assert Path("lightning_logs/version_0/report/index.html").exists()

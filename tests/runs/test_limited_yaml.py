import os
from pathlib import Path

import pytest

from emotion_lightning.errors import DataError
from emotion_lightning.runs import limited_yaml
from emotion_lightning.runs.config import run_options
from emotion_lightning.runs.limited_yaml import load_mapping, load_yaml, read_yaml

BOMB = "a: &a [x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "more than the 2,000 values"),
        ("a: &a [*a]", "more than the 2,000 values"),
        ("<<: *b", "undefined alias"),
        ("- 1\n" * 2_001, "more than the 2,000 values"),
        ("[" * 51 + "]" * 51, "more than the 50 levels"),
        ("[" * 100_000, "nesting|levels"),
        ("1:" * 5_001 + "1", "more than the 10,000 letters"),
        ("#" * 1_000_001, "more than the 1,000,000 bytes"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("!!bool x", "cannot be read as YAML"),
        ("!!timestamp x", "cannot be read as YAML"),
        ("2026-13-45", "month must be"),
    ],
)
def test_what_costs_too_much_or_is_none_is_refused_by_the_name_of_the_file(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DataError, match=rf"x\.yaml cannot be read as YAML: .*(?:{reason})|x\.yaml .*{reason}"):
        read_yaml(tmp_path / "x.yaml")


def test_what_people_write_is_read() -> None:
    text = "base: &base {lr: 0.1, names: [a, b]}\nmine: {<<: *base, lr: 0.2}\nagain: *base\n"
    base = {"lr": 0.1, "names": ["a", "b"]}
    assert load_yaml(text, "it") == {"base": base, "mine": base | {"lr": 0.2}, "again": base}
    assert load_mapping("", "it") == {}
    with pytest.raises(DataError, match="it maps no names to values"):
        load_mapping("[1]", "it")


def test_the_configuration_in_a_checkpoint_has_the_same_limits() -> None:
    with pytest.raises(DataError, match=r"configuration in the checkpoint cannot be read as YAML: .* 2,000 values"):
        run_options({"config": BOMB})


def test_no_more_of_a_file_is_read_than_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as stream:
        stream.truncate(10**12)  # it takes no room on disk
    with pytest.raises(DataError, match="more than the 1,000,000 bytes"):
        read_yaml(tmp_path / "huge.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_pipes_folders_and_addresses_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(DataError, match="is no regular file"):
        read_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(DataError, match="is no regular file"):
        read_yaml(tmp_path)
    with pytest.raises(DataError, match="addresses are not fetched"):
        read_yaml("http://localhost:1/x.yaml")


def test_without_the_library_in_c_limits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_yaml, "LOADER", limited_yaml.yaml.SafeLoader)
    with pytest.raises(DataError, match="more than the 2,000 values"):
        load_yaml(BOMB, "it")
    with pytest.raises(DataError, match="more than the 50 levels"):
        load_yaml("[" * 51 + "]" * 51, "it")

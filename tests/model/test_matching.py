from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from emotion_lightning.errors import DataError
from emotion_lightning.model.body import build_body
from emotion_lightning.model.matching import fill
from tests.helpers import Lab

FILE = Path("weights.pth")


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return timm.create_model("test_resnet", num_classes=8).state_dict()


def filled(content: object, name: str = "test_resnet", size: int = 32) -> dict[str, Tensor]:
    body, _ = build_body(name, size)
    fill(body, content, FILE)
    return body.state_dict()


def assert_taken(content: object, state: dict[str, Tensor]) -> None:
    assert all(torch.equal(value, state[name]) for name, value in filled(content).items())


@pytest.mark.parametrize("key", ["model", "net", "state_dict", "model_state_dict", "teacher"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.", "_orig_mod.", "module._orig_mod.net.0."])
def test_weights_are_found_under_any_key_and_prefix(state: dict[str, Tensor], key: str, prefix: str) -> None:
    renamed = {f"{prefix}{name}": value for name, value in state.items()}
    assert_taken({"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, key: renamed}, state)
    assert_taken({"outer": {key: renamed}}, state)


def test_what_is_left_out_is_said(state: dict[str, Tensor], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with_head = {f"backbone.{name}": value for name, value in state.items()} | {"head.weight": torch.ones(7, 96)}
    assert_taken(with_head, state)
    assert "weights.pth also holds fc.weight, fc.bias, head.weight, which" in caplog.text


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    "file",
    [
        lambda raw, average: {"state_dict": raw, "state_dict_ema": average},
        lambda raw, average: {"model": raw, "ema": {"module": average}},
        lambda raw, average: {"state_dict": raw, "model_ema": {"state_dict": average}},
        lambda raw, average: prefixed(raw, "model.") | prefixed(average, "model_ema.module."),
        lambda raw, average: prefixed(raw, "online_model.") | prefixed(average, "ema_model."),
    ],
)
def test_the_average_is_preferred(state: dict[str, Tensor], file: Callable[..., object]) -> None:
    raw = {name: torch.zeros_like(value) for name, value in state.items()}
    assert_taken(file(raw, state), state)


def test_counters_may_be_missing(state: dict[str, Tensor]) -> None:
    taken = filled({name: value for name, value in state.items() if "num_batches" not in name})
    assert torch.equal(taken["bn1.running_var"], state["bn1.running_var"])


def test_a_checkpoint_of_this_program_gives_the_backbone_its_weights(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    model, trainer = lab.model(class_names=["a", "b"]), lab.trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(lab.folder / "best.ckpt")
    other = lab.model(pretrained=str(lab.folder / "best.ckpt"), hidden_features=8)
    assert all(
        torch.equal(value, other.backbone.state_dict()[name]) for name, value in model.backbone.state_dict().items()
    )
    assert "best.ckpt also holds classifier.0.weight" in caplog.text


def words(names: list[str]) -> list[str]:
    """Names of the field's kind that are none of timm's."""
    return [f"features.{number}.{name.rpartition('.')[2]}" for number, name in enumerate(names)]


def numbers(names: list[str]) -> list[str]:
    return [f"theirs.{number}" for number in range(len(names))]


def test_foreign_names_are_taken_in_order_where_their_last_words_agree(
    state: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert_taken(dict(zip(words(list(state)), state.values(), strict=True)), state)
    assert "names its tensors otherwise" in caplog.text


def test_the_tensors_of_a_batch_norm_are_not_told_apart_by_order(state: dict[str, Tensor]) -> None:
    with pytest.raises(DataError, match=r"ResNet, of whose 75 tensors 0 fit.*such as theirs\.0, theirs\.1"):
        filled(dict(zip(numbers(list(state)), state.values(), strict=True)))


def test_distinct_shapes_are_told_apart_by_order() -> None:
    class Odd(nn.Sequential):
        """No two neighbors of its tensors have one shape."""

    body = Odd(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3))
    theirs = {f"t{number}": torch.randn_like(value) for number, value in enumerate(body.state_dict().values())}
    fill(body, theirs, FILE)
    assert all(torch.equal(a, b) for a, b in zip(theirs.values(), body.state_dict().values(), strict=True))


@pytest.mark.parametrize("mapping", [words, numbers])
def test_some_known_names_rule_out_the_order(
    state: dict[str, Tensor], mapping: Callable[[list[str]], list[str]]
) -> None:
    first, *others = state
    names = [first, *mapping(others)]
    with pytest.raises(DataError, match=r"of whose 75 tensors 1 fit: conv1\.1\.weight"):
        filled(dict(zip(names, state.values(), strict=True)))


def test_weights_of_another_network_are_refused_with_what_was_seen() -> None:
    vit = timm.create_model("test_vit").state_dict()
    with pytest.raises(DataError, match=r"ResNet, .*conv1\.0\.weight.*such as cls_token, .*`backbone`"):
        filled({"model": vit})


def test_a_shape_that_differs_is_said(state: dict[str, Tensor]) -> None:
    state["layer1.0.conv1.weight"] = torch.ones(3, 3)
    with pytest.raises(DataError, match=r"layer1\.0\.conv1\.weight \(32, 32, 3, 3\) has shape \(3, 3\)"):
        filled(state)


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, [1, 2], {"model": {"a": {"b": {"c": {"d": torch.ones(1)}}}}}])
def test_a_file_without_weights_is_refused(content: object) -> None:
    with pytest.raises(DataError, match="no tensors by name"):
        filled(content)


def test_tables_of_positions_are_resampled_for_another_size() -> None:
    big, _ = build_body("test_coatnet", 160)
    small = filled(big.state_dict(), "test_coatnet", 96)
    tables = [name for name, value in small.items() if value.shape != big.state_dict()[name].shape]
    assert tables
    assert torch.equal(small["stem.conv1.weight"], big.state_dict()["stem.conv1.weight"])

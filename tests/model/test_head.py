import pytest
from torch import nn

from emotion_lightning.model.head import EnhancedClassifier, build_head


def test_head_is_the_recipes() -> None:
    head = EnhancedClassifier(2048, 6, dropout_rate=0.5)
    kinds = [nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in head] == kinds
    assert (head[1].p, head[5].p) == (0.5, 0.25)
    assert (head[2].in_features, head[2].out_features, head[6].out_features) == (2048, 512, 6)
    assert not head[2].bias.any()
    assert head[2].weight.abs().max() > 3 * head[2].weight.std()  # a uniform distribution ends at the root of 3
    assert head[2].weight.std().item() == pytest.approx((2 / (2048 + 512)) ** 0.5, rel=0.02)


def test_a_linear_head_is_one_layer() -> None:
    head = build_head("linear", 2048, 6, hidden_features=512, dropout_rate=0.5)
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (2048, 6)
    assert not head.bias.any()
    assert isinstance(build_head("enhanced", 32, 6, 16, 0.5), EnhancedClassifier)

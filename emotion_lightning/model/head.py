"""Classifiers on pooled features: the recipe's, and a linear one."""

from typing import Literal

from torch import nn

Head = Literal["enhanced", "linear"]


def build_head(head: Head, in_features: int, num_classes: int, hidden_features: int, dropout_rate: float) -> nn.Module:
    """Build the classifier of this name; what does not apply to it is ignored."""
    if head == "enhanced":
        return EnhancedClassifier(in_features, num_classes, hidden_features, dropout_rate)
    linear = nn.Linear(in_features, num_classes)
    _initialize(linear)
    return linear


class EnhancedClassifier(nn.Sequential):
    """Batch norm, dropout and two linear layers on pooled features: ``(B, in_features)`` to logits ``(B, classes)``.

    Weights are Xavier-normal (Glorot and Bengio, 2010), biases zero.

    Args:
        in_features: Features that the backbone pools to; 2,048 for ResNet50.
        num_classes: Number of classes.
        hidden_features: Width of the hidden layer.
        dropout_rate: Dropout before the first linear layer, in [0, 1); before the second it is half of that.
    """

    def __init__(self, in_features: int, num_classes: int, hidden_features: int = 512, dropout_rate: float = 0.5):
        super().__init__(
            nn.BatchNorm1d(in_features),
            nn.Dropout(dropout_rate),
            nn.Linear(in_features, hidden_features),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(hidden_features),
            nn.Dropout(dropout_rate / 2),
            nn.Linear(hidden_features, num_classes),
        )
        for module in self:
            if isinstance(module, nn.Linear):
                _initialize(module)


def _initialize(linear: nn.Linear) -> None:
    nn.init.xavier_normal_(linear.weight)
    nn.init.zeros_(linear.bias)

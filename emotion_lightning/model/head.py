"""The recipe's classifier."""

from torch import nn


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
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

"""Several models as one: the mean of their probabilities."""

from collections.abc import Sequence

import torch

from emotion_lightning.evaluation.outputs import EvalOutputs


def average(members: Sequence[EvalOutputs]) -> EvalOutputs:
    """Average the probabilities of models on the same images; logits are the logarithms of the means.

    Args:
        members: Outputs of each model, of the same images in the same order.
    """
    mean = torch.stack([member.probabilities for member in members]).mean(dim=0)
    return members[0]._replace(logits=mean.log())

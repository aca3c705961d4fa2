"""From a trained model to the start of another run: what is taken over, and what begins anew."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch

from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.folder import own_tensors


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Args:
        config: The model's config.
        anew: The parts of the model that are of another kind than the trained one's.
    """

    config: PerceiverConfig
    anew: tuple[str, ...] = ()


def with_head(base: PerceiverConfig, usual: PerceiverConfig) -> Start:
    """Give a model what a task asks with: a language model a classifier's query, for example.

    Input side and encoder stay. The output side becomes that of the task's usual model when it is of another kind;
    queries and decoder do so when the queries are of another kind, because a decoder has learned to answer its own.

    Args:
        base: The model to start from.
        usual: The model that the task is trained with otherwise.
    """
    if type(base.queries) is not type(usual.queries):
        head = replace(base, queries=usual.queries, decoder=usual.decoder, outputs=usual.outputs)
        return Start(head, ("queries", "decoder", "outputs"))
    if type(base.outputs) is not type(usual.outputs):
        return Start(replace(base, outputs=usual.outputs), ("outputs",))
    return Start(base)


def transfer(trained: PerceiverIO, model: PerceiverIO, anew: Collection[str] = ()) -> list[str]:
    """Copy trained weights into `model`; outputs that do not fit, for more classes perhaps, start anew.

    Args:
        trained: Where they come from.
        model: Where they go.
        anew: Parts of the model that start anew as a whole.

    Returns:
        The names of the weights that started anew.

    Raises:
        ValueError: Weights of other parts do not fit; all are listed.
    """
    source, target = own_tensors(trained), own_tensors(model)
    fresh: list[str] = []
    wrong: list[str] = []
    with torch.no_grad():
        for name, tensor in target.items():
            part, fits = name.partition(".")[0], name in source and source[name].shape == tensor.shape
            if part in anew or (part == "outputs" and not fits):
                fresh.append(name)
            elif fits:
                tensor.copy_(source[name])
            else:
                wrong.append(name)
    if wrong:
        raise ValueError(f"the trained model does not fit the new one at {wrong}; only outputs may differ")
    return fresh

"""What the zoo knows of a model."""

from dataclasses import dataclass

from perceivers.model import PerceiverConfig
from perceivers.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One entry of the zoo.

    Args:
        name: What users type.
        task: The task it is made for.
        summary: One line.
        config: The model.
        licence: Licence of the released weights, or `None` when there are none.
        hub_id: Repository of the Hugging Face Hub with the released weights, or `None`.
        citation: Where the model is described.
    """

    name: str
    task: str
    summary: str
    config: PerceiverConfig
    licence: str | None = None
    hub_id: str | None = None
    citation: str = "Jaegle et al., Perceiver IO, arXiv:2107.14795"


ZOO: Registry[Spec] = Registry("model")


def models() -> list[Spec]:
    """Return all entries of the zoo, by name."""
    return [ZOO[name] for name in ZOO]

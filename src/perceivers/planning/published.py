"""What the paper says of the released models (arXiv:2107.14795), and why our counts differ where they do.

A difference is explained by a model that does have the paper's number: other settings, or other outputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perceivers.config import override
from perceivers.planning.costs import count
from perceivers.zoo import find_spec


@dataclass(frozen=True, kw_only=True)
class Published:
    """One figure of the paper.

    Args:
        what: What the paper counts.
        flops: Its floating-point operations.
        why: Why ours differ; empty where they do not.
        overrides: Config fields of the model that has the paper's number, where it is another.
        num_outputs: Outputs that give the paper's number, where it is not all.
        of_a_part: Whether the paper itself counts a part of the outputs; ours is then that of `num_outputs`.
    """

    what: str
    flops: float
    why: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    num_outputs: int | None = None
    of_a_part: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A figure of the paper beside ours.

    Args:
        published: The figure.
        flops: Ours, of the released model with all its outputs, or the part of them that the figure is about.
        matching_flops: Ours, of what the paper seems to have counted; `None` where it is the same or not known.
        matching_parameters: Parameters of that model.
    """

    published: Published
    flops: int
    matching_flops: int | None
    matching_parameters: int | None

    @property
    def deviation(self) -> float:
        """How far our count is from the paper's, as a share of the paper's."""
        return self.flops / self.published.flops - 1

    @property
    def matching_deviation(self) -> float | None:
        """The same for what the paper seems to have counted."""
        return None if self.matching_flops is None else self.matching_flops / self.published.flops - 1


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "language": (
        Published(
            what="masked language model",
            flops=113e9,
            why="the paper's number is that of asking for the masked bytes only, 15 % of the 2048: 307 outputs",
            num_outputs=307,
        ),
    ),
    "image-fourier": (Published(what="ImageNet, Fourier positions", flops=407e9),),
    "image-learned": (
        Published(
            what="ImageNet, learned positions",
            flops=407e9,
            why="the paper gives the number of the Fourier model, whose 50176 tokens are 261 wide; those of the "
            "released learned model are 512 wide, 256 for colours and 256 for positions, and cost more to "
            "project and to read. With tokens of 261 (5 for colours, 256 for positions) it has the paper's number, "
            "but no longer the paper's 62.3 M parameters",
            overrides={"inputs.num_channels": 5, "inputs.positioned.project_channels": None},
        ),
    ),
    "image-conv": (Published(what="ImageNet, convolution and pooling", flops=369e9),),
    "optical-flow": (
        Published(
            what="optical flow, 27.9 M parameters",
            flops=987e9,
            why="the paper's column is of a smaller model than the released one of 2048 latents and 24 layers: "
            "1024 latents and 16 layers have both its numbers",
            overrides={"encoder.num_latents": 1024, "encoder.num_layers_per_block": 16},
        ),
    ),
    "video-autoencoding": (
        Published(
            what="video, training",
            flops=310e9,
            why="a forward pass for a 128th of the outputs (6272 pixels, 15 runs of sound and the label: the pieces in "
            "which the released code reconstructs) has the paper's number",
            num_outputs=6288,
            of_a_part=True,
        ),
        Published(
            what="video, evaluation",
            flops=6.85e12,
            why="not known. The paper's two numbers leave 8.19 MFLOP an output; the released decoder, whose rows are "
            "1026 wide, takes 8.97 MFLOP",
        ),
    ),
}


def compare(name: str, flops: int) -> list[Comparison]:
    """Return the paper's figures of a released model beside ours; none for other models.

    Args:
        name: Name in the zoo.
        flops: Operations of the model as it was released, for one example and all outputs.
    """
    comparisons: list[Comparison] = []
    for published in PUBLISHED.get(name, ()):
        matching = None
        if published.overrides or published.num_outputs is not None:
            config = override(find_spec(name).config, published.overrides)
            matching = count(config, num_outputs=published.num_outputs)
        comparisons.append(
            Comparison(
                published=published,
                flops=flops if matching is None or not published.of_a_part else matching.flops,
                matching_flops=None if matching is None else matching.flops,
                matching_parameters=None if matching is None else matching.parameters,
            )
        )
    return comparisons

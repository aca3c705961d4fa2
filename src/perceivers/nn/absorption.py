"""Single-head cross-attention without ever making keys, values or queries of the larger side.

With one head, `q . (W_k x + b_k) = (W_k^T q) . x + const`: the key projection can be applied to the few instead of
the many, and so can the value and output projections, since they are linear in the weighted mean of what was
attended to. The layer norm before them disappears in the same way: with `x_hat = (x - mean) / deviation`,

    q . x_hat = (x . (q - mean(q))) / deviation
    sum_j w_j x_hat_j = centred(sum_j (w_j / deviation_j) x_j)

so that of each of the many rows only its deviation is needed. What remains are products of plain rows with a few
vectors and weighted sums of plain rows, which `nn.rows` takes from the blocks that a row is made of.

Everything is exact in real arithmetic. `read` is for many rows read by few queries, `Answers` for many queries that
ask few rows. The plain form, a call of `nn.attention.Attention`, is what both are tested against.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from perceivers.nn.linear import Multiplier
from perceivers.nn.pieces import Meeting, Questions, WeightedSums
from perceivers.nn.rows import Rows, Segment, Span

# Numbers of a piece of the attention matrix: it stays in the processor's cache, or keeps a GPU busy.
_PIECE = {"cpu": 2**20, "cuda": 2**26}
# A new largest score moves the reference of the exponentials only when it lies so far above; exp(20) times more than
# the largest weight so far still sums without loss.
_HEADROOM = 20.0


def read(queries: Float[Tensor, "B N C"], rows: Rows, eps: float) -> Float[Tensor, "B N C"]:
    """Return what queries read: means of the normalised rows, weighted by the softmax of their products with them.

    The softmax runs over all rows while they are seen piece by piece, with a reference that moves (Milakov and
    Gimelshein 2018, arXiv:1805.02867). Gradients flow into the queries only; going back, the pieces are made again.

    Args:
        queries: Scaled; norm and key projection are absorbed in them.
        rows: What is read.
        eps: Of the layer norm.
    """
    # What a row has in all its channels alike is no part of a normalised row.
    return centred(_Read.apply(centred(queries), rows, eps))


class _Read(torch.autograd.Function):
    """`read` without the centring, which autograd does by itself."""

    @staticmethod
    def forward(ctx: Any, queries: Float[Tensor, "B N C"], rows: Rows, eps: float) -> Float[Tensor, "B N C"]:
        state = _RunningSoftmax(queries)
        for segment, pieces in _pieces(rows, queries, eps):
            meeting = Meeting(segment, queries)
            state.enter(WeightedSums(segment, queries, queries.shape[1]))
            for span, scale, room in pieces:
                state.add(span, meeting.products(span, room), scale)
        mean = state.mean()
        ctx.rows, ctx.eps = rows, eps
        ctx.save_for_backward(queries, mean, state.logarithm())
        return mean

    @staticmethod
    def backward(ctx: Any, *gradients: Float[Tensor, "B N C"]) -> tuple[Tensor, None, None]:
        queries, mean, normaliser = ctx.saved_tensors
        gradient = centred(gradients[0])
        # How the whole of what was read goes along with the gradient; each row counts by how much it does more.
        whole = (gradient * mean).sum(dim=-1, keepdim=True)  # (B, N, 1)
        total = torch.zeros_like(queries)
        for segment, pieces in _pieces(ctx.rows, queries, ctx.eps):
            meeting, along = Meeting(segment, queries), Meeting(segment, gradient)
            sums = WeightedSums(segment, queries, queries.shape[1])
            for span, scale, room in pieces:
                weights = _scaled(meeting.products(span, room), scale, normaliser).exp_()
                more = _scaled(along.products(span, torch.empty_like(room)), scale, whole)
                sums.add(span, weights.mul_(more), scale)
            total += sums.result()
        return total, None, None


def _pieces(
    rows: Rows, queries: Float[Tensor, "B N C"], eps: float
) -> Iterator[tuple[Segment, Iterator[tuple[Span, Tensor, Tensor]]]]:
    """Yield each segment with its pieces: rows, their inverse deviations (B | 1, 1, m), and room for (B, N, m)."""
    batch_size, num_queries, _ = queries.shape
    most = max(1, _piece(queries.device) // (batch_size * num_queries))
    room = queries.new_empty(batch_size * num_queries * most)

    def cut(segment: Segment) -> Iterator[tuple[Span, Tensor, Tensor]]:
        inverse = segment.inverse_deviation(eps).to(queries.dtype)[:, None]
        for span in segment.spans(most):
            shape = (batch_size, num_queries, span.rows.stop - span.rows.start)
            yield span, inverse[..., span.rows], room[: prod(shape)].view(shape)

    for segment in rows.segments:
        yield segment, cut(segment)


def _scaled(products: Tensor, scale: Tensor, reference: Tensor) -> Tensor:
    """Overwrite products by what they are, scaled, above a reference."""
    return torch.addcmul(-reference, products, scale, out=products)


class _RunningSoftmax:
    """Weighted sums whose weights are exponentials over a reference that follows the largest score."""

    def __init__(self, like: Float[Tensor, "B N C"]) -> None:
        self.reference = like.new_zeros(*like.shape[:2], 1)
        self.sums: list[WeightedSums] = []
        self._begun = False

    def enter(self, sums: WeightedSums) -> None:
        self.sums.append(sums)

    def add(self, span: Span, products: Float[Tensor, "B N m"], scale: Float[Tensor, "#B 1 m"]) -> None:
        """Add the rows of `span`, whose scores are `products` times `scale`; `products` is overwritten."""
        scores = _scaled(products, scale, self.reference)
        largest = scores.amax(dim=-1, keepdim=True)
        above = largest > _HEADROOM if self._begun else torch.ones_like(largest, dtype=torch.bool)
        if above.any():
            rise = largest.where(above, 0.0)
            scores -= rise
            for sums in self.sums if self._begun else ():
                sums.scale((-rise).exp_())
            self.reference += rise
            self._begun = True
        self.sums[-1].add(span, scores.exp_(), scale)

    def mean(self) -> Float[Tensor, "B N C"]:
        return sum((sums.result() for sums in self.sums[1:]), self.sums[0].result()) / self._total()

    def logarithm(self) -> Float[Tensor, "B N 1"]:
        """Return the logarithm of the sum of the exponentials of all scores."""
        return self.reference + self._total().log()

    def _total(self) -> Float[Tensor, "B N 1"]:
        return sum((sums.total for sums in self.sums[1:]), self.sums[0].total)


@dataclass(frozen=True)
class Layer:
    """A linear layer as its numbers.

    Args:
        weight: (E, C).
        bias: (E,).
    """

    weight: Float[Tensor, "E C"]
    bias: Float[Tensor, "E"]

    def after(self, inner: "Layer") -> "Layer":
        """Return this layer after another as one."""
        return Layer(self.weight @ inner.weight, torch.addmv(self.bias, self.weight, inner.bias))


@dataclass(frozen=True)
class Folded:
    """A decoder's layers as `Answers` needs them.

    Args:
        norm_q: Scale and shift of the queries' norm.
        norm_mlp: Likewise of the MLP's.
        eps: Of both.
        output: The attention's output projection, which spans all that can be read.
        widen: First layer of the MLP.
        approximate: Form of its GELU.
        narrow: Second layer of the MLP.
    """

    norm_q: tuple[Float[Tensor, "F"], Float[Tensor, "F"]]
    norm_mlp: tuple[Float[Tensor, "F"], Float[Tensor, "F"]]
    eps: float
    output: Layer
    widen: Layer
    approximate: str
    narrow: Layer


class Answers:
    """Many queries that ask few rows, whose answers go through an MLP and a linear map.

    What a query reads is a mean of the few values, so it lies in the space that they span, which is at most as wide
    as the attended side. It is computed in an orthonormal basis of that space, centred: there its length is its
    deviation, and the first layer of the MLP is narrower. The last map is applied to the few values, too.

    Args:
        keys: Keys under the query projection, scaled, (N, F): their products with a normalised query, before scale
            and shift, and `offsets` are the scores.
        offsets: What is added to the scores of each attended row, (N,).
        values: What each attended row gives: its value under the output projection, (N, F).
        layers: The decoder's layers.
    """

    def __init__(
        self,
        keys: Float[Tensor, "N F"],
        offsets: Float[Tensor, "N"],
        values: Float[Tensor, "N F"],
        layers: Folded,
    ) -> None:
        scale, shift = layers.norm_q
        self.keys, self.offsets = centred(keys * scale), torch.addmv(offsets, keys, shift)
        self.values, self.layers = values, layers
        basis = _basis(layers.output)
        self.coordinates = _along(centred(values), basis)
        scale, shift = layers.norm_mlp
        bias = torch.addmv(layers.widen.bias, layers.widen.weight, shift)
        self.widen = Multiplier(_along(centred(layers.widen.weight * scale), basis), bias)
        self.widest = max(*self.values.shape, len(bias))

    def __call__(self, segment: Segment, last: Layer, chunk_size: int | None = None) -> Float[Tensor, "1 M E"]:
        """Answer the queries of a segment, piece by piece.

        Args:
            segment: The queries of one element of the batch.
            last: The linear map at the end.
            chunk_size: Most queries of a piece; `None` leaves it to the size of the processor's cache.
        """
        narrow = last.after(self.layers.narrow)
        values = Multiplier(torch.cat([self.coordinates, self.values @ last.weight.mT], dim=-1).mT.contiguous())
        inverse = segment.inverse_deviation(self.layers.eps)[0, :, None].to(self.keys.dtype)
        questions = Questions(segment, self.keys)
        most = max(1, _piece(self.keys.device) // self.widest)
        most = most if chunk_size is None else min(most, chunk_size)
        out = self.keys.new_empty(1, segment.num_rows, len(last.bias))
        for span in segment.spans(most):
            scores = questions.products(span)
            scores = torch.addcmul(self.offsets, scores, inverse[span.rows], out=scores)
            out[0, span.rows] = self._finish(values(torch.softmax(scores, dim=-1)), narrow)
        return out

    def _finish(self, read: Float[Tensor, "m _"], narrow: Layer) -> Float[Tensor, "m E"]:
        rank = self.coordinates.shape[-1]
        coordinates, direct = read[..., :rank], read[..., rank:]
        length = torch.linalg.vector_norm(coordinates, dim=-1, keepdim=True)
        inverse = (length.square() / self.values.shape[-1] + self.layers.eps).rsqrt()
        hidden = self.widen.activated(coordinates * inverse, self.layers.approximate)
        return functional.linear(hidden, narrow.weight, narrow.bias).add_(direct)


def _basis(output: Layer) -> Float[Tensor, "F r"] | None:
    """Return an orthonormal basis of the centred columns, or `None` where they are as many as rows anyway."""
    num_channels, width = output.weight.shape
    if width + 1 >= num_channels:
        return None
    columns = torch.cat([output.weight, output.bias[:, None]], dim=1).double()
    return torch.linalg.qr(columns - columns.mean(dim=0)).Q.to(output.weight.dtype)


def _along(vectors: Float[Tensor, "... F"], basis: Float[Tensor, "F r"] | None) -> Float[Tensor, "... r"]:
    return vectors if basis is None else vectors @ basis


def _piece(device: torch.device) -> int:
    return _PIECE.get(device.type, _PIECE["cpu"])


def centred(vectors: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
    """Return vectors without their mean."""
    return vectors - vectors.mean(dim=-1, keepdim=True)

"""Raw input to answer in one call, in the form of the Hugging Face pipelines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from perceivers.config import override
from perceivers.memory import parse_memory
from perceivers.model import PerceiverIO
from perceivers.nn.linear import pack_linears
from perceivers.precision import PRECISIONS, autocast
from perceivers.pretrained.folder import save_folder
from perceivers.pretrained.hf_configs import Numerics
from perceivers.pretrained.source import Loaded, open_source
from perceivers.quantization import quantize_int8
from perceivers.rollout import attention_rollout, input_attention
from perceivers.tasks.base import TASKS, Result, Task, task_from_json, to_device
from perceivers.zoo import MINI, mini_of

# What is followed: from the outputs through all layers, or the latents' first look at the input alone.
GAZES = ("rollout", "read")
# Number formats that a pipeline computes in, and weights rounded to eight bits.
CHOICES = (*PRECISIONS, "int8")


class Pipeline:
    """A task with a trained model.

    Args:
        task: The task.
        model: The model; put in evaluation mode, its linear layers packed where that is faster (see `nn.linear`).
        origin: Where the weights came from, in words.
        memory: About how much asking for outputs may take on top of model, input and answer, e.g. "500MB". Tasks
            with very many outputs (those with a `chunk_size`) then ask for fewer at a time.
        precision: Number format: "float32"; "bf16" or "fp16" for the latents' layers (see `perceivers.precision`); or
            "int8", which rounds the weights of the model in place (see `perceivers.quantization`).

    Raises:
        ValueError: `memory` has another form, or does not suffice for one output; or there is no such precision here.
    """

    def __init__(
        self,
        task: Task[Any],
        model: PerceiverIO,
        origin: str = "in memory",
        *,
        memory: str | int | None = None,
        precision: str = "float32",
    ) -> None:
        if precision not in CHOICES:
            raise ValueError(f"precision '{precision}' not found; choices = {list(CHOICES)}")
        if memory is not None:
            task = _within(task, model, parse_memory(memory))
        if precision == "int8":
            quantize_int8(model.eval())
        # The number format of what runs; rounded weights run in float32.
        self.precision = "float32" if precision == "int8" else precision
        self.task = task
        self.model = model.eval()
        pack_linears(self.model)
        with autocast(self.model, self.precision):
            pass  # Refuses a precision that the device does not have before anything is read.
        self.origin = origin

    def __call__(self, *inputs: Any, top_k: int = 5) -> Any:
        """Answer one input, or a list of them.

        Args:
            inputs: A path, text, image or array; or a list, tuple or column of a data set of such. Optical flow takes
                two frames.
            top_k: How many candidates to return.

        Returns:
            A list of `{"label" or "token_str", "score", ...}`, the best first, or an object of the task's own, such as
            `FlowResult`; for several inputs a list of such.

        Raises:
            ValueError: An input cannot be read, or `top_k` is not positive.
        """
        values, several = self.task.gather(inputs)
        results = self.predict(values, top_k=top_k)
        return results if several else results[0]

    def predict(self, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Answer a list of inputs."""
        if top_k < 1:
            raise ValueError(f"top_k ({top_k}) must be at least 1")
        with autocast(self.model, self.precision):
            return self.task.predict(self.model, inputs, top_k=top_k)

    def stream(self, inputs: Iterable[Any], *, top_k: int = 5) -> Iterator[Result]:
        """Answer inputs one after the other as they come, so that neither they nor the answers need be held."""
        for value in inputs:
            yield from self.predict([value], top_k=top_k)

    def picture(self, value: Any, *, top_k: int = 5) -> Image.Image:
        """Draw one input with its answer."""
        (result,) = self.predict([value], top_k=top_k)
        return self.task.picture(value, result)

    def encode(self, *inputs: Any) -> Any:
        """Return the latents of one input, or of a list of them, as features.

        Returns:
            `float32` (P, N, D): N latents of width D for each of the P pieces that the input is read in (windows of
            a text or clip, tiles of frames; 1 for an image). For several inputs a list of such arrays.
        """
        values, several = self.task.gather(inputs)
        features = list(self.encode_stream(values))
        return features if several else features[0]

    def encode_stream(
        self, inputs: Iterable[Any], *, batch_size: int | None = None
    ) -> Iterator[Float32[np.ndarray, "P N D"]]:
        """Yield the latents of inputs as they come; see `encode`.

        Args:
            inputs: The inputs.
            batch_size: Pieces that are read at once; `None` leaves it to the task.
        """
        size = batch_size or self.task.batch_size
        # Inputs whose pieces are not all read yet: their latents, and how many are still to come.
        waiting: list[tuple[list[np.ndarray], int]] = []
        pieces: list[Mapping[str, Any]] = []
        for value in inputs:
            own = list(self.task.pieces(value))
            waiting.append(([], len(own)))
            for piece in own:
                pieces.append(piece)
                if len(pieces) == size:
                    _hand_out(self._read(pieces), waiting)
                    pieces = []
            while waiting and len(waiting[0][0]) == waiting[0][1]:
                yield np.stack(waiting.pop(0)[0])
        if pieces:
            _hand_out(self._read(pieces), waiting)
        for latents, _ in waiting:
            yield np.stack(latents)

    def attention(self, value: Any, *, gaze: str = "rollout", where: Any = None) -> list[Image.Image]:
        """Draw on an input where its answers come from: one picture for each piece that it is read in.

        Args:
            value: The input.
            gaze: `rollout` follows attention from the outputs back through all layers, `read` shows what the latents
                look at first, on average.
            where: For `rollout`, the outputs that are followed, as in `PerceiverIO.decode`; the first of them is drawn.
                `None` takes the mean over all.

        Raises:
            ValueError: The input cannot be read, or the task has no such picture.
        """
        if gaze not in GAZES:
            raise ValueError(f"gaze ({gaze!r}) must be one of {list(GAZES)}")
        pictures = []
        for piece in self.task.pieces(value):
            batch = to_device(self.task.collate([piece]), self.model)
            read = gaze == "read"
            found = input_attention(self.model, batch) if read else attention_rollout(self.model, batch, where)
            weights = found.on_grid()
            named = weights if isinstance(weights, Mapping) else {self.task.input_role: weights}
            arrays = {name: part[0, 0].float().cpu().numpy() for name, part in named.items()}
            pictures.append(self.task.draw_weights(piece, arrays))
        return pictures

    def save(self, folder: str | Path) -> None:
        """Write model and task to `folder`."""
        save_folder(self.model, folder, self.task.to_json())

    @torch.inference_mode()
    def _read(self, pieces: Sequence[Mapping[str, Any]]) -> Float32[np.ndarray, "B N D"]:
        batch = to_device(self.task.collate(pieces), self.model)
        with autocast(self.model, self.precision):
            return self.model.encode(batch).values.float().cpu().numpy()


def _hand_out(latents: np.ndarray, waiting: list[tuple[list[np.ndarray], int]]) -> None:
    """Give latents, in their order, to the inputs that wait for them."""
    rest = iter(latents)
    for received, wanted in waiting:
        received.extend(islice(rest, wanted - len(received)))


def pipeline(
    task: str | None = None,
    model: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
    memory: str | int | None = None,
    precision: str = "float32",
    numerics: Numerics | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Pipeline:
    """Return the pipeline of a trained model.

    Args:
        task: Name of the task, e.g. "image-classification"; `None` takes the one the model was trained for.
        model: What `perceivers.load` takes: a folder, a checkpoint file, a name of the zoo, a repository of the Hub;
            or "mini", the small model of the task that ships with the package. `None` takes the released model of the
            task, from the Hub or its cache; no other weights take its place.
        settings: Settings of the task to change, by dotted path, e.g. `{"even_tiles": True}` for optical flow.
        device: Where to run it, e.g. "cpu" or "cuda".
        memory: As in `Pipeline`.
        precision: Likewise.
        numerics: As in `perceivers.load`.
        revision: Likewise.
        token: Likewise.

    Raises:
        ValueError: There is no such task, model or setting, or the model was trained for another task.
    """
    if task is not None:
        TASKS[task]
    if model is None:
        model = None if task is None else TASKS[task].released_model
    if model is None:
        raise ValueError("name a model: a folder of one that was trained or saved here, a repository, a checkpoint")
    if model == MINI and task is not None:
        model = mini_of(task)
    loaded = open_source(model, numerics=numerics, revision=revision, token=token)
    fitted, trained, origin = _task_of(loaded, task, str(model)), loaded.model, loaded.origin
    if settings:
        changed = override(fitted.settings, settings, f"{fitted.name} settings")
        trained, done = fitted.adapt(trained, changed)
        fitted, origin = type(fitted)(changed, trained.config), f"{origin}; {done}" if done else origin
    return Pipeline(fitted, trained.to(torch.device(device)), origin, memory=memory, precision=precision)


def _within(task: Task[Any], model: PerceiverIO, memory: int) -> Task[Any]:
    """Return the task with a chunk size whose chunks fit into `memory`."""
    most = model.chunk_size_within(memory)
    chunk_size = getattr(task.settings, "chunk_size", None)
    if chunk_size is None or chunk_size <= most:
        return task
    return type(task)(replace(task.settings, chunk_size=most), task.config)


def _task_of(loaded: Loaded, task: str | None, model: str) -> Task[Any]:
    if loaded.task is None:
        raise ValueError(f"'{model}' was saved without a task; save it with Pipeline.save or train it")
    fitted = task_from_json(loaded.task, loaded.model.config)
    if task is not None and fitted.name != task:
        raise ValueError(f"'{model}' was trained for '{fitted.name}', not '{task}'")
    return fitted

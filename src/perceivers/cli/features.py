"""The work of `perceivers predict features`: the latents of any model, written as arrays or as a table."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from perceivers.cli import show
from perceivers.cli.answers import Names, PredictRequest, Problems, make_folder, named_inputs
from perceivers.cli.models import open_model
from perceivers.processing.files import whole_file
from perceivers.tasks.pipeline import Pipeline

# Takes name and features of one input.
Add = Callable[[str, np.ndarray], None]


def write_features(request: PredictRequest) -> int:
    """Encode all inputs that can be read.

    Returns:
        How many could not.

    Raises:
        ValueError: The model cannot be loaded, or inputs of different sizes are to go into one array.
    """
    refused = [name for name in ("picture", "attention") if getattr(request, name) is not None]
    if refused:
        raise ValueError(f"features have no {' and no '.join(f'--{name}' for name in refused)}")
    pipe = open_model(request.model)
    show.err().print(f"model   {pipe.origin}", markup=False)
    problems = Problems()
    with _sink(request.output) as add:
        for name, features in _encoded(pipe, request, problems):
            add(name, features)
            if request.as_json:
                # What is written to a file is not printed as well.
                values = {"features": features.tolist()} if request.output is None else {}
                show.json_line({"input": name, "shape": list(features.shape), **values})
            else:
                size = " x ".join(map(str, features.shape))
                show.answer(name, [f"{size}, mean {features.mean():.4f}, deviation {features.std():.4f}"])
    if request.output is not None and not request.as_json:
        show.out().print(f"wrote   {request.output}", markup=False)
    return len(problems.names)


def _encoded(pipe: Pipeline, request: PredictRequest, problems: Problems) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and features of each input that can be read."""
    for name, value in named_inputs(request.inputs, request.beside, pipe.task.input_role, problems):
        try:
            (features,) = pipe.encode_stream([value], batch_size=request.batch_size)
        except (ValueError, OSError) as error:
            problems.add(name, error)
            continue
        yield name, features.mean(axis=(0, 1)) if request.pool else features


@contextmanager
def _nowhere() -> Iterator[Add]:
    yield lambda name, features: None


@contextmanager
def _into_folder(folder: Path) -> Iterator[Add]:
    """Write a `.npy` file an input."""
    names = Names()
    make_folder(folder)

    def add(name: str, features: np.ndarray) -> None:
        with whole_file(folder / f"{names.file_name(name)}.npy") as partial:
            np.save(partial, features)

    yield add


@contextmanager
def _into_array(path: Path) -> Iterator[Add]:
    """Write one `.npy` file, the inputs along its first axis."""
    kept: list[np.ndarray] = []

    def add(name: str, features: np.ndarray) -> None:
        if kept and features.shape != kept[0].shape:
            raise ValueError(
                f"{name!r} has features of shape {features.shape}, others {kept[0].shape}, which fit into no array; "
                f"write to a .parquet file or a folder, or give --pool"
            )
        kept.append(features)

    yield add
    if kept:
        with whole_file(path) as partial:
            np.save(partial, np.stack(kept))


@contextmanager
def _into_table(path: Path) -> Iterator[Add]:
    """Write one `.parquet` file: a row for each piece of an input, its features flat beside their shape."""
    import pyarrow
    import pyarrow.parquet

    numbers, floats = pyarrow.list_(pyarrow.int64()), pyarrow.list_(pyarrow.float32())
    schema = pyarrow.schema(
        [("input", pyarrow.string()), ("piece", pyarrow.int64()), ("shape", numbers), ("features", floats)]
    )
    with whole_file(path) as partial, pyarrow.parquet.ParquetWriter(partial, schema) as writer:

        def add(name: str, features: np.ndarray) -> None:
            pieces = features if features.ndim == 3 else features[None]
            columns = {
                "input": [name] * len(pieces),
                "piece": list(range(len(pieces))),
                "shape": [list(piece.shape) for piece in pieces],
                "features": [piece.ravel() for piece in pieces],
            }
            writer.write_table(pyarrow.table(columns, schema=schema))

        yield add


def _sink(output: Path | None) -> AbstractContextManager[Add]:
    """Return where features go."""
    if output is None:
        return _nowhere()
    kinds = {".npy": _into_array, ".parquet": _into_table, "": _into_folder}
    if output.suffix not in kinds:
        raise ValueError(f"output '{output}' must end in .npy or .parquet, or be a folder")
    # Found out now rather than when all inputs are read.
    make_folder(output.parent)
    return kinds[output.suffix](output)

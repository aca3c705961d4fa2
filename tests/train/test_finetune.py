import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from perceivers.config import override
from perceivers.data import DataConfig
from perceivers.model import PerceiverIO
from perceivers.pretrained.folder import load_folder, own_tensors, save_folder
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS
from perceivers.train import Recipe, TrainConfig, prepare_run
from perceivers.train.config import LoraConfig
from perceivers.train.finetune import has_adapters, hold_still, merged, restrict
from perceivers.train.transfer import with_head
from perceivers.zoo import ZOO
from train_examples import TINY, tiny_config, tiny_trainer

CONFIG = TrainConfig(max_steps=3, batch_size=8, tracker=None, eval_every=100)


def changed(**changes: Any) -> TrainConfig:
    return dataclasses.replace(CONFIG, **changes)


def moved_parts(folder: Path, config: TrainConfig) -> set[str]:
    """Return the parts of a model of which a run has moved a weight; the folder holds what the model holds."""
    trainer = tiny_trainer(folder, config)
    before = {
        name: tensor.clone()
        for name, tensor in own_tensors(seeded_model(tiny_config({"outputs.num_classes": 3}), 0)).items()
    }
    trainer.run()
    after = own_tensors(trainer.bare)
    saved = own_tensors(load_folder(folder)[0])
    assert list(before) == list(after) == list(saved)
    assert all(torch.equal(saved[name], tensor) for name, tensor in after.items())
    return {".".join(name.split(".")[:2]) for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("ema_decay", [None, 0.5])
@pytest.mark.parametrize("select", ["last", "best"])
def test_only_what_is_trainable_moves(tmp_path: Path, ema_decay: float | None, select: Any) -> None:
    common = {"ema_decay": ema_decay, "select": select}
    decoder = {"queries.table", "decoder.cross_attend", "outputs.linear"}
    assert moved_parts(tmp_path / "outputs", changed(trainable="outputs", **common)) == {"outputs.linear"}
    assert moved_parts(tmp_path / "decoder", changed(trainable="decoder", **common)) == decoder
    lora = moved_parts(tmp_path / "lora", changed(trainable="lora", **common))
    assert lora == decoder | {"encoder.blocks", "encoder.cross_attends"}
    assert "encoder.latents" in moved_parts(tmp_path / "all", changed(**common))


def test_low_rank_matrices_are_merged_into_what_is_saved(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, changed(trainable="lora", lora=LoraConfig(rank=2, layers=("query", "widen"))))
    before = {name: tensor.clone() for name, tensor in own_tensors(merged(trainer.bare)).items()}
    assert has_adapters(trainer.bare)
    trainer.run()
    assert not has_adapters(trainer.bare)
    for name, tensor in own_tensors(trainer.bare).items():
        change = tensor - before[name]
        if name.startswith("encoder"):
            adapted = name.endswith(("query.weight", "widen.weight"))
            assert (torch.linalg.matrix_rank(change) == 2) if adapted else not change.any()
    batch = {"image": torch.rand(2, 8, 8, 1)}
    torch.testing.assert_close(load_folder(tmp_path)[0](batch), trainer.bare.eval()(batch))


def test_a_run_with_low_rank_matrices_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = changed(trainable="lora", max_steps=4, checkpoint_every=2)
    expected = tiny_trainer(tmp_path / "whole", config)
    expected.run()
    tiny_trainer(tmp_path / "part", dataclasses.replace(config, max_steps=2, schedule=config.schedule)).run()
    # The learning rate falls with the number of steps: the first half must have had the whole run's.
    whole, part = (Path(tmp_path, name, "checkpoints") for name in ("whole", "part"))
    for old in part.iterdir():
        old.rename(old.with_name("gone"))
    halfway = next(path for path in sorted(whole.iterdir()))
    halfway.rename(part / halfway.name)
    again = tiny_trainer(tmp_path / "part", config)
    again.run(resume=True)
    for name, tensor in own_tensors(expected.bare).items():
        assert torch.equal(own_tensors(again.bare)[name], tensor), name


def test_parts_that_do_not_move_are_held_in_evaluation_mode() -> None:
    model = PerceiverIO(tiny_config()).train()
    restrict(model, "decoder", LoraConfig(), 0)
    hold_still(model)
    assert not model.encoder.training
    assert not model.encoder.blocks[0][0].dropout.training
    assert model.decoder.training
    assert model.training


def test_what_cannot_be_trained_is_refused() -> None:
    model = PerceiverIO(tiny_config())
    with pytest.raises(ValueError, match=r"lora.layers \['keys'\] are no layers of the encoder; choices = \['key',"):
        restrict(model, "lora", LoraConfig(layers=("keys",)), 0)
    with pytest.raises(ValueError, match=r"lora.rank \(0\) must be at least 1"):
        LoraConfig(rank=0)


def text_rows(folder: Path) -> Path:
    path = folder / "texts.csv"
    path.write_text("text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(12)))
    return path


def test_a_language_model_gets_the_head_of_a_classifier(tmp_path: Path) -> None:
    widths = {f"{part}.{side}_channels": 16 for part in ("encoder", "decoder") for side in ("qk", "v")}
    trained = seeded_model(override(ZOO["language-small"].config, {**TINY, **widths}), 7)
    save_folder(trained, tmp_path / "language")
    data = DataConfig(source=str(text_rows(tmp_path)))
    recipe = Recipe(task="text-classification", model=str(tmp_path / "language"), data=data)
    run = prepare_run(recipe)
    ours, theirs = own_tensors(run.model), own_tensors(trained)
    kept = [name for name in ours if name.startswith(("inputs.", "encoder."))]
    assert all(torch.equal(ours[name], theirs[name]) for name in kept)
    assert set(run.fresh) == set(ours) - set(kept)
    assert run.model(
        {"input_ids": torch.randint(6, 262, (2, 9)), "keep_mask": torch.ones(2, 9, dtype=torch.bool)}
    ).shape == (2, 2)
    run.trainer(tmp_path / "run", show_progress=False)


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
def test_a_language_model_keeps_what_asks_at_bytes(task: str) -> None:
    released = ZOO["language"].config
    start = with_head(released, TASKS[task].usual_model(released))
    assert start.anew == ("outputs",)
    assert (start.config.queries, start.config.decoder) == (released.queries, released.decoder)


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
def test_a_classifier_is_asked_at_every_byte_that_it_reads(task: str) -> None:
    base = override(ZOO["text-classifier-small"].config, {**TINY, "inputs.max_length": 2000})
    start = with_head(base, TASKS[task].usual_model(base))
    assert start.anew == ("queries", "decoder", "outputs")
    batch = {"input_ids": torch.full((1, 2000), 70), "keep_mask": torch.ones(1, 2000, dtype=torch.bool)}
    assert PerceiverIO(start.config)(batch, where=torch.tensor([[0, 1999]])).shape == (1, 2, 2)


def test_a_classifier_keeps_its_query_and_gets_new_outputs(tmp_path: Path) -> None:
    save_folder(seeded_model(tiny_config({"outputs.num_classes": 4}), 5), tmp_path)
    run = prepare_run(Recipe(task="image-classification", model=str(tmp_path), data=DataConfig(source="digits")))
    assert run.fresh == ("outputs.linear.weight", "outputs.linear.bias")


def test_a_model_of_another_modality_is_refused(tmp_path: Path) -> None:
    save_folder(seeded_model(tiny_config(), 5), tmp_path / "model")
    data = DataConfig(source=str(text_rows(tmp_path)))
    with pytest.raises(ValueError, match="text-classification needs a model with text inputs, not 'image-patches'"):
        prepare_run(Recipe(task="text-classification", model=str(tmp_path / "model"), data=data))


def test_a_model_of_the_same_task_keeps_queries_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "text.csv").write_text("text\n" + "The same line again and again.\n" * 9)
    data, config = DataConfig(source=str(tmp_path / "text.csv")), ZOO["language-neighbours-small"].config
    fresh = prepare_run(Recipe(task="fill-mask", model="language-neighbours-small", data=data))
    assert fresh.model.config == config
    save_folder(fresh.model, tmp_path / "model", fresh.task.to_json())
    again = prepare_run(Recipe(task="fill-mask", model=str(tmp_path / "model"), data=data))
    assert again.model.config == config
    assert again.fresh == ()

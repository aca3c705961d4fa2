"""The training loop, on Accelerate."""

import json
import math
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from perceivers.config import to_json
from perceivers.data.stream import Stream
from perceivers.model import PerceiverIO
from perceivers.pretrained.folder import WEIGHTS_FILE, load_weights, save_folder
from perceivers.processing.files import write_whole
from perceivers.tasks.base import Rows, Step, Task, to_device
from perceivers.train.averaging import moving_average
from perceivers.train.batches import Order
from perceivers.train.card import About, Outcome, write_card
from perceivers.train.checkpoint import latest_checkpoint, load_checkpoint, write_checkpoint
from perceivers.train.compiling import check_compiler, compiled_layers, not_compiled
from perceivers.train.config import TrainConfig
from perceivers.train.evaluate import evaluate
from perceivers.train.finetune import hold_still, merge_adapters, merged, restrict
from perceivers.train.optim import make_optimizer, make_schedule
from perceivers.train.progress import RunProgress
from perceivers.train.sharding import Shards, check_sharding, shard, take_over, whole, whole_number
from perceivers.train.state import Entry, Progress, RunResult
from perceivers.train.streamed import References, StreamOrder
from perceivers.train.threads import compute_threads
from perceivers.train.trackers import check_tracker, flat

HISTORY_FILE = "history.jsonl"
METRICS_FILE = "metrics.json"
# Steps between evaluations of a run on a stream, unless it says otherwise.
_STREAM_EVAL_EVERY = 1000


class Trainer:
    """Trains a model on a task and leaves it, with its scores and curves, in a folder.

    The folder is itself a saved model: `perceivers.pipeline(model=folder)` serves it.

    Args:
        task: The task, fitted to the model's config.
        model: The model; trained in place. After `run` it holds the weights that were saved.
        train_rows: Training split, or a stream of it.
        eval_rows: Evaluation split.
        config: How the run goes.
        folder: Where everything is written.
        about: What the model's card says of the data and the start.
        show_progress: Draw the progress bar.

    Raises:
        ValueError: The training split is empty, a stream has no number of steps, the tracker is unknown or not
            installed, or there is no compiler where one is asked for.
    """

    def __init__(
        self,
        task: Task[Any],
        model: PerceiverIO,
        train_rows: Rows | Stream,
        eval_rows: Rows,
        config: TrainConfig,
        folder: str | Path,
        *,
        about: About | None = None,
        show_progress: bool = True,
    ) -> None:
        self.task = task
        self.config = config
        self.folder = Path(folder)
        self.eval_rows = eval_rows
        self.about = about or About()
        self.show_progress = show_progress
        check_tracker(config.tracker)
        # Accelerate keeps the precision of the first run for the whole process; each run here has its own.
        AcceleratorState._reset_state()
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.accumulation,
            log_with=config.tracker,
            project_dir=str(self.folder),
        )
        check_sharding(config, self.accelerator.num_processes)
        if config.compile:
            check_compiler(self.accelerator.device)
        task.study(train_rows)
        self.dataset, self.order = self._examples(train_rows)
        if self.order.batches_per_epoch is None:
            if config.max_steps is None:
                raise ValueError("how long a pass over a stream is, is not known: set train.max_steps (--max-steps)")
            self.num_steps = config.max_steps
            self.eval_every = config.eval_every or min(_STREAM_EVAL_EVERY, self.num_steps)
        else:
            steps_per_epoch = max(self.order.batches_per_epoch // config.accumulation, 1)
            self.num_steps = config.max_steps or max(math.ceil(config.epochs * steps_per_epoch), 1)
            self.eval_every = config.eval_every or steps_per_epoch
        self.checkpoint_every = config.checkpoint_every or self.eval_every
        restrict(model, config.trainable, config.lora, config.seed)
        self.bare = model.to(self.accelerator.device)
        model.encoder.activation_checkpointing = config.activation_checkpointing
        # Before `prepare`, which would leave its autocast in the copy: what is saved is scored in full precision.
        self.ema = moving_average(model, config.ema_decay)
        if config.fsdp:
            shard(model)
            if self.ema is not None:
                shard(self.averaged)
        self.optimizer: Optimizer = make_optimizer(model, config.optimizer)
        self.schedule = make_schedule(self.optimizer, config.schedule, self.num_steps)
        self.model = self.bare
        self.progress = Progress(order=self._order_facts())
        saved = [self.schedule, self.progress]
        averages = [] if self.ema is None else [self.ema]
        self.shards = Shards([model, *averages], self.optimizer) if config.fsdp else None
        if self.shards is None:
            self.model, self.optimizer = self.accelerator.prepare(model, self.optimizer)
            saved += averages
        self.accelerator.register_for_checkpointing(*saved)

    def run(self, *, resume: bool = False) -> RunResult:
        """Train to the end.

        Args:
            resume: Take up the newest whole checkpoint in the folder; without one, or with `False`, start
                anew and drop the checkpoints that are there.

        Raises:
            ValueError: The loss or its gradient is not finite, or the checkpoint is of another run.
        """
        with compute_threads(self.config.num_threads), compiled_layers(self.bare, self.config.compile):
            return self._run(resume)

    @property
    def averaged(self) -> PerceiverIO:
        """The weights that are evaluated and saved: the moving average when there is one."""
        return self.bare if self.ema is None else cast(PerceiverIO, self.ema.module)

    def _run(self, resume: bool) -> RunResult:
        # Accelerate keeps this for the whole process, too; another trainer may have been made since.
        self.accelerator.gradient_accumulation_steps = self.config.accumulation
        # Each process draws its own random changes.
        set_seed(self.config.seed, device_specific=True)
        if not (resume and self._resume()):
            self._start_anew()
        self._start_trackers()
        remaining = (self.num_steps - self.progress.step) * self.config.accumulation
        batches = self.order.batches(self.progress.step * self.config.accumulation, max(remaining, 0))
        loader = DataLoader(
            self.dataset,
            batch_sampler=batches,
            collate_fn=self.task.collate,
            num_workers=self.config.num_workers,
            # Its own generator: making an iterator must not draw from the one that a checkpoint restores.
            generator=torch.Generator(),
        )
        show = self.show_progress and self.accelerator.is_main_process
        stopped = self._out_of_patience()
        losses: list[float] = []
        with RunProgress(self.num_steps, self.config.batch_size, start=self.progress.step, show=show) as bar:
            began = time.perf_counter() - self.progress.seconds
            for batch in () if stopped else loader:
                losses.append(self._train_on(batch))
                if not self.accelerator.sync_gradients:
                    continue
                loss = sum(losses) / len(losses)
                losses.clear()
                self.progress.seconds = time.perf_counter() - began
                bar.step(loss)
                self._after_step(loss, bar)
                stopped = self._out_of_patience()
                if stopped:
                    break
        return self._finish(stopped)

    def _train_on(self, batch: dict[str, Tensor]) -> float:
        """Take one micro-batch; the weights move when enough have been accumulated."""
        self.model.train()
        hold_still(self.bare)
        batch = to_device(self.task.augment(batch, training=True), cast(PerceiverIO, self.model))
        with self.accelerator.accumulate(self.model):
            # What Accelerate has prepared casts by itself.
            with nullcontext() if self.shards is None else self.accelerator.autocast():
                step: Step = self.task.step(cast(PerceiverIO, self.model), batch)
            own = self._share_of(step)
            # Over all processes: each logs the same, and stops when any has to.
            loss = float(cast(Tensor, self.accelerator.reduce(own.detach(), "mean")))
            self._check_finite("loss", loss)
            self.accelerator.backward(own)
            if self.accelerator.sync_gradients:
                limit = math.inf if self.config.max_grad_norm is None else self.config.max_grad_norm
                norm = whole_number(self.accelerator.clip_grad_norm_(self.model.parameters(), limit))
                # fp16 scales the loss so high that it overflows now and then; such steps are left out.
                if self.accelerator.scaler is None:
                    self._check_finite("norm of the gradient", norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
        if self.accelerator.sync_gradients and self.ema is not None:
            self.ema.update_parameters(self.bare)
        return loss

    def _share_of(self, step: Step) -> Tensor:
        """Return the loss of this process, so scaled that the mean over processes is that over all they have."""
        if not step.parts or self.accelerator.num_processes == 1:
            return step.loss
        counts = torch.stack([part.count.detach().float() for part in step.parts])
        mean = cast(Tensor, self.accelerator.reduce(counts.clone(), "mean"))
        shares = counts / mean.clamp(min=torch.finfo(mean.dtype).tiny)
        more = [part.mean * (share - 1) for part, share in zip(step.parts, shares, strict=True)]
        return step.loss + torch.stack(more).sum()

    def _check_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            first = self.progress.step * self.config.accumulation
            examples = [i for batch in range(self.config.accumulation) for i in self.order.names(first + batch)]
            raise ValueError(
                f"the {name} is {value} at step {self.progress.step + 1}, on examples {examples} of the training "
                f"split; the newest checkpoint is from before. Try a lower learning rate, or mixed_precision 'no'"
            )

    def _after_step(self, loss: float, bar: RunProgress) -> None:
        """Log, evaluate and checkpoint when it is time."""
        progress = self.progress
        progress.step += 1
        last = progress.step == self.num_steps
        rate = float(self.schedule.get_last_lr()[0])
        self.schedule.step()
        self._log({"step": progress.step, "loss": loss, "learning_rate": rate})
        if last or progress.step % self.eval_every == 0:
            self._score(bar)
        if last or self._out_of_patience() or progress.step % self.checkpoint_every == 0:
            keep = self.config.keep_checkpoints
            write_checkpoint(self.accelerator, self.checkpoints, progress.step, keep, self.shards)

    def _score(self, bar: RunProgress) -> None:
        """Evaluate and log; remember the best score, and the weights that had it when they are wanted."""
        progress = self.progress
        model = whole(self.averaged)
        scores = self._evaluate(model)
        score = scores[self.task.score]
        bar.score(self.task.score, score)
        self._log({"step": progress.step, **{f"eval_{name}": value for name, value in scores.items()}})
        sign = 1 if self.task.higher_is_better else -1
        if progress.best is None or sign * score > sign * progress.best:
            progress.best, progress.waited = score, 0
            if self.config.select == "best" and self.accelerator.is_main_process:
                save_folder(merged(model), self.best, self.task.to_json())
        else:
            progress.waited += 1

    def _out_of_patience(self) -> bool:
        """Return whether too many evaluations have passed without a better score."""
        return self.config.patience is not None and self.progress.waited >= self.config.patience

    def _evaluate(self, model: PerceiverIO) -> dict[str, float]:
        with not_compiled():
            return evaluate(
                self.task,
                model,
                self.eval_rows,
                batch_size=self.config.batch_size,
                rank=self.accelerator.process_index,
                world_size=self.accelerator.num_processes,
            )

    def _finish(self, stopped: bool) -> RunResult:
        """Save the chosen weights with their scores and curves."""
        # Takes Accelerate's autocast off the model, in place.
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        model = whole(self.averaged)
        merge_adapters(model)
        if self.config.select == "best":
            self.accelerator.wait_for_everyone()
            load_weights(model, self.best / WEIGHTS_FILE)
        scores = self._evaluate(model)
        progress = self.progress
        if self.accelerator.is_main_process:
            save_folder(model, self.folder, self.task.to_json())
            history = "".join(json.dumps(entry) + "\n" for entry in progress.history)
            (self.folder / HISTORY_FILE).write_text(history, encoding="utf-8")
            document = {**scores, "steps": progress.step, "seconds": round(progress.seconds, 1)}
            outcome = Outcome(
                scores=scores,
                steps=progress.step,
                seconds=progress.seconds,
                num_processes=self.accelerator.num_processes,
            )
            write_card(self.folder, self.task, model, self.config, self.about, outcome)
            # Last: a run with scores is finished.
            write_whole(self.folder / METRICS_FILE, json.dumps(document, indent=2) + "\n")
        if model is not self.bare:
            merge_adapters(self.bare)
            take_over(self.bare, model)
        # Last: the processes cannot talk to each other after it.
        self.accelerator.end_training()
        return RunResult(scores, progress.history, progress.step, progress.seconds, stopped)

    def _examples(self, rows: Rows | Stream) -> tuple[Dataset[dict[str, Any]], Order | StreamOrder]:
        """Return the training examples, and the order in which they come."""
        size, seed = self.config.batch_size // self.config.accumulation, self.config.seed
        rank, world_size = self.accelerator.process_index, self.accelerator.num_processes
        if isinstance(rows, Stream):
            return References(self.task), StreamOrder(rows, self.task, size, seed, rank, world_size)
        examples = self.task.dataset(rows, training=True)
        count = len(examples)  # pyright: ignore[reportArgumentType]
        order = Order(num_examples=count, batch_size=size, seed=seed, rank=rank, world_size=world_size)
        return examples, order

    def _order_facts(self) -> dict[str, int]:
        return {**self.order.facts, "accumulation": self.config.accumulation}

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder of the model with the best score so far."""
        return self.folder / "best"

    def _resume(self) -> bool:
        """Load the newest checkpoint; return whether there was one."""
        checkpoint = latest_checkpoint(self.checkpoints)
        if checkpoint is None:
            return False
        order = self.progress.order
        load_checkpoint(self.accelerator, checkpoint, self.shards)
        if self.progress.order != order:
            raise ValueError(f"{checkpoint} was made with {self.progress.order}; this run has {order}")
        return True

    def _start_anew(self) -> None:
        if self.accelerator.is_main_process:
            for old in (self.checkpoints, self.best):
                shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _start_trackers(self) -> None:
        if self.config.tracker is not None:
            self.accelerator.init_trackers("curves", config=flat(to_json(self.config)))

    def _log(self, entry: Entry) -> None:
        self.progress.history.append(entry)
        if self.config.tracker is not None:
            values = {name: value for name, value in entry.items() if name != "step"}
            self.accelerator.log(values, step=int(entry["step"]))

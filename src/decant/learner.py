"""The training loop that fine-tune and distill share: optimizer, schedule, selection, Lightning's trainer."""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.loggers.logger import Logger
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoTokenizer, PreTrainedModel

from decant import UserError, datamodule, model, run
from decant.config import Training, piece
from decant.data import SPLITS
from decant.datamodule import Batch, Row, Tables, TextData
from decant.task import Task
from decant.tracking import Run, rank

PRETRAINED = Path("data/pretrain_load")
Rows = dict[str, list[Row]]


class Learner(pl.LightningModule, ABC):
    """Trains a network with AdamW, linear warm-up and decay; a subclass says what the loss is."""

    def __init__(self, network: PreTrainedModel, task: Task, knobs: Training, lr: float) -> None:
        super().__init__()
        self.network = network.train()  # from_pretrained gives it in eval mode: no dropout
        self.task, self.knobs, self.lr = task, knobs, lr
        self.measured = task.metrics(network.config.num_labels)

    @abstractmethod
    def terms(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """What is logged, scalars; `loss` is what is minimised."""

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (B, C)."""
        return self.network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:  # noqa: D102
        terms = self.terms(self(batch), batch)
        if index % 50 == 0 and not torch.isfinite(terms["loss"]):  # each check waits for the device
            raise UserError(f"the loss is {terms['loss'].item()}; lower lr or clip of this stage in params.yaml")
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, on_step=False, on_epoch=True,
                      batch_size=len(batch["target"]), sync_dist=True)  # fmt: skip
        return terms["loss"]

    def validation_step(self, batch: Batch, index: int) -> None:  # noqa: D102
        logits = self(batch).float()
        self.measured.update(logits, batch["target"])
        loss = self.task.loss(logits, batch["target"])
        self.log("validation/loss", loss, batch_size=len(batch["target"]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:  # noqa: D102
        self.log_dict({f"validation/{k}": v for k, v in self.measured.compute().items()})
        self.measured.reset()

    def configure_optimizers(self) -> Any:  # noqa: D102
        # biases and norms are scales, not weights: decaying them only shrinks the signal
        decayed = [p for p in self.parameters() if p.dim() > 1]
        scales = [p for p in self.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": self.knobs.weight_decay}]
        optimizer = AdamW([*groups, {"params": scales, "weight_decay": 0.0}], lr=self.lr, fused=True)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: rate(step, total, self.knobs.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clip by norm; Lightning refuses to, beside a fused optimizer, which without a scaler is harmless."""
        torch.nn.utils.clip_grad_norm_(self.parameters(), self.knobs.clip)


def rate(step: int, total: int, warmup: float) -> float:
    """Learning rate at `step` of `total`, relative to its peak: up over the warm-up, then down to 0."""
    rising = max(1, round(warmup * total))
    return min((step + 1) / rising, max(0.0, (total - step) / max(1, total - rising)))


class Best(Callback):
    """Keeps the weights of the last epoch that is as good on validation as the best, in memory.

    As good: within one standard error of the best so far (Breiman et al. 1984). A small validation set
    cannot tell such epochs apart, and the later one has learned at a lower rate.
    """

    def __init__(self, metric: str, rows: int) -> None:
        self.metric, self.rows = f"validation/{metric}", rows
        self.top, self.score, self.epoch = 0.0, 0.0, -1
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        assert isinstance(pl_module, Learner)
        score = float(trainer.callback_metrics[self.metric])
        self.top = max(self.top, score)
        if score >= self.top - math.sqrt(self.top * (1 - self.top) / self.rows):
            self.score, self.epoch = score, trainer.current_epoch
            weights = pl_module.network.state_dict()
            self.weights = {k: v.detach().cpu().clone() for k, v in weights.items()}


class EpochLine(Callback):
    """A plain line per epoch, for logs: no terminal, no bar."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: D102
        if trainer.is_global_zero:
            values = [f"{k} {float(v):.4f}" for k, v in sorted(trainer.callback_metrics.items())]
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(values)}", flush=True)


class RunLogger(Logger):
    """Passes Lightning's metrics to our run; Lightning's own MLflow logger opens and closes runs itself."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    @property
    def name(self) -> str:  # noqa: D102
        return "mlflow"

    @property
    def version(self) -> str:  # noqa: D102
        return self.run.run_id or ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the stage logged its config."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # noqa: D102
        if metrics := {k: v for k, v in metrics.items() if k != "epoch"}:
            self.run.metrics(metrics, step or 0)


def labelled(rows: Rows, frames: Tables) -> list[Row]:
    """The rows to train on without a teacher."""
    return rows["train"]


def train(
    cfg: DictConfig,
    knobs: Training,
    start: Path,
    folder: Path,
    tracked: Run,
    build: Callable[[PreTrainedModel, Task, Training, float], Learner],
    chosen: Callable[[Rows, Tables], list[Row]] = labelled,
    splits: Sequence[str] = SPLITS,
) -> None:
    """Train what `build` makes of the backbone at `start` on the `chosen` rows; write it to `folder`.

    `folder` becomes a model directory with predictions on every row of `splits`.
    """
    pl.seed_everything(cfg.seed, verbose=False)
    task: Task = piece(cfg, "task")
    scale = run.read_json(start / "manifest.json")["lr_scale"]  # first: it says so where pretrain-load has not run
    tokenizer = AutoTokenizer.from_pretrained(start)
    tokenizer.model_max_length = knobs.max_length
    frames = datamodule.read()
    rows = datamodule.tokenise(frames, tokenizer, knobs.max_length)
    positions = run.read_json(start / "config.json").get("max_position_embeddings", knobs.max_length)
    if knobs.max_length > positions:
        raise UserError(f"max_length is {knobs.max_length}, but {start} knows {positions} positions; lower it")
    learner = build(task.model(start, datamodule.labels()), task, knobs, knobs.lr * scale)
    data = TextData(chosen(rows, frames), rows["validation"], knobs.batch_size, cfg.seed)
    network = fit(learner, data, knobs.epochs, cfg, tracked)
    if rank() == 0:
        model.save(network, tokenizer, folder)
        logits = {s: (frames[s]["row_id"].tolist(), model.predict(network, rows[s])) for s in rows if s in splits}
        if not all(np.isfinite(values).all() for _, values in logits.values()):
            raise UserError("the trained network gives logits that are not finite; lower lr or clip of this stage")
        model.write_predictions(folder, logits, datamodule.digests())


def examples() -> list[str]:
    """Three inputs of the validation split, to show what a model takes."""
    return list(datamodule.read()["validation"]["input"][:3])


def fit(learner: Learner, data: TextData, epochs: int, cfg: DictConfig, tracked: Run) -> PreTrainedModel:
    """Train for `epochs`; the network comes back with the weights of the best epoch."""
    best = Best(learner.task.monitor, len(data.validation))
    bar = sys.stdout.isatty()
    trainer = pl.Trainer(
        **hardware(cfg),
        max_epochs=epochs,
        logger=RunLogger(tracked),
        callbacks=[best, RichProgressBar() if bar else EpochLine()],
        enable_progress_bar=bar,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,  # LengthBuckets shares the batches
        deterministic=True,
        num_sanity_val_steps=0,
    )
    trainer.fit(learner, data)
    learner.network.load_state_dict(best.weights)
    tracked.metrics({f"best/{learner.task.monitor}": best.score, "best/epoch": best.epoch + 1})
    return learner.network.to(trainer.strategy.root_device)


def hardware(cfg: DictConfig) -> dict[str, Any]:
    """Arguments of Lightning's trainer from conf/trainer/, with `precision: auto` resolved.

    Raises:
        UserError: a device that this machine does not have.
    """
    chosen = OmegaConf.to_container(cfg.trainer)
    assert isinstance(chosen, dict)
    chosen.pop("threads")
    count = torch.cuda.device_count()
    if chosen["accelerator"] == "gpu" and int(chosen["devices"]) > count > 0:
        raise UserError(f"trainer.devices is {chosen['devices']}, but this machine shows {count} GPUs")
    if chosen["accelerator"] == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer asks for a GPU, but this machine shows none; use trainer=auto or trainer=cpu")
    if chosen["precision"] == "auto":
        gpu = chosen["accelerator"] != "cpu" and torch.cuda.is_available()
        chosen["precision"] = "bf16-mixed" if bfloat16(gpu) else "32-true"
    return {str(k): v for k, v in chosen.items()}


def bfloat16(gpu: bool) -> bool:
    """Whether the device multiplies bfloat16 natively; where it is emulated it is slower than fp32."""
    if gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

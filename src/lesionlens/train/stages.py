"""The training loop: stages, epochs, the best weights, and going on after a kill.

Everything a run needs to go on stands in its folder after each epoch (``state.npz``,
``log.csv``), so a killed run that is started again ends where an uninterrupted one would.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlens.errors import TrainingError
from lesionlens.files import (
    atomic_write,
    check_free_space,
    read_csv,
    read_json,
    write_csv,
    write_json,
)
from lesionlens.labels import IN_SCOPE
from lesionlens.train.config import Stage, TrainConfig
from lesionlens.train.inputs import Examples, epoch_batches
from lesionlens.train.network import build_network, free_layers

if TYPE_CHECKING:
    import keras

#: Files of a run's folder.
CONFIG, LOG, STATE, BEST = "config.json", "log.csv", "state.npz", "best.keras"

_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class EpochLog:
    """A row of log.csv."""

    stage: str
    epoch: int  # over all stages, from 1
    learning_rate: float  # at the epoch's end
    train_loss: float
    train_accuracy: float  # on augmented, possibly mixed images
    validation_loss: float  # mean over classes of the mean cross-entropy, see ``score``
    validation_accuracy: float  # among BCC, SCC and Normal only
    validation_balanced_accuracy: float  # mean recall of those three
    is_best: bool
    seconds: float
    images_per_second: float  # of the training part


#: Called after each batch with (epoch, batches done, batches in all), and after each epoch.
OnBatch = Callable[[int, int, int], None]
OnEpoch = Callable[[EpochLog], None]


def train_network(
    config: TrainConfig,
    images: np.ndarray,
    train: Examples,
    validation: Examples,
    directory: Path,
    *,
    weights: str | Path | None,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> keras.Model:
    """Train through all stages and return the model with the best weights of all of them.

    Args:
        config: what to do; written to ``directory/config.json``.
        images: (rows, 224, 224, 3) uint8, the cache.
        train: what to learn from.
        validation: what the best epoch is chosen on; never a test part.
        directory: where state, log and best.keras go. If it holds an unfinished run of the same
            configuration and data, that run goes on.
        weights: for ``network.build_network``.
        on_batch: for progress.
        on_epoch: for progress; called for epochs of an earlier session too.

    Raises:
        TrainingError: the folder holds a run of another configuration or of other data; the loss
            is no longer a number; a part lacks a class.
        LesionLensError: the disk is full.
    """
    run = _Run(config, images, train, validation, directory=Path(directory), weights=weights)
    for row in run.rows:
        if on_epoch:
            on_epoch(row)
    for stage_index, epoch_index in run.remaining():
        row = run.do_epoch(stage_index, epoch_index, on_batch)
        if on_epoch:
            on_epoch(row)
    return load_best(run.directory)


def load_best(directory: Path) -> keras.Model:
    """Load the best model of a run's folder.

    Raises:
        TrainingError: there is none.
    """
    import keras

    path = Path(directory) / BEST
    if not path.is_file():
        raise TrainingError(f"{path}: no such file; train first (lesionlens train)")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path}: cannot be loaded ({error}); train again") from error


def predict_logits(model: keras.Model, batches: Iterator[np.ndarray]) -> np.ndarray:
    """Return the logits (N, K) of batches of images, uint8 or float32 RGB 0..255."""
    import tensorflow as tf

    forward = _forward_of(model)
    parts = [forward(tf.cast(batch, tf.float32)).numpy() for batch in batches]
    return np.concatenate(parts) if parts else np.empty((0, model.output_shape[-1]), np.float32)


def _forward_of(model: keras.Model) -> Any:
    import tensorflow as tf

    # Kept on the model, so that it is traced once and not once an epoch.
    if not hasattr(model, "lesionlens_forward"):
        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
        model.lesionlens_forward = tf.function(
            lambda x: model(x, training=False), input_signature=signature, jit_compile=False
        )
    return model.lesionlens_forward


def rate_at(stage: Stage, step: int, n_steps: int) -> float:
    """Return the learning rate at ``step`` of ``n_steps`` of a stage."""
    if stage.schedule == "constant":
        return stage.learning_rate
    warmup = max(1.0, stage.warmup_share * n_steps)
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1.0, n_steps - warmup)
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def score(logits: np.ndarray, examples: Examples) -> tuple[float, float, float]:
    """Return (loss, accuracy, balanced accuracy) of logits (N, K).

    The loss is the cross-entropy averaged within each class first, then over classes, so that
    it does not depend on how many nevi the part happens to hold. Accuracies are among the
    three classes of the answer, whatever other outputs there are.
    """
    shifted = logits - logits.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    losses = -(examples.targets * log_probability).sum(1)
    truth = np.array([frame.label for frame in examples.frames], dtype=object)
    loss = float(np.mean([losses[truth == label].mean() for label in sorted(set(truth))]))
    answers = np.array(IN_SCOPE, dtype=object)[logits[:, : len(IN_SCOPE)].argmax(1)]
    recalls = [
        float(np.mean(answers[truth == label] == label))
        for label in IN_SCOPE
        if (truth == label).any()
    ]
    is_in_scope = np.isin(truth, np.array(IN_SCOPE, dtype=object))
    accuracy = float(np.mean(answers[is_in_scope] == truth[is_in_scope]))
    return loss, accuracy, float(np.mean(recalls))


class _Run:
    """A training run in its folder: the model, the optimizer, the average, the log."""

    def __init__(
        self,
        config: TrainConfig,
        images: np.ndarray,
        train: Examples,
        validation: Examples,
        *,
        directory: Path,
        weights: str | Path | None,
    ) -> None:
        import keras
        import tensorflow as tf

        if config.labels[: len(IN_SCOPE)] != IN_SCOPE:
            raise TrainingError(f"the first outputs must be {IN_SCOPE}, not {config.labels}")
        missing = [
            label
            for label in IN_SCOPE
            if not any(frame.label is label for frame in validation.frames)
        ]
        if missing:
            raise TrainingError(f"the validation part has no {', '.join(missing)}; split anew")
        # Same seed, same weights: one and the same order of every sum.
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(config.seed)
        self.config, self.images, self.directory = config, images, directory
        self.train, self.validation = train, validation
        self.model = build_network(config, weights)
        self.rows: list[EpochLog] = []
        self.average: list[np.ndarray] | None = None
        self.stage_index = -1
        directory.mkdir(parents=True, exist_ok=True)
        check_free_space(directory, 60_000_000)
        self._claim_directory()
        self._resume()

    # -- the folder ---------------------------------------------------------------------------

    def _claim_directory(self) -> None:
        import hashlib

        data = hashlib.sha256()
        for part in (self.train, self.validation):
            for frame in part.frames:
                data.update(f"{frame.image_id}\t{frame.label}\n".encode())
            data.update(b"\n")
        wanted = {**self.config.to_json(), "data_sha256": data.hexdigest()}
        wanted = json.loads(json.dumps(wanted))  # tuples as lists, as they come back
        path = self.directory / CONFIG
        if path.is_file():
            if read_json(path) != wanted:
                raise TrainingError(
                    f"{self.directory}: holds a run of another configuration or of other data; "
                    "choose another folder or delete this one"
                )
        else:
            write_json(path, wanted)

    def _resume(self) -> None:
        path = self.directory / STATE
        if not path.is_file():
            return
        try:
            with np.load(path) as state:
                rows = json.loads(str(state["rows"]))
                self.rows = [EpochLog(**row) for row in rows]
                done = len(self.rows)
                stage_index = self._place(done - 1)[0]
                self._enter_stage(stage_index)
                self._assign(self.model.variables, state, "model")
                self._assign(self.optimizer.variables, state, "optimizer")
                if self.average is not None:
                    self.average = [state[f"average_{i}"] for i in range(len(self.average))]
        except (KeyError, ValueError, OSError, TypeError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{path}: cannot be read back ({error}); delete {self.directory} and train anew"
            ) from error

    @staticmethod
    def _assign(variables: list, state: Any, prefix: str) -> None:
        for i, variable in enumerate(variables):
            variable.assign(state[f"{prefix}_{i}"])

    def _save(self) -> None:
        arrays = {f"model_{i}": v.numpy() for i, v in enumerate(self.model.variables)}
        arrays |= {f"optimizer_{i}": v.numpy() for i, v in enumerate(self.optimizer.variables)}
        arrays |= {f"average_{i}": v for i, v in enumerate(self.average or [])}
        arrays["rows"] = np.array(json.dumps([asdict(row) for row in self.rows]))
        with atomic_write(self.directory / STATE, "wb") as file:
            np.savez(file, **arrays)
        write_csv(
            self.directory / LOG,
            list(EpochLog.__dataclass_fields__),
            [asdict(row) for row in self.rows],
        )

    def _save_best(self) -> None:
        temporary = self.directory / ("." + BEST.replace(".keras", ".part.keras"))
        try:
            self.model.save(temporary)
            temporary.replace(self.directory / BEST)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise TrainingError(
                f"{self.directory / BEST}: cannot be written ({error.strerror or error}); free "
                "some disk and run the same command again: it goes on from the last epoch"
            ) from error

    # -- stages and epochs --------------------------------------------------------------------

    def _place(self, epoch: int) -> tuple[int, int]:
        for index, stage in enumerate(self.config.stages):
            if epoch < stage.epochs:
                return index, epoch
            epoch -= stage.epochs
        raise TrainingError("the log has more epochs than the configuration")

    def remaining(self) -> Iterator[tuple[int, int]]:
        n_epochs = sum(stage.epochs for stage in self.config.stages)
        for epoch in range(len(self.rows), n_epochs):
            yield self._place(epoch)

    def _enter_stage(self, stage_index: int) -> None:
        import keras
        import tensorflow as tf

        config, stage = self.config, self.config.stages[stage_index]
        free_layers(
            self.model, stage.free_layers, base_statistics_learn=config.base_statistics_learn
        )
        optimizer: Any = keras.optimizers.Adam(
            stage.learning_rate,
            weight_decay=config.weight_decay or None,
            global_clipnorm=config.gradient_clip or None,
        )
        if config.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        variables = self.model.trainable_variables
        optimizer.build(variables)
        entropy = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)
        model = self.model

        @tf.function(reduce_retracing=True, jit_compile=False)
        def step(x: tf.Tensor, y: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                loss = tf.reduce_mean(entropy(y, logits) * w)
                total = tf.add_n([loss, *model.losses])
            gradients = tape.gradient(total, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            hits = tf.equal(tf.argmax(logits, 1), tf.argmax(y, 1))
            return loss, tf.reduce_mean(tf.cast(hits, tf.float32))

        self.optimizer, self.step, self.stage_index = optimizer, step, stage_index
        if config.average_decay:
            # Each stage starts its average where it starts itself.
            self.average = [v.numpy() for v in self.model.weights]

    def do_epoch(self, stage_index: int, epoch_index: int, on_batch: OnBatch | None) -> EpochLog:
        import time

        if stage_index != self.stage_index:
            self._enter_stage(stage_index)
        config, stage = self.config, self.config.stages[stage_index]
        n_images = config.epoch_size if config.mixture else len(self.train)
        n_batches = -(-n_images // config.batch_size)
        epoch = len(self.rows) + 1
        start = time.perf_counter()
        losses, hits, n_seen, rate = [], [], 0, stage.learning_rate
        batches = epoch_batches(
            self.images, self.train, config, stage=stage_index, epoch=epoch_index
        )
        # Closed also by Ctrl-C: its thread has to end before the interpreter does.
        with closing(batches):
            for done, (x, y, w) in enumerate(batches, start=1):
                rate = rate_at(stage, epoch_index * n_batches + done - 1, stage.epochs * n_batches)
                self.optimizer.learning_rate.assign(rate)
                loss, hit = self.step(x, y, w)
                losses.append(float(loss))
                hits.append(float(hit))
                n_seen += len(x)
                if self.average is not None:
                    self._update_average(epoch_index * n_batches + done)
                if on_batch:
                    on_batch(epoch, done, n_batches)
        seconds = time.perf_counter() - start
        if not np.isfinite(losses).all():
            raise TrainingError(
                f"epoch {epoch}: the loss is no longer a number; lower the learning rate"
            )
        with self._averaged_weights():
            loss, accuracy, balanced = score(self._validation_logits(), self.validation)
            is_best = not self.rows or loss < min(row.validation_loss for row in self.rows)
            if is_best:
                self._save_best()
        row = EpochLog(
            stage=stage.name,
            epoch=epoch,
            learning_rate=rate,
            train_loss=float(np.mean(losses)),
            train_accuracy=float(np.mean(hits)),
            validation_loss=loss,
            validation_accuracy=accuracy,
            validation_balanced_accuracy=balanced,
            is_best=is_best,
            seconds=time.perf_counter() - start,
            images_per_second=n_seen / seconds,
        )
        self.rows.append(row)
        self._save()
        return row

    def _validation_logits(self) -> np.ndarray:
        rows = self.validation.rows
        batches = (
            self.images[rows[i : i + _EVALUATION_BATCH]]
            for i in range(0, len(rows), _EVALUATION_BATCH)
        )
        return predict_logits(self.model, batches)

    # -- the average of the weights -----------------------------------------------------------

    def _update_average(self, n_steps: int) -> None:
        # Short at first, so that the average is not of the start: (1 + n) / (10 + n), as in
        # https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage
        decay = min(self.config.average_decay, (1 + n_steps) / (10 + n_steps))
        assert self.average is not None
        for i, variable in enumerate(self.model.weights):
            value = variable.numpy()
            keep = decay if variable.trainable else 0.0
            self.average[i] = keep * self.average[i] + (1 - keep) * value

    def _averaged_weights(self) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def swapped() -> Iterator[None]:
            if self.average is None:
                yield
                return
            own = [variable.numpy() for variable in self.model.weights]
            self.model.set_weights(self.average)
            try:
                yield
            finally:
                self.model.set_weights(own)

        return swapped()


def read_log(directory: Path) -> list[dict[str, str]]:
    """Read ``log.csv`` of a run's folder."""
    return read_csv(Path(directory) / LOG)

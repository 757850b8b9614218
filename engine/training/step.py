"""One optimiser step, and the forward pass for evaluation: the code every run spends its time in.

uint8 batches come in; they are normalised and augmented by eager tensor code and then go through
the compiled network. Measured on 2 cores for ConvNetD3, 256 × 3 × 32 × 32: eager fp32 about 250
images/s, compiled bf16 in channels-last with memory kept (see `precision`) 1,150 to 1,250, of
which the convolutions themselves take 85 %.

Shapes: b batch, c channels, h and w pixels, k classes.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.augment import apply_operation
from engine.errors import UsageError
from engine.training.precision import Arithmetic

if TYPE_CHECKING:
    from accelerate import Accelerator

    from beton_builder.whitening import Whitening

FEW_BATCHES, MANY_EPOCHS = 16, 100
"""A partial last batch is compiled when it is one step in so few, or recurs in so many epochs."""


MOST_GRAPHS = 4096
"""Compiled forms of one network's code in a process; hours of compiling would come before."""


class Normaliser:
    """uint8 images to normalised float32 in the one memory layout the compiled network knows.

    Where the dataset has a whitening, it comes after mean and std: one product of the batch with
    its matrix, in fp32 whatever the network's precision. For 256 × 3 × 32 × 32 that took 58 ms of
    one busy core, about an eighth of the rest of an expert's step; students pay it once a trial.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: str,
        whitening: Whitening | None = None,
    ) -> None:
        scale = [1 / (255 * s) for s in std]
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        self.scale = torch.tensor(scale, device=device)[None, :, None, None]
        self.shift = torch.tensor(shift, device=device)[None, :, None, None]
        self.matrix: Tensor | None = None
        if whitening is not None:
            centre_hwc = torch.from_numpy(whitening.centre_hwc).to(device)
            self.shift = self.shift - centre_hwc.permute(2, 0, 1)
            self.matrix = torch.from_numpy(whitening.matrix).to(device)
        self.device = device

    @property
    def whitens(self) -> bool:
        """Whether an image costs a product with a matrix."""
        return self.matrix is not None

    def __call__(self, images_bchw: Tensor) -> Tensor:
        """uint8 (b, c, h, w) → float32 (b, c, h, w), normalised by channel and whitened.

        Raises:
            UsageError: the whitening is for images of another size.
        """
        # Bytes travel, a quarter of the floats.
        images = images_bchw.to(self.device, non_blocking=True).float()
        if self.matrix is None:
            return torch.addcmul(self.shift, images, self.scale)
        if images.shape[1:] != self.shift.shape[1:]:
            height, width = self.shift.shape[2:]
            raise UsageError(
                f"the dataset's whitening is for images of {width} × {height} pixels, and these "
                f"are {images.shape[3]} × {images.shape[2]}: leave the resolution out, or build "
                "the dataset with another --normalisation"
            )
        centred = torch.addcmul(self.shift, images, self.scale).permute(0, 2, 3, 1)
        return (centred.flatten(1) @ self.matrix).view(centred.shape).permute(0, 3, 1, 2)


def canonical_layout(images_bchw: Tensor) -> Tensor:
    """The same values, channels last in memory, with strides that depend on the shape alone.

    Strides of axes of length 1 are ambiguous, and the compiled code would be specialised again.
    """
    batch, channels, height, width = images_bchw.shape
    strides = (channels * height * width, 1, width * channels, channels)
    if images_bchw.stride() == strides:
        return images_bchw
    laid_out = torch.empty_strided(
        (batch, channels, height, width),
        strides,
        dtype=images_bchw.dtype,
        device=images_bchw.device,
    )
    return laid_out.copy_(images_bchw)


class Network:
    """A model with the arithmetic it runs in; weights are replaced in place between runs.

    One compiled form exists for each batch shape, shared by all runs of one process.
    """

    def __init__(
        self,
        model: nn.Module,
        arithmetic: Arithmetic,
        mean: Sequence[float],
        std: Sequence[float],
        whitening: Whitening | None = None,
    ) -> None:
        self.arithmetic = arithmetic
        self.device = arithmetic.device
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalise = Normaliser(mean, std, self.device, whitening)
        self.forward: nn.Module = self.model
        self.compile_seconds = 0.0
        self.compiling = False
        self._seen: set[tuple[object, ...]] = set()
        if arithmetic.compiled:
            _compile_every_shape()
            # Compiling imports a module that warns of a CUDA toolkit without a GPU; nobody asked.
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
            self.forward = torch.compile(self.model, dynamic=False)  # type: ignore[assignment]
        self._training_forward = self.forward

    def train_through(self, wrapped: nn.Module) -> None:
        """Take training steps through a wrapper, such as DDP, that synchronises ranks.

        Evaluation stays outside of it: ranks may have different numbers of batches there.
        """
        self._training_forward = wrapped

    def logits(self, images_bchw: Tensor, *, compiled: bool = True) -> Tensor:
        """Normalised (b, c, h, w) float32 → logits (b, k) float32."""
        images = canonical_layout(images_bchw)
        key = (tuple(images.shape), torch.is_grad_enabled(), self.model.training)
        self.compiling = compiled and self.arithmetic.compiled and key not in self._seen
        started = time.perf_counter()
        forward = self._training_forward if torch.is_grad_enabled() else self.forward
        with self._stance(compiled), self._autocast():
            logits = forward(images)
        if self.compiling:
            self._seen.add(key)
            self.compile_seconds += time.perf_counter() - started
        return logits.float()

    def _autocast(self) -> AbstractContextManager[object]:
        if self.arithmetic.precision == "bf16":
            return torch.autocast(self.device, torch.bfloat16)
        return nullcontext()

    def _stance(self, compiled: bool) -> AbstractContextManager[object]:
        if compiled or not self.arithmetic.compiled:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Replace parameters and buffers in place, so that compiled code stays valid."""
        self.model.load_state_dict(weights)


def _compile_every_shape() -> None:
    """Have torch compile a network anew for every batch shape, and fail where it will not.

    The networks of one architecture share their code, by which torch counts. At its limits, 8 and
    256 forms, it would go on eagerly: in other bytes, for whichever trials came last.
    """
    limits = torch._dynamo.config
    limits.recompile_limit = limits.accumulated_recompile_limit = MOST_GRAPHS
    limits.fail_on_recompile_limit_hit = True


class TrainingStep:
    """Forward, backward and update of one batch."""

    def __init__(
        self,
        network: Network,
        optimiser: torch.optim.Optimizer,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.network = network
        self.optimiser = optimiser
        self.accelerator = accelerator
        self.rank = accelerator.process_index if accelerator else 0
        self.world = accelerator.num_processes if accelerator else 1

    def __call__(
        self,
        images_bchw: Tensor,
        targets_bk: Tensor,
        *,
        operation: str | None = None,
        uniform_b4: Tensor | None = None,
        weight: float = 1.0,
        compiled: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Take one step on cross-entropy against probabilities.

        Args:
            images_bchw: uint8 images of the batch (of this rank's share of it), or float32 ones
                that are normalised already, as those of distilled sets may be.
            targets_bk: float32 probabilities; one-hot rows for hard labels.
            operation: the batch's DSA operation, if any.
            uniform_b4: float32 uniforms of each sample, for that operation.
            weight: this rank's share of the batch times the number of ranks, so that averaging
                gradients over ranks gives the gradient of the whole batch's mean.
            compiled: run this batch through the compiled network.

        Returns:
            The batch's mean loss (scalar) and its logits (b, k), both detached.
        """
        images = images_bchw
        if not images.is_floating_point():
            images = self.network.normalise(images)
        if operation is not None:
            assert uniform_b4 is not None
            images = apply_operation(operation, images, uniform_b4)
        logits = self.network.logits(images, compiled=compiled)
        loss = F.cross_entropy(logits, targets_bk)
        scaled = loss if weight == 1.0 else loss * weight
        started = time.perf_counter()
        if self.accelerator is None:
            scaled.backward()
        else:
            self.accelerator.backward(scaled)
        if self.network.compiling:
            # The backward pass is compiled when it first runs.
            self.network.compile_seconds += time.perf_counter() - started
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss.detach(), logits.detach()


@contextmanager
def seeded_dropout(seed: int, epoch: int) -> Iterator[None]:
    """Give layers that draw random numbers themselves the same ones in every run of an epoch.

    torch's global generator is put back afterwards.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(zlib.crc32(f"dropout {seed} {epoch}".encode()))
        yield


def compiles_partial_batch(num_samples: int, batch_size: int, epochs: int = 1) -> bool:
    """Whether the partial last batch of an epoch recurs often enough to be worth compiling.

    ``epochs``: of a student; of an expert, whose run may grow, none are counted on.
    """
    return num_samples // batch_size < FEW_BATCHES or epochs >= MANY_EPOCHS

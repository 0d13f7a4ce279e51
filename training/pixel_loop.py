"""Train a network on the distance between its pixels and the photograph's: one loop, read from top to bottom.

Legend: N batch, C channel, H height, W width; networks see float32 luma or RGB in [0, 1].
Started by `torchrun` or `accelerate launch`, every process draws the whole batch, takes its share and
averages gradients with the others, so that the result is that of one process.
"""

import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import AdamW, Optimizer

from sr_models.manifest import CheckpointFolder, default_checkpoint_folder
from training.beginning import beginning
from training.commit import current_commit
from training.divergence import DivergenceGuard
from training.interruption import Interruption, stop_requested
from training.losses import PIXEL_LOSSES
from training.moving_average import MovingAverage
from training.muon import Muon
from training.prefetch import prefetched
from training.progress import Progress
from training.recipe import PixelRecipe
from training.run_state import RunState, loaded
from training.soap import SOAP
from training.training_data import TrainingData, validation_pairs

SAVE_EVERY_S = 60.0
"""A killed run loses at most so much work."""


def train(
    recipe: PixelRecipe,
    data: Path,
    out: Path,
    validate: Path | None = None,
    published: Path | None = None,
) -> RunState:
    """Run the recipe to its end, or until SIGINT or SIGTERM; go on from the state in `out` if there is one.

    `data`: a folder of photographs. `validate`: pictures for the curve, which decides nothing. `published`: where the
    version lies that the recipe starts from; by default the software's own checkpoints.
    Raises DatasetError for unusable photographs, BeginningError or RunStateError where the run cannot begin or go on,
    FloatingPointError where it diverges.
    """
    torch.set_flush_denormal(
        True
    )  # what decays towards zero (a dead feature's momentum) halved a CPU's speed
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device = accelerator.device
    photographs = TrainingData(recipe, data, device, accelerator.process_index, accelerator.num_processes)
    state = loaded(out, recipe, photographs.described)

    network = beginning(
        recipe, CheckpointFolder(published or default_checkpoint_folder()), photographs.examples
    )
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = MovingAverage(network, recipe.ema_decay)
    optimizer = _optimizer(recipe, network)
    step, seconds, commit, curve = 0, 0.0, current_commit(), list[dict[str, float]]()
    if state is not None:
        step, seconds, commit, curve = state.step, state.seconds, state.commit, state.curve
        network.load_state_dict(state.network)
        average.network.load_state_dict(state.average)
        optimizer.load_state_dict(state.optimizer)

    def saved() -> RunState:
        state = RunState(
            recipe=asdict(recipe),
            data=photographs.described,
            commit=commit,
            step=step,
            seconds=seconds + time.monotonic() - started,
            curve=curve,
            network=network.state_dict(),
            average=average.network.state_dict(),
            optimizer=optimizer.state_dict(),
        )
        if accelerator.is_main_process and not guard.in_trouble:
            state.save(out)
        return state

    distance = PIXEL_LOSSES[recipe.loss]
    parallel = accelerator.prepare(network)
    guard = DivergenceGuard()
    progress = Progress(recipe, average.network, validation_pairs(recipe, data, validate), curve, out)
    started = last_saved = time.monotonic()
    with (
        Interruption() as interruption,
        progress.shown(step, accelerator.is_main_process),
        prefetched(photographs.batch, step, recipe.all_steps) as batches,
    ):
        for step, (lr_NCHW, hr_NCHW) in batches:
            if stop_requested(interruption, accelerator):
                break
            polishing = step >= recipe.steps
            rate = recipe.learning_rate_at(step)
            for group in optimizer.param_groups:
                group["lr"] = rate

            parallel.train(not polishing)
            in_bfloat16 = recipe.precision == "bfloat16" and not polishing
            with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16):
                sr_NCHW = parallel(lr_NCHW)
            loss = distance(sr_NCHW.float(), hr_NCHW)
            optimizer.zero_grad()
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(network.parameters(), recipe.clip_norm or math.inf)
            if guard.allows(step, math.isfinite(norm.item())):
                optimizer.step()
                average.follow(network, step + 1)

            step += 1
            progress.stepped(step, {"loss": loss.item(), "learning rate": rate})
            if time.monotonic() - last_saved > SAVE_EVERY_S:
                saved()
                last_saved = time.monotonic()
        if step == recipe.all_steps:
            guard.finished()
        return saved()


def _optimizer(recipe: PixelRecipe, network: nn.Module) -> Optimizer:
    if recipe.optimizer == "soap":
        return SOAP(network.parameters(), recipe.learning_rate)
    if recipe.optimizer == "muon":
        return Muon(network.parameters(), recipe.learning_rate)
    return AdamW(network.parameters(), recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)

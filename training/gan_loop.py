"""Train a generator against a discriminator: one loop, read from top to bottom.

Legend: N batch, C channel, H height, W width; networks see float32 RGB in [0, 1].
Paper: C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
CVPR 2017, arXiv:1609.04802. Several processes share a step as in `training.pixel_loop`.

The generator's batch norms stay at rest: they keep the statistics of the pixel run that it starts from. With those of each batch,
GANs paint artefacts (X. Wang et al., ESRGAN, 2018).
"""

import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Adam

from sr_models.discriminator import Discriminator
from sr_models.manifest import CheckpointFolder, default_checkpoint_folder, sha256_of
from sr_models.unet_discriminator import UNetDiscriminator
from training.beginning import beginning
from training.commit import current_commit
from training.divergence import DivergenceGuard
from training.interruption import Interruption, stop_requested
from training.losses import ADVERSARIAL_LOSSES, lr_distance
from training.moving_average import MovingAverage
from training.perceptual import PerceptualLoss, load_features
from training.pixel_loop import SAVE_EVERY_S
from training.prefetch import prefetched
from training.progress import Progress
from training.recipe import GanRecipe
from training.run_state import RunState, loaded
from training.training_data import TrainingData, validation_pairs


def train_gan(
    recipe: GanRecipe,
    data: Path,
    out: Path,
    perceptual_weights: Path,
    validate: Path | None = None,
    published: Path | None = None,
) -> RunState:
    """Run the recipe to its end, or until SIGINT or SIGTERM; go on from the state in `out` if there is one.

    `perceptual_weights`: of the network whose features are compared. The rest is as in `training.pixel_loop.train`, and
    PerceptualWeightsError is raised where those weights cannot be used.
    """
    torch.set_flush_denormal(True)  # as in training.pixel_loop
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    device = accelerator.device
    photographs = TrainingData(recipe, data, device, accelerator.process_index, accelerator.num_processes)
    perceptual = _perceptual_loss(recipe, perceptual_weights).to(device)
    described = photographs.described | {"perceptual_sha256": sha256_of(perceptual_weights)}
    state = loaded(out, recipe, described)

    generator = beginning(
        recipe, CheckpointFolder(published or default_checkpoint_folder()), photographs.examples
    )
    generator = generator.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    average = MovingAverage(generator, recipe.ema_decay)
    discriminator = _discriminator(recipe).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Adam(generator.parameters(), recipe.learning_rate, betas=(0.9, 0.99))
    opposing = Adam(discriminator.parameters(), recipe.discriminator_rate, betas=(0.9, 0.99))
    step, seconds, commit, curve = 0, 0.0, current_commit(), list[dict[str, float]]()
    if state is not None:
        step, seconds, commit, curve = state.step, state.seconds, state.commit, state.curve
        generator.load_state_dict(state.network)
        average.network.load_state_dict(state.average)
        optimizer.load_state_dict(state.optimizer)
        discriminator.load_state_dict(state.adversary["network"])
        opposing.load_state_dict(state.adversary["optimizer"])

    def saved() -> RunState:
        state = RunState(
            recipe=asdict(recipe),
            data=described,
            commit=commit,
            step=step,
            seconds=seconds + time.monotonic() - started,
            curve=curve,
            network=generator.state_dict(),
            average=average.network.state_dict(),
            optimizer=optimizer.state_dict(),
            adversary={"network": discriminator.state_dict(), "optimizer": opposing.state_dict()},
        )
        if accelerator.is_main_process and not guard.in_trouble:
            state.save(out)
        return state

    adversarial = ADVERSARIAL_LOSSES[recipe.adversarial]
    generate, judge = accelerator.prepare(generator, discriminator)
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
            rate = recipe.learning_rate_at(step)
            optimizer.param_groups[0]["lr"] = rate
            opposing.param_groups[0]["lr"] = rate * recipe.discriminator_rate / recipe.learning_rate

            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                sr_NCHW = generate(lr_NCHW).float()
                discriminator.requires_grad_(False)
                parts = {
                    "pixel": recipe.pixel_weight * (sr_NCHW - hr_NCHW).abs().mean(),
                    "consistency": recipe.consistency_weight * lr_distance(sr_NCHW, lr_NCHW, recipe.scale),
                    "perceptual": recipe.perceptual_weight * perceptual(sr_NCHW, hr_NCHW).float(),
                    "adversarial": recipe.adversarial_weight
                    * adversarial.of_generator(judge(hr_NCHW).float(), judge(sr_NCHW).float()),
                }
            loss = torch.stack(list(parts.values())).sum()
            optimizer.zero_grad()
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(generator.parameters(), recipe.clip_norm or math.inf)

            discriminator.requires_grad_(True)
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                opinion = judge(hr_NCHW).float(), judge(sr_NCHW.detach()).float()
            opposing_loss = adversarial.of_discriminator(*opinion)
            opposing.zero_grad()
            accelerator.backward(opposing_loss)

            if guard.allows(step, math.isfinite(norm.item() + opposing_loss.item())):
                optimizer.step()
                opposing.step()
                average.follow(generator, step + 1)

            step += 1
            numbers = {name: part.item() for name, part in parts.items()}
            numbers |= {"loss": loss.item(), "discriminator": opposing_loss.item(), "learning rate": rate}
            progress.stepped(step, numbers)
            if time.monotonic() - last_saved > SAVE_EVERY_S:
                saved()
                last_saved = time.monotonic()
        if step == recipe.all_steps:
            guard.finished()
        return saved()


def _discriminator(recipe: GanRecipe) -> nn.Module:
    if recipe.discriminator == "unet":
        return UNetDiscriminator()
    return Discriminator(recipe.patch_px * recipe.scale)


def _perceptual_loss(recipe: GanRecipe, weights: Path) -> PerceptualLoss:
    last_layer = max(recipe.perceptual_layers)
    return PerceptualLoss(
        load_features(recipe.perceptual_network, weights, last_layer), recipe.perceptual_layers
    )

"""Muon: momentum whose every update is made orthogonal, for the matrices inside a network; Adam for the rest.

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/; its size as J. Liu et al., "Muon is Scalable for LLM Training",
2025, arXiv:2502.16982, so that Adam's learning rates fit. torch.optim.Muon takes two-dimensional weights
only; this is written from the papers for convolutions.

Deviations from the papers:
- A convolution's weight (O, I, h, w) is one matrix (O, I·h·w).
- Matrices of equal shape are made orthogonal together: a network of equal blocks pays for one batch of products.
- No weight decay: our networks underfit.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

MATRIX_FROM = 8
"""Weights with fewer outputs (a picture's three channels) are no matrix worth the name: they get Adam."""


class Muon(Optimizer):
    """Weights of at least two dimensions and `MATRIX_FROM` outputs by Muon, all others by Adam."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        """`learning_rate`: as Adam's would be; `betas`: Adam's."""
        defaults = {"lr": learning_rate, "momentum": momentum, "betas": betas, "eps": eps}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            of_shape = defaultdict[tuple[int, ...], list[Tensor]](list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.ndim > 1 and len(parameter) >= MATRIX_FROM:
                    of_shape[tuple(parameter.shape)].append(parameter)
                else:
                    self._adam(parameter, parameter.grad, group["lr"], group["betas"], group["eps"])
            for matrices in of_shape.values():
                self._muon(matrices, group["lr"], group["momentum"])

    def _muon(self, parameters: list[Tensor], learning_rate: float, momentum: float) -> None:
        directions = []
        for parameter in parameters:
            assert parameter.grad is not None
            mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
            mean.lerp_(parameter.grad, 1.0 - momentum)
            directions.append(parameter.grad.lerp(mean, momentum).reshape(len(parameter), -1))
        updates = orthogonal(torch.stack(directions))
        # The root mean square of Adam's updates is about 0.2 (Liu et al., section 2.2).
        size = 0.2 * max(updates.shape[1:]) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.sub_(update.view_as(parameter), alpha=learning_rate * size)

    def _adam(
        self,
        parameter: Tensor,
        gradient: Tensor,
        learning_rate: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        state = self.state[parameter]
        if not state:
            state["updates"] = 0
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["updates"] += 1
        state["mean"].lerp_(gradient, 1.0 - betas[0])
        state["square"].lerp_(gradient.square(), 1.0 - betas[1])
        mean = state["mean"] / (1.0 - betas[0] ** state["updates"])
        square = state["square"] / (1.0 - betas[1] ** state["updates"])
        parameter.sub_(mean / (square.sqrt() + eps), alpha=learning_rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices whose singular values are about 1 (0.7 to 1.2): float (B, m, n) to the same shape.

    Five steps of the quintic Newton-Schulz iteration with Jordan's coefficients.
    """
    upright = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if upright else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    result: Tensor = x.mT if upright else x
    return result

"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner.

Paper: N. Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025, arXiv:2409.11321.
Original code: https://github.com/nikhilvyas/SOAP; this is written from the paper's algorithm 3.

Deviations from the paper:
- A convolution's weight (O, I, h, w) is one matrix (O, I·h·w), not a tensor of four sides.
- No weight decay: our networks underfit.
- The bias correction counts the updates made, so the first gradient, which only starts the basis,
  does not count.

Cost beside Adam: a few products of matrices each step, and one QR decomposition of each side every
`refresh_every` steps. That suits small networks: a side of n numbers holds two n·n matrices.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class SOAP(Optimizer):
    """Matrices are preconditioned on both sides; vectors (biases) get plain Adam."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float,
        betas: tuple[float, float] = (0.95, 0.95),
        refresh_every: int = 20,
        eps: float = 1e-8,
    ) -> None:
        """`refresh_every`: steps between two refreshes of the eigenbasis; `betas`: as Adam's, the second also for the basis."""
        defaults = {"lr": learning_rate, "betas": betas, "refresh_every": refresh_every, "eps": eps}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; the first gradient only starts the basis."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = _as_matrix(parameter.grad)
                state = self.state[parameter]
                if not state:
                    _start(state, gradient)
                else:
                    direction = _direction(state, gradient, group["betas"], group["eps"])
                    parameter.sub_(direction.view_as(parameter), alpha=group["lr"])
                    _follow(state, gradient, group["betas"][1], group["refresh_every"])


def _as_matrix(gradient: Tensor) -> Tensor:
    """A weight as (outputs, everything else), a bias as one row."""
    return gradient.reshape(len(gradient), -1) if gradient.ndim > 1 else gradient.reshape(1, -1)


def _start(state: dict[str, Any], gradient: Tensor) -> None:
    state["updates"] = 0
    state["mean"] = torch.zeros_like(gradient)
    state["square"] = torch.zeros_like(gradient)
    if len(gradient) > 1:
        for side, outer in (("left", gradient @ gradient.T), ("right", gradient.T @ gradient)):
            state[side] = outer
            state[f"{side}_basis"] = torch.linalg.eigh(outer).eigenvectors.contiguous()


def _direction(state: dict[str, Any], gradient: Tensor, betas: tuple[float, float], eps: float) -> Tensor:
    """Adam's update, taken in the eigenbasis and turned back."""
    state["updates"] += 1
    mean, square = state["mean"], state["square"]
    mean.lerp_(gradient, 1.0 - betas[0])
    square.lerp_(_into_basis(state, gradient).square_(), 1.0 - betas[1])
    mean_correction = 1.0 - betas[0] ** state["updates"]
    square_correction = 1.0 - betas[1] ** state["updates"]
    scaled = _into_basis(state, mean) / mean_correction
    scaled /= (square / square_correction).sqrt_().add_(eps)
    return _out_of_basis(state, scaled)


def _into_basis(state: dict[str, Any], matrix: Tensor) -> Tensor:
    if "left_basis" not in state:
        return matrix.clone()
    rotated: Tensor = state["left_basis"].T @ matrix @ state["right_basis"]
    return rotated


def _out_of_basis(state: dict[str, Any], matrix: Tensor) -> Tensor:
    if "left_basis" not in state:
        return matrix
    rotated: Tensor = state["left_basis"] @ matrix @ state["right_basis"].T
    return rotated


def _follow(state: dict[str, Any], gradient: Tensor, beta: float, refresh_every: int) -> None:
    """Move the two sides' covariances, and now and then their bases after them."""
    if "left" not in state:
        return
    state["left"].lerp_(gradient @ gradient.T, 1.0 - beta)
    state["right"].lerp_(gradient.T @ gradient, 1.0 - beta)
    if state["updates"] % refresh_every == 0:
        state["left_basis"], order = _refreshed(state["left"], state["left_basis"])
        state["square"] = state["square"][order]
        state["right_basis"], order = _refreshed(state["right"], state["right_basis"])
        state["square"] = state["square"][:, order]


def _refreshed(covariance: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """One step of orthogonal iteration, and the order in which the old directions were sorted for it."""
    turned = covariance @ basis
    order = (basis * turned).sum(dim=0).argsort(descending=True)
    return torch.linalg.qr(turned[:, order]).Q, order

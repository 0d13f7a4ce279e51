import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.soap import SOAP


def gradients(count: int, shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_with_a_resting_basis_it_is_adam_on_the_rotated_vector() -> None:
    first, *later = gradients(6, (3, 2))
    weight = nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
    optimizer = SOAP([weight], learning_rate=0.1, betas=(0.9, 0.8), refresh_every=1000)
    for gradient in (first, *later):
        weight.grad = gradient
        optimizer.step()

    left = torch.linalg.eigh(first @ first.T).eigenvectors
    right = torch.linalg.eigh(first.T @ first).eigenvectors
    rotation = torch.kron(left, right)  # rows of a matrix, laid end to end, as torch flattens it
    mean = square = torch.zeros(6, dtype=torch.float64)
    expected = torch.zeros(6, dtype=torch.float64)
    for update, gradient in enumerate(later, start=1):
        rotated = rotation.T @ gradient.flatten()
        mean = 0.9 * mean + 0.1 * rotated
        square = 0.8 * square + 0.2 * rotated**2
        adam = (mean / (1 - 0.9**update)) / ((square / (1 - 0.8**update)).sqrt() + 1e-8)
        expected -= 0.1 * rotation @ adam
    torch.testing.assert_close(weight.detach().flatten(), expected, rtol=1e-10, atol=1e-12)


def test_a_vector_gets_plain_adam() -> None:
    first, *later = gradients(6, (5,))
    ours, theirs = (nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in range(2))
    soap = SOAP([ours], learning_rate=0.1, betas=(0.9, 0.8))
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.8))
    ours.grad = first
    soap.step()
    for gradient in later:
        ours.grad, theirs.grad = gradient, gradient.clone()
        soap.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_the_basis_follows_the_eigenvectors_of_the_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    colouring = (
        torch.diag(torch.tensor([10.0, 3.0, 1.0, 0.1]))
        @ torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    )
    weight = nn.Parameter(torch.zeros(4, 3))
    optimizer = SOAP([weight], learning_rate=0.0, betas=(0.95, 0.999), refresh_every=5)
    for _ in range(500):
        weight.grad = colouring.T @ torch.randn(4, 3, generator=generator)
        optimizer.step()
    state = optimizer.state[weight]
    basis = state["left_basis"]
    torch.testing.assert_close(basis.T @ basis, torch.eye(4), rtol=0, atol=1e-5)
    turned = basis.T @ state["left"] @ basis
    off_diagonal = turned - torch.diag(turned.diag())
    assert off_diagonal.abs().max() < 1e-2 * turned.diag().max()
    assert turned.diag().diff().max() < 0, "directions are sorted, the strongest first"


def test_the_squares_move_with_their_directions() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = SOAP([weight], learning_rate=0.0, betas=(0.9, 0.5), refresh_every=1)
    # The first gradient sorts the rows one way (eigh: ascending), all later ones must be resorted.
    for _ in range(60):
        weight.grad = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        optimizer.step()
    state = optimizer.state[weight]
    torch.testing.assert_close(state["square"], torch.tensor([[9.0, 0.0], [0.0, 1.0]]), rtol=1e-4, atol=1e-4)


def best_of_rates(optimizer_class: type[SOAP] | type[torch.optim.Adam], steps: int) -> float:
    """The lowest last loss of a quadratic whose steep directions are no coordinate axes."""
    rng = np.random.default_rng(0)
    turn_in, turn_out, target = (
        torch.tensor(np.linalg.qr(rng.normal(size=(8, 8)))[0]).float() for _ in range(3)
    )
    inputs = turn_in @ torch.logspace(0, -2, 8).diag()
    outputs = torch.logspace(0, -1, 8).diag() @ turn_out

    def loss_of(weight: Tensor) -> Tensor:
        return (outputs @ (weight - target) @ inputs).square().sum()

    losses = []
    for rate in (0.1, 0.03):
        weight = nn.Parameter(torch.zeros(8, 8))
        optimizer = optimizer_class([weight], rate, betas=(0.95, 0.95))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(weight).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        losses.append(loss_of(weight).item())
    return min(losses)


def test_it_beats_adam_where_the_curvature_is_uneven_and_turned() -> None:
    assert best_of_rates(SOAP, 200) < 0.2 * best_of_rates(torch.optim.Adam, 200)


@pytest.mark.parametrize("pause_at", [1, 7, 20, 33])
def test_a_saved_and_loaded_optimizer_goes_on_exactly(pause_at: int) -> None:
    torch.manual_seed(0)
    whole = nn.Conv2d(2, 4, 3)
    x = torch.randn(40, 2, 5, 5)

    def go_on(network: nn.Conv2d, optimizer: SOAP, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            network(x[step : step + 1]).square().mean().backward()
            optimizer.step()

    paused = copy.deepcopy(whole)
    optimizer = SOAP(whole.parameters(), 1e-2)
    go_on(whole, optimizer, range(40))

    before = SOAP(paused.parameters(), 1e-2)
    go_on(paused, before, range(pause_at))
    after = SOAP(paused.parameters(), 1e-2)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    go_on(paused, after, range(pause_at, 40))
    assert torch.equal(whole.weight, paused.weight)


def test_a_parameter_without_gradient_stays() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    SOAP([weight], 1e-2).step()
    assert torch.equal(weight, torch.ones(2, 2))

import copy

import torch

from training.muon import Muon, orthogonal


def test_orthogonal_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 8, 20), (3, 20, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.shape == (shape[0], 8)
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_orthogonal_keeps_the_singular_vectors() -> None:
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64))
    matrix = left @ torch.diag(torch.linspace(1.0, 2.0, 6, dtype=torch.float64)) @ right[:6]
    turned = left.T @ orthogonal(matrix[None])[0] @ right[:6].T
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-6


def test_it_fits_a_linear_map_and_its_bias() -> None:
    torch.manual_seed(0)
    truth = torch.nn.Linear(12, 10)
    network = torch.nn.Linear(12, 10)
    optimizer = Muon(network.parameters(), 0.05)
    x = torch.randn(256, 12)
    first = (network(x) - truth(x)).square().mean().item()
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
        loss = (network(x) - truth(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 1000


def test_the_first_update_has_adams_size() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(64, 64, 3, 3))
    weight.grad = torch.randn_like(weight)
    Muon([weight], 1e-3).step()
    assert 0.1e-3 < weight.square().mean().sqrt().item() < 0.3e-3


def test_a_colour_s_three_outputs_get_adam() -> None:
    weight = torch.nn.Parameter(torch.zeros(3, 16, 3, 3))
    weight.grad = torch.randn_like(weight)
    Muon([weight], 1e-3).step()
    torch.testing.assert_close(weight.data.abs(), torch.full_like(weight, 1e-3), rtol=1e-3, atol=0)


def test_its_state_can_be_saved() -> None:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(8, 9)) for _ in range(2)]
    optimizers = [Muon([weight], 1e-2) for weight in weights]
    weights[1].data.copy_(weights[0].data)
    gradients = torch.randn(3, 8, 9)
    for gradient in gradients[:2]:
        weights[0].grad = gradient.clone()
        optimizers[0].step()
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))  # tensors are shared otherwise
    weights[1].data.copy_(weights[0].data)
    for weight, optimizer in zip(weights, optimizers, strict=True):
        weight.grad = gradients[2].clone()
        optimizer.step()
    assert torch.equal(weights[0], weights[1])

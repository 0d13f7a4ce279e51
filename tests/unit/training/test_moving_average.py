import torch
from torch import nn

from training.moving_average import MovingAverage


def test_it_moves_towards_the_network() -> None:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = MovingAverage(network, decay=0.9)
    network.weight.data.fill_(1.0)
    average.follow(network, step=1_000)
    assert abs(average.network.weight.item() - 0.1) < 1e-6  # type: ignore[operator]


def test_a_young_average_forgets_its_start() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, decay=0.9999)
    network.weight.data.fill_(5.0)
    for step in range(1, 100):
        average.follow(network, step)
    assert abs(average.network.weight.item() - 5.0) < 1e-3  # type: ignore[operator]


def test_batch_norms_statistics_follow_too() -> None:
    network = nn.BatchNorm2d(2)
    average = MovingAverage(network, decay=0.5)
    network.train()(torch.randn(4, 2, 3, 3) + 7.0)
    for step in range(1, 50):
        average.follow(network, step)
    assert network.running_mean is not None
    torch.testing.assert_close(average.network.running_mean, network.running_mean)
    assert int(average.network.num_batches_tracked) == 1  # type: ignore[arg-type]


def test_it_is_at_rest() -> None:
    average = MovingAverage(nn.BatchNorm2d(2).train(), decay=0.5)
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())

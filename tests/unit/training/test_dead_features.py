from typing import cast

import torch
from torch import Tensor, nn

from sr_models.edsr import EDSR, ResidualBlock
from training.dead_features import revive_dead_features


def network_with_dead_features() -> tuple[EDSR, ResidualBlock]:
    torch.manual_seed(0)
    network = EDSR(2, blocks=2, features=8)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    block = cast(ResidualBlock, network.blocks[1])
    cast(Tensor, block.first.bias).data[[2, 5]] = -100.0
    return network, block


def examples() -> list[Tensor]:
    return [torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(s)) for s in range(3)]


def test_dead_features_live_again_and_nothing_changes() -> None:
    network, block = network_with_dead_features()
    x = examples()[0]
    before = network(x).detach()
    kept = block.first.weight.detach()[[0, 1, 3, 4, 6, 7]].clone()
    dead_before = revive_dead_features(network, examples())
    assert dead_before >= 2
    torch.testing.assert_close(network(x), before)
    assert torch.equal(block.first.weight[[0, 1, 3, 4, 6, 7]], kept) or dead_before > 2
    assert revive_dead_features(network, examples()) < dead_before


def test_the_revived_get_a_gradient() -> None:
    network, block = network_with_dead_features()
    revive_dead_features(network, examples())
    network(examples()[0]).square().mean().backward()
    assert block.second.weight.grad is not None
    assert block.second.weight.grad[:, [2, 5]].abs().sum() > 0


def test_a_network_in_good_health_is_left_alone() -> None:
    torch.manual_seed(0)
    network = EDSR(2, blocks=1, features=8)
    nn.init.ones_(cast(Tensor, cast(ResidualBlock, network.blocks[0]).first.bias))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert revive_dead_features(network, examples()) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())

"""Batch norm over CPU ranks. tests/engine/test_ranks.py has real ranks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmdino.models.layers import (
    CPUSyncBatchNorm,
    collectives,
    sync_batch_norm,
    synchronise_batch_norm,
)


@pytest.fixture
def _two_ranks(monkeypatch):
    """Pretends that the batches of two ranks, which are equal, are summed."""
    for module in (sync_batch_norm, collectives):
        monkeypatch.setattr(module, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))


def trained(layer, x):
    """Output, gradients and buffers after two steps in train mode."""
    x = x.clone().requires_grad_()
    layer.train()
    layer(x)
    output = layer(x)
    output.pow(3).sum().backward()
    gradients = [x.grad, *(parameter.grad for parameter in layer.parameters())]
    return output, gradients, dict(layer.named_buffers())


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 3, 2)])
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"eps": 0.1}],
    ids=str,
)
@pytest.mark.usefixtures("_two_ranks")
def test_equals_batch_norm_of_the_whole_batch(shape, options):
    torch.manual_seed(0)
    half = torch.randn(shape, dtype=torch.float64)
    whole = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    expected, gradients, buffers = trained(whole(4, **options).double(), torch.cat([half, half]))
    ours = synchronise_batch_norm(whole(4, **options).double())
    assert type(ours) is CPUSyncBatchNorm
    found, found_gradients, found_buffers = trained(ours, half)
    torch.testing.assert_close(found, expected[:5])
    torch.testing.assert_close(found_gradients[0], gradients[0][:5])
    for gradient, of_both in zip(found_gradients[1:], gradients[1:], strict=True):
        # The distributed wrapper adds up what the ranks have.
        torch.testing.assert_close(2 * gradient, of_both)
    torch.testing.assert_close(found_buffers, buffers)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("_two_ranks")
def test_half_precision_comes_out_as_it_went_in(dtype):
    torch.manual_seed(0)
    x = torch.randn(64, 4) + 100
    layer = CPUSyncBatchNorm(4)
    output = layer(x.to(dtype))
    assert output.dtype == dtype
    assert layer.running_mean.dtype == torch.float32
    torch.testing.assert_close(layer.running_mean, 0.1 * x.to(dtype).float().mean(0))


@pytest.mark.usefixtures("_two_ranks")
def test_evaluation_uses_the_running_statistics():
    torch.manual_seed(0)
    x, layer = torch.randn(6, 4), CPUSyncBatchNorm(4).eval()
    torch.testing.assert_close(layer(x), nn.BatchNorm1d(4).eval()(x))


def test_one_rank_is_plain_batch_norm():
    torch.manual_seed(0)
    x = torch.randn(6, 4, 2)
    assert torch.equal(CPUSyncBatchNorm(4)(x), nn.BatchNorm1d(4)(x))


def test_input_without_channels_is_refused():
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        CPUSyncBatchNorm(3)(torch.zeros(3))


@pytest.mark.parametrize(
    ("device", "layer"), [("cpu", CPUSyncBatchNorm), ("cuda", nn.SyncBatchNorm)]
)
def test_all_batch_norms_are_replaced_and_keep_their_tensors(monkeypatch, device, layer):
    monkeypatch.setattr(sync_batch_norm, "get_device", lambda: device)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=0.3), nn.Sequential(nn.BatchNorm2d(4).eval())
    )
    before = network.state_dict(keep_vars=True)
    assert synchronise_batch_norm(network) is network
    assert [type(network[1]), type(network[2][0])] == [layer, layer]
    assert (network[1].momentum, network[1].training, network[2][0].training) == (0.3, True, False)
    after = network.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is tensor for name, tensor in before.items())
    first = network[1]
    assert synchronise_batch_norm(network)[1] is first, "nothing is left to do"

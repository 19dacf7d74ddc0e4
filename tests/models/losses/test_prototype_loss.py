"""How many samples the losses over prototypes take at a time."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.models.layers import LazyLogits, numbers_at_once

MEBIBYTE = 2**20


def lazy(views, samples, prototypes, dtype=torch.float32, device="meta"):
    """Logits of a device that need no memory, as on an accelerator."""
    inputs = torch.empty(views, samples, 8, device=device)
    return LazyLogits(inputs, torch.empty(prototypes, 8, device=device), None, dtype)


def build(name, **options):
    return MODELS.build({"type": f"mmdino.{name}", "num_prototypes": 16, **options})


@pytest.mark.parametrize(("name", "on_cpu"), [("DINOLoss", 32), ("IBOTLoss", 64)])
def test_few_samples_are_taken_at_a_time_on_a_cpu_and_many_on_an_accelerator(name, on_cpu):
    loss = build(name)
    assert loss.samples_at_once(lazy(2, 5000, 16, device="cpu")) == on_cpu
    for views, prototypes in ((1, 65536), (10, 65536), (10, 4096)):
        samples = loss.samples_at_once(lazy(views, 5000, prototypes, torch.bfloat16))
        mebibytes = 4 * samples * views * prototypes / MEBIBYTE
        assert 240 < mebibytes <= 256


def test_float16_takes_no_more_than_its_range_allows():
    loss = build("DINOLoss")
    assert loss.samples_at_once(lazy(2, 5000, 1024, torch.float16)) == 256
    assert loss.samples_at_once(lazy(600, 5000, 1024, torch.float16)) == 1


@pytest.mark.parametrize(("chunk", "samples"), [(7, 7), (None, 5000)])
def test_a_number_holds_everywhere(chunk, samples):
    loss = build("DINOLoss", chunk=chunk)
    for device in ("cpu", "meta"):
        assert loss.samples_at_once(lazy(2, 5000, 16, device=device)) == samples


def test_blocks_are_those_of_a_cache_on_a_cpu_alone():
    assert numbers_at_once(torch.device("cpu"), 1000) == 1000
    assert numbers_at_once(torch.device("cuda"), 1000) == 64 * MEBIBYTE

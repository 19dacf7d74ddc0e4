"""The command line draws loss surfaces of classifiers, and continues where it stopped."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import tiny_tools
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from mmdino.diagnostics import landscape_run

TOOL = Path(__file__).parents[2] / "tools" / "landscape.py"
main = runpy.run_path(str(TOOL))["main"]
GRID = ["--points", "3", "--lines", "2", "--span", "0.5", "--images", "4", "--batch", "3"]
POINTS = 3 * 3 + 2 * 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images, the config of a classifier, two untrained checkpoints of it, and surfaces of both."""
    init_default_scope("mmpretrain")
    root = tmp_path_factory.mktemp("landscape")
    for label in ("cat", "dog"):
        for index in range(4):
            tiny_tools.write_image(root / "images" / label / f"{index}.png", seed=index)
    tiny_tools.write_configs(root)
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        model = MODELS.build(Config.fromfile(root / "finetune.py").model)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        torch.save({"state_dict": model.state_dict(), "meta": {}}, root / f"{name}.pth")
    run(root)
    return root


def run(root, *options, names=("first", "second"), out="out"):
    checkpoints = [str(root / f"{name}.pth") for name in names]
    config = str(root / "finetune.py")
    main([*checkpoints, config, "--out", str(root / out), *GRID, *map(str, options)])


def record(root, out="out"):
    return json.loads((root / out / "landscape.json").read_text())


def centre(network):
    """Loss and accuracy at the weights themselves, one for each line and for the plane."""
    middle = {"directions 0,1 steps 1,1", "directions 2 steps 1", "directions 3 steps 1"}
    return [network["points"][key] for key in sorted(middle)]


def test_points_fractions_and_figures(root):
    found = record(root)
    assert found["setting"]["images"] == 4
    assert found["setting"]["loss"]
    for network in found["networks"].values():
        assert len(network["points"]) == POINTS
        first, *others = centre(network)
        assert all(np.allclose(point, first) for point in others)
        assert len({loss for loss, _ in network["points"].values()}) > 3
        assert 0 < network["near_minimum"]["plane"] <= 1
        assert len(network["near_minimum"]["lines"]) == 2
        assert network["batch_norm"] == "none"
    assert {path.name for path in (root / "out").iterdir()} == {
        *("landscape.json", "lines.png", "contours.png", "surfaces.png")
    }


def test_a_killed_run_continues_with_the_next_point(root, monkeypatch, capsys):
    write, written = landscape_run.write_record, []

    def killed(path, content):
        write(path, content)
        written.append(path)
        if len(written) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(landscape_run, "write_record", killed)
    with pytest.raises(KeyboardInterrupt):
        run(root, out="killed")
    monkeypatch.setattr(landscape_run, "write_record", write)
    capsys.readouterr()
    run(root, out="killed")
    assert f"first: {POINTS} points, 7 of them are there, skipped" in capsys.readouterr().out
    assert record(root, "killed") == record(root)


def test_other_points_images_or_losses_need_another_folder(root):
    with pytest.raises(ValueError, match=r"has landscapes with seed=0; now it is seed=1"):
        run(root, "--seed", 1)
    with pytest.raises(ValueError, match="choose another folder with --out"):
        run(root, "--images", 6)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("model.data_preprocessor.mean=[0.,0.,0.]", "the options of the data preprocessor"),
        ("model.backbone.frozen_stages=1", "the trained parameters"),
    ],
)
def test_points_of_other_options_are_not_taken_over(root, capsys, option, named):
    line = ("--no-plane", "--lines", 1)
    out = f"changed_{named.split()[-1]}"
    run(root, *line, names=["first"], out=out)
    before = record(root, out)["networks"]["first"]
    run(root, *line, "--cfg-options", option, names=["first"], out=out)
    assert f"first: {named} differ from before" in capsys.readouterr().out
    after = record(root, out)["networks"]["first"]
    assert after["points"] != before["points"]
    assert after["sha256"] == before["sha256"]
    run(root, *line, "--cfg-options", option, names=["first"], out=out)
    assert "first: 3 points, 3 of them are there, skipped" in capsys.readouterr().out


def test_a_diverged_network_is_named_and_does_not_block_others(root, capsys):
    content = torch.load(root / "first.pth", weights_only=False)
    for tensor in content["state_dict"].values():
        tensor *= float("nan")
    torch.save(content, root / "diverged.pth")
    run(root, "--lines", 1, names=["diverged"], out="beside")
    named = "diverged, no finite loss on 1 line(s) and in the plane: the network may have diverged"
    assert named in capsys.readouterr().out
    found = record(root, "beside")["networks"]["diverged"]["near_minimum"]
    assert found == {"within": 0.5, "lines": [None], "plane": None}
    run(root, "--lines", 1, names=["first"], out="beside")
    assert "first, within 0.5 of the smallest loss: " in capsys.readouterr().out
    networks = record(root, "beside")["networks"]
    assert networks["diverged"]["near_minimum"] == found
    run(root, "--lines", 1, names=["diverged", "first"], out="beside")
    assert record(root, "beside")["networks"] == networks


def landscape_of(root, name, text):
    """A line of an untrained classifier whose config is ``text``."""
    (root / f"{name}.py").write_text(text)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(root / f"{name}.py").model)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    torch.save({"state_dict": model.state_dict(), "meta": {}}, root / f"{name}.pth")
    arguments = [str(root / f"{name}.pth"), str(root / f"{name}.py"), "--out", str(root / name)]
    main([*arguments, *GRID, "--no-plane", "--lines", "1"])
    return record(root, name)["networks"][name], model


def test_a_resnet_has_its_batch_norms_estimated_at_each_point(root):
    resnet = """
model = dict(
    backbone=dict(_delete_=True, type="mmdino.ResNet", depth=18, stem_channels=4, base_channels=4),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(in_channels=32),
)
"""
    found, _ = landscape_of(root, "resnet", f'_base_ = ["{root / "finetune.py"}"]{resnet}')
    assert found["batch_norm"] == "reestimated"
    assert len({loss for loss, _ in found["points"].values()}) == 3
    arguments = [str(root / "resnet.pth"), str(root / "resnet.py"), "--out", str(root / "single")]
    with pytest.raises(ValueError, match=r"a batch of images has only 1.*--batch-norm stored"):
        main([*arguments, *GRID, "--batch", "1"])


def test_of_a_linear_evaluation_the_probes_alone_move(root):
    found, model = landscape_of(root, "probes", f'_base_ = ["{root / "linear.py"}"]\n')
    assert found["moved"] == sum(probe.weight.numel() for probe in model.head.probes)
    losses = [loss for loss, _ in found["points"].values()]
    assert len(set(losses)) == 3
    # The sum over the probes, each of which is near that of a guess among two classes.
    assert min(losses) > len(model.head.probes) * 0.3


def test_networks_with_different_losses_are_not_compared(root):
    base = f'_base_ = ["{root / "finetune.py"}"]\n'
    loss = "model = dict(head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss')))\n"
    (root / "other.py").write_text(base + loss)
    with pytest.raises(ValueError, match="only compared with the same loss"):
        run(root, "--models", root / "finetune.py", root / "other.py", out="other")


def test_unlabelled_images_and_empty_folders_are_refused(root):
    options = "val_dataloader.dataset.with_label=False"
    with pytest.raises(ValueError, match="have no label, which a loss needs"):
        run(root, "--cfg-options", options, out="unlabelled")
    (root / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match="empty"):
        run(root, "--cfg-options", f"val_dataloader.dataset.data_root={root / 'empty'}", out="none")


def test_data_sets_within_others_are_read_without_augmentation(root):
    wrapper = """
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=1,
        dataset=_base_.val_dataloader.dataset,
    )
)
"""
    text = f'_base_ = ["{root / "finetune.py"}"]{wrapper}'
    landscape_of(root, "wrapped", text)
    plain = record(root)["setting"]["images_sha256"]
    assert record(root, "wrapped")["setting"]["images_sha256"] == plain

"""Every config of linear evaluation and fine-tuning says what it should, trains and validates."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import tiny_classification
import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from tiny_classification import CLASSES, DEPTH
from tiny_configs import read_config

from mmdino.models.layers.relative_position_bias import resize_table
from mmdino.models.preprocessors.multi_view_preprocessor import MultiViewPreprocessor

ROOT = Path(__file__).parents[2]
LINEAR = sorted((ROOT / "configs" / "linear").glob("*.py"))
FINETUNE = sorted((ROOT / "configs" / "finetune").glob("*.py"))
train = runpy.run_path(str(ROOT / "tools" / "train.py"))["main"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    tiny_classification.write_images(root, "train")
    return tiny_classification.write_images(root, "val")


class Weights(Hook):
    """Keeps the weights that training starts from."""

    def before_train(self, runner):
        self.start = {name: x.clone() for name, x in runner.model.state_dict().items()}


def run(cfg):
    """Trains; returns the runner, the weights it began with and those it ended with."""
    runner = Runner.from_cfg(cfg)
    weights = Weights()
    runner.register_hook(weights)
    runner.train()
    return runner, weights, runner.model.state_dict()


def scalar(runner, name):
    return runner.message_hub.get_scalar(f"val/{name}").current()


@pytest.mark.parametrize("path", LINEAR, ids=lambda path: path.stem)
def test_linear_trains_the_probes_alone_and_reports_the_best(path, images, tmp_path):
    runner, weights, end = run(tiny_classification.shrunk(path, images, tmp_path))
    moved = {name for name, tensor in end.items() if not torch.equal(tensor, weights.start[name])}
    assert moved == {name for name in end if name.startswith("head.probes.")}
    each = [scalar(runner, f"linear/lr{rate:g}_top1") for rate in runner.model.head.lrs]
    assert scalar(runner, "linear/top1") == max(each)


@pytest.mark.parametrize("path", FINETUNE, ids=lambda path: path.stem)
def test_finetuning_trains_all_from_a_small_classifier(path, images, tmp_path):
    runner, weights, end = run(tiny_classification.shrunk(path, images, tmp_path))
    assert all(parameter.requires_grad for parameter in runner.model.parameters())
    # One step of so small a classifier is too little to move every last weight of float32.
    moved = [not torch.equal(end[name], start) for name, start in weights.start.items()]
    assert sum(moved) / len(moved) > 0.9
    assert weights.start["head.fc.weight"].std().item() == pytest.approx(2e-5, rel=0.3)
    assert 0 <= scalar(runner, "accuracy/top1") <= scalar(runner, "accuracy/top5") <= 100


@pytest.mark.parametrize(
    "path", [path for path in LINEAR + FINETUNE if "pct" in path.stem], ids=lambda path: path.stem
)
def test_few_labels_are_a_fraction_of_each_class(path, images, tmp_path):
    assert read_config(path).train_dataloader.dataset.fraction == (
        0.01 if path.stem.endswith("_1pct") else 0.1
    )
    cfg = tiny_classification.shrunk(path, images, tmp_path)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    # The fraction of four images rounds to none, so one of each class is used.
    assert sorted(dataset.get_gt_labels()) == list(range(CLASSES))


def test_a_fixed_list_of_images_may_replace_a_fraction(images, tmp_path):
    path = ROOT / "configs" / "linear" / "vits16_imagenet_1pct.py"
    cfg = tiny_classification.shrunk(path, images, tmp_path)
    (images / "train" / "list.txt").write_text("class_0/0.png 0\nclass_5/3.png 5\n")
    cfg.train_dataloader.dataset.update(ann_file="list.txt", fraction=1.0)
    assert list(DATASETS.build(cfg.train_dataloader.dataset).get_gt_labels()) == [0, 5]


@pytest.mark.parametrize(
    ("name", "arch", "patch", "blocks", "mean_patch", "width"),
    [
        ("vits16_imagenet", "deit-small", 16, [8, 9, 10, 11], False, 4 * 384),
        ("vits8_imagenet", "deit-small", 8, [8, 9, 10, 11], False, 4 * 384),
        ("vitb16_imagenet", "deit-base", 16, [11], True, 2 * 768),
        ("vitb8_imagenet", "deit-base", 8, [11], True, 2 * 768),
        ("dinov2_vits14_imagenet", "vit-s", 14, [8, 9, 10, 11], True, 5 * 384),
        ("dinov3_vits16_imagenet", "vit-s", 16, [8, 9, 10, 11], True, 5 * 384),
    ],
)
def test_linear_configs_have_the_authors_features(name, arch, patch, blocks, mean_patch, width):
    cfg = read_config(ROOT / "configs" / "linear" / f"{name}.py")
    vit = cfg.model.backbone.backbone
    assert (vit.arch, vit.patch_size, vit.out_indices) == (arch, patch, blocks)
    assert vit.norm_outputs
    assert cfg.model.neck.get("mean_patch", False) == mean_patch
    assert (cfg.model.head.in_channels, cfg.model.head.num_classes) == (width, 1000)
    released = name.startswith("dinov")
    assert cfg.train_cfg.max_epochs == (10 if released else 100)
    assert cfg.optim_wrapper.optimizer == {"type": "SGD", "momentum": 0.9, "weight_decay": 0.0}
    # An output of all tokens would count registers as patches.
    assert vit.out_type == "features"
    assert cfg.auto_scale_lr == {"enable": True, "base_batch_size": 256}


def test_no_two_configs_write_to_one_place():
    places = [read_config(path).work_dir for path in LINEAR + FINETUNE]
    assert places == [f"work_dirs/{path.parent.stem}_{path.stem}" for path in LINEAR + FINETUNE]


def test_images_are_normalised_as_in_the_pretraining():
    cfg = read_config(ROOT / "configs" / "linear" / "vits16_imagenet.py")
    ours = MODELS.build({"type": "ClsDataPreprocessor", **cfg.model.data_preprocessor})
    batch = {"inputs": torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)}
    assert torch.equal(ours(batch)["inputs"], MultiViewPreprocessor()(batch)["inputs"])


@pytest.mark.parametrize(
    ("name", "knob"),
    [("linear", "model.backbone.backbone.init_cfg"), ("finetune", "model.backbone.init_cfg")],
)
def test_the_command_line_names_the_checkpoint_or_none(name, knob, images, tmp_path):
    source = ROOT / "configs" / name / "demo.py"
    model = tiny_classification.shrunk(source, images, tmp_path).model.backbone
    backbone = MODELS.build(model.get("backbone", model))
    backbone.init_weights()
    state = {f"teacher.backbone.{key}": x for key, x in backbone.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "dino.pth")
    config = str(tmp_path / "config.json")
    tiny_classification.shrunk(source, images, tmp_path, "nowhere.pth").dump(config)

    def start_of(option):
        # Runs of one name within a second would share mmengine's message hub.
        name = f"experiment_name={tmp_path.name}-{option.partition('=')[0]}"
        train([config, "--work-dir", str(tmp_path / "run"), "--cfg-options", option, name])
        return torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=False)["state_dict"]

    loaded = start_of(f"{knob}.checkpoint={tmp_path / 'dino.pth'}")
    prefix = knob.removeprefix("model.").removesuffix("init_cfg")
    same = torch.equal(loaded[f"{prefix}pos_embed"], backbone.pos_embed)
    # Fine-tuning moves what was loaded, by little.
    assert same or name == "finetune"
    torch.testing.assert_close(loaded[f"{prefix}pos_embed"], backbone.pos_embed, rtol=0, atol=0.01)
    fresh = start_of(f"{knob}=None")
    assert (fresh[f"{prefix}pos_embed"] - backbone.pos_embed).abs().max() > 0.01
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        train([config, "--work-dir", str(tmp_path / "run")])


def test_each_block_starts_from_the_table_that_the_students_blocks_shared(images, tmp_path):
    """By the command line: of a student of 3 x 3 patches, fine-tuned on 4 x 4."""
    source = ROOT / "configs" / "finetune" / "distill_demo.py"
    cfg = tiny_classification.shrunk(source, images, tmp_path, tmp_path / "student.pth")
    shared = {**cfg.model.backbone, "position_encoding_per_block": False, "init_cfg": None}
    shared["position_encoding"] = {**shared["position_encoding"], "grid": 3}
    student = MODELS.build({**shared, "final_norm": True})
    table = student.position_encoding.table.data.normal_(generator=torch.manual_seed(0))
    state = {f"backbone.{name}": tensor for name, tensor in student.state_dict().items()}
    state["projectors.0.weight"] = torch.zeros(2, 2)
    torch.save({"state_dict": state}, tmp_path / "student.pth")
    cfg.dump(tmp_path / "config.json")
    rate = "optim_wrapper.optimizer.lr=1e-30"
    train(
        [str(tmp_path / "config.json"), "--work-dir", str(tmp_path / "run"), "--cfg-options", rate]
    )
    end = torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=False)["state_dict"]
    expected = resize_table(table, (3, 3), (4, 4))
    for block in range(DEPTH):
        assert torch.equal(end[f"backbone.layers.{block}.position_encoding.table"], expected)
    assert torch.equal(
        end["backbone.layers.1.attn.qkv.weight"], state["backbone.layers.1.attn.qkv.weight"]
    )
    assert "backbone.position_encoding.table" not in end


def test_a_head_of_another_number_of_classes_is_refused(images, tmp_path):
    path = ROOT / "configs" / "linear" / "vits16_imagenet.py"
    cfg = tiny_classification.shrunk(path, images, tmp_path)
    cfg.model.head.num_classes = 1000
    with pytest.raises(ValueError, match=rf"{CLASSES} classes.*model.head.num_classes=1000"):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize("counts", [1, 2])
def test_rates_fall_from_the_head_to_the_embeddings(counts, images, tmp_path):
    path = ROOT / "configs" / "finetune" / "vits16_imagenet.py"
    cfg = tiny_classification.shrunk(path, images, tmp_path)
    cfg.optim_wrapper.accumulative_counts = counts
    runner = Runner.from_cfg(cfg)
    wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.scale_lr(wrapper, cfg.auto_scale_lr)
    peak = 0.0005 * 8 * counts / 512
    groups = wrapper.optimizer.param_groups
    rates = {group["param_name"]: group["lr"] for group in groups}
    assert groups[0]["lr"] == pytest.approx(peak)
    for layer in range(DEPTH):
        expected = peak * 0.75 ** (DEPTH - layer)
        assert rates[f"backbone.layers.{layer}.attn.qkv.weight"] == pytest.approx(expected)
    for name in ("head.fc.weight", "backbone.ln1.weight"):
        assert rates[name] == pytest.approx(peak)
    for name in ("backbone.pos_embed", "backbone.patch_embed.projection.weight"):
        assert rates[name] == pytest.approx(peak * 0.75 ** (DEPTH + 1))


def test_only_matrices_are_decayed_in_finetuning(images, tmp_path):
    path = ROOT / "configs" / "finetune" / "vits16_imagenet.py"
    runner = Runner.from_cfg(tiny_classification.shrunk(path, images, tmp_path))
    wrapper = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    for group in wrapper.optimizer.param_groups:
        (parameter,) = group["params"]
        name = group["param_name"]
        decayed = parameter.ndim > 1 and not name.endswith(("cls_token", "pos_embed"))
        assert group["weight_decay"] == (0.05 if decayed else 0.0), name

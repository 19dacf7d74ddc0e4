"""Every config of segmentation trains, validates and is tested in a sliding window."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import tiny_run
import tiny_segmentation
import torch
from mmengine.hooks import Hook
from mmengine.registry import METRICS, MODELS, DefaultScope
from mmengine.runner import Runner
from script_process import run_script
from tiny_configs import read_config
from torch.nn import functional

if tiny_segmentation.MMCV_LITE:
    pytest.skip("mmcv-lite has no compiled operators", allow_module_level=True)

ROOT = Path(__file__).parents[2] / "configs"
ADE20K = sorted((ROOT / "ade20k").glob("*.py"))
CAMVID = sorted((ROOT / "camvid").glob("*.py"))
LINEAR = ROOT / "ade20k" / "vits16_linear_ade20k.py"
UPERNET = ROOT / "ade20k" / "vits16_upernet_ade20k.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders in the layout of each data set, 0 ("other") of ADE20K and 11 of CamVid included."""
    root = tmp_path_factory.mktemp("data")
    return {
        "ade20k": tiny_segmentation.write_folder(root / "ade20k", [0, 1, 2, 75, 150]),
        "camvid": tiny_segmentation.write_folder(root / "camvid", [0, 4, 10, 11]),
    }


class Start(Hook):
    """Keeps the weights that training starts from."""

    def before_train(self, runner):
        self.weights = {name: x.clone() for name, x in runner.model.state_dict().items()}


@pytest.mark.parametrize("path", ADE20K + CAMVID, ids=lambda path: path.stem)
def test_trains_validates_and_tests(path, data, tmp_path):
    cfg = tiny_segmentation.shrunk(path, data[path.parent.name], tmp_path)
    runner = Runner.from_cfg(cfg)
    start = Start()
    runner.register_hook(start)
    runner.train()
    validated = runner.message_hub.get_scalar("val/mIoU").current()
    tested = runner.test()
    assert tested["mIoU"] == pytest.approx(validated)
    assert (tmp_path / "iter_2.pth").is_file()
    end = runner.model.state_dict()
    moved = {name for name in end if not torch.equal(start.weights[name], end[name])}
    learning = {name for name, value in runner.model.named_parameters() if value.requires_grad}
    # A parameter that gets no gradient would stop distributed training.
    assert learning <= moved
    if "linear" in path.stem:
        assert learning == {"decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}
        assert not any(name.startswith("backbone.") for name in moved)
    else:
        assert any(name.startswith("backbone.") for name in learning)


@pytest.mark.parametrize("path", [*ADE20K, *CAMVID], ids=lambda path: path.stem)
def test_the_last_schedule_ends_with_a_run_of_any_length(path):
    assert "end" not in read_config(path).param_scheduler[-1]


@pytest.mark.parametrize("path", ADE20K, ids=lambda path: path.stem)
def test_ade20k_follows_the_common_protocol(path):
    cfg = read_config(path)
    iters = 40000 if path.stem.startswith("dinov") else 160000
    assert cfg.train_cfg.max_iters == iters
    assert 8 * cfg.train_dataloader.batch_size == 16
    assert cfg.model.decode_head.num_classes == 150
    side, stride = (518, 345) if path.stem.startswith("dinov2") else (512, 341)
    window = {"crop_size": (side, side), "stride": (stride, stride)}
    assert cfg.model.test_cfg == {"mode": "slide", **window}
    (crop,) = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == "RandomCrop"]
    assert crop.crop_size == cfg.model.data_preprocessor.size == (side, side)
    assert cfg.test_dataloader == cfg.val_dataloader


@pytest.mark.parametrize("path", ADE20K + CAMVID, ids=lambda path: path.stem)
def test_networks_build_at_their_real_size(path):
    """Widths and indices of backbone, neck and heads fit each other in the config itself."""
    cfg = read_config(path)
    # A ResNet reads its stochastic depth from tensors, which have no values on "meta".
    device = "cpu" if path.stem.startswith("resnet") else "meta"
    with DefaultScope.overwrite_default_scope("mmseg"), torch.device(device):
        model = MODELS.build(cfg.model).to("meta").eval()
    logits = model(torch.zeros(1, 3, *cfg.model.test_cfg.crop_size, device="meta"))
    assert logits.shape[1] == cfg.model.decode_head.num_classes


def test_images_lower_than_the_window_are_padded_and_cut_again(tmp_path):
    """40 x 100 becomes 51 x 128, which patches of 16 do not divide, and is predicted whole."""
    root = tiny_segmentation.write_folder(tmp_path / "data", [1, 2], size=(40, 100))
    cfg = tiny_segmentation.shrunk(LINEAR, root, tmp_path)
    runner = Runner.from_cfg(cfg)
    batch = next(iter(runner.build_dataloader(cfg.test_dataloader)))
    assert batch["inputs"][0].shape == (3, 51, 128)
    (sample,) = runner.model.test_step(batch)
    assert sample.pred_sem_seg.data.shape == (1, 40, 100)


def test_class_count_of_another_data_set_is_refused(data, tmp_path):
    cfg = tiny_segmentation.shrunk(UPERNET, data["ade20k"], tmp_path)
    cfg.model.decode_head.num_classes = 19
    runner = Runner.from_cfg(cfg)
    message = r"ADE20KDataset\) has 150 classes, but .*model.decode_head.num_classes=19. Set"
    with pytest.raises(ValueError, match=message):
        runner.train()


@pytest.mark.parametrize(
    ("path", "unknown", "allowed"), [(LINEAR, 151, "1 to 150"), (CAMVID[0], 12, "0 to 10")]
)
def test_mask_with_unknown_ids_is_refused(path, unknown, allowed, tmp_path):
    root = tiny_segmentation.write_folder(tmp_path / "data", [1, 2, unknown])
    cfg = tiny_segmentation.shrunk(path, root, tmp_path)
    with pytest.raises(ValueError, match=rf"[01].png has unknown ids: {unknown}. .*{allowed}"):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize("path", [LINEAR, UPERNET], ids=lambda path: path.stem)
def test_loss_that_is_not_finite_stops_the_run(path, data, tmp_path):
    cfg = tiny_segmentation.shrunk(path, data["ade20k"], tmp_path)
    cfg.optim_wrapper.optimizer.lr = float("inf")
    with pytest.raises(ValueError, match="The loss is nan at iteration 2") as caught:
        Runner.from_cfg(cfg).train()
    assert str(data["ade20k"] / "images" / "training") in str(caught.value)


def test_unlabelled_pixels_of_camvid_count_nowhere(tmp_path):
    """Neither in the loss and its gradient, nor in the metric."""
    root = tiny_segmentation.write_folder(tmp_path / "data", [0, 4, 11])
    cfg = tiny_segmentation.shrunk(CAMVID[0], root, tmp_path)
    runner = Runner.from_cfg(cfg)
    sample = runner.build_dataloader(cfg.test_dataloader).dataset[0]["data_samples"]
    ids = torch.from_numpy(
        cv2.imread(str(root / "annotations" / "validation" / "0.png"), cv2.IMREAD_UNCHANGED)
    )
    unlabelled = ids == 11
    assert unlabelled.any()
    truth = sample.gt_sem_seg.data[0]
    assert torch.equal(truth == 255, unlabelled)
    assert torch.equal(truth[~unlabelled], ids[~unlabelled].to(truth))

    logits = torch.randn(1, 11, *ids.shape, requires_grad=True)
    loss = runner.model.decode_head.loss_by_feat(logits, [sample])["loss_ce"]
    loss.backward()
    assert not logits.grad[..., unlabelled].any()
    assert logits.grad[..., ~unlabelled].any()
    expected = functional.cross_entropy(logits[..., ~unlabelled], truth[None, ~unlabelled].long())
    torch.testing.assert_close(loss, expected)

    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = {"classes": cfg.test_dataloader.dataset.metainfo.classes}
    wrong_where_unlabelled = torch.where(unlabelled, 3, truth)
    prediction = {"pred_sem_seg": {"data": wrong_where_unlabelled[None]}}
    metric.process({}, [prediction | {"gt_sem_seg": {"data": truth[None]}}])
    assert metric.compute_metrics(metric.results)["mIoU"] == 100


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of DINO whose teacher is not its student, with a backbone of the tiny runs."""
    path = tmp_path_factory.mktemp("dino") / "epoch_1.pth"
    model = tiny_run.vit_model()
    cfg = tiny_segmentation.shrunk(LINEAR, "", "")
    model["backbone"] = {**cfg.model.backbone.backbone, "out_type": "cls_token"}
    model["backbone"].pop("out_indices")
    model["head"]["in_channels"] = tiny_segmentation.WIDTH
    dino = MODELS.build(model)
    for parameter in dino.teacher.parameters():
        parameter.data += 1
    torch.save({"state_dict": dino.state_dict(), "meta": {}}, path)
    return path


@pytest.mark.parametrize("path", [LINEAR, UPERNET], ids=lambda path: path.stem)
@pytest.mark.parametrize("prefix", [None, "teacher.backbone.", "backbone."])
def test_backbone_starts_from_the_checkpoint(path, prefix, data, checkpoint, tmp_path):
    cfg = tiny_segmentation.shrunk(path, data["ade20k"], tmp_path)
    init_cfg = {"type": "Pretrained", "checkpoint": str(checkpoint)}
    tiny_segmentation.vit_of(cfg.model).init_cfg = init_cfg | ({"prefix": prefix} if prefix else {})
    runner = Runner.from_cfg(cfg)
    start = Start()
    runner.register_hook(start)
    runner.train()
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    expected = weights[f"{prefix or 'teacher.backbone.'}layers.0.attn.qkv.weight"]
    place = "backbone.backbone" if path == LINEAR else "backbone"
    assert torch.equal(start.weights[f"{place}.layers.0.attn.qkv.weight"], expected)


def test_prefix_that_matches_nothing_is_refused(data, checkpoint, tmp_path):
    cfg = tiny_segmentation.shrunk(LINEAR, data["ade20k"], tmp_path)
    cfg.model.backbone.backbone.init_cfg = {
        "type": "Pretrained",
        "checkpoint": str(checkpoint),
        "prefix": "encoder.",
    }
    with pytest.raises(ValueError, match=r"encoder\."):
        Runner.from_cfg(cfg).train()


def test_checkpoint_of_another_network_is_refused(data, checkpoint, tmp_path):
    cfg = tiny_segmentation.shrunk(LINEAR, data["ade20k"], tmp_path)
    cfg.model.backbone.backbone.update(
        patch_size=8, init_cfg={"type": "Pretrained", "checkpoint": str(checkpoint)}
    )
    with pytest.raises(ValueError, match="patch_embed"):
        Runner.from_cfg(cfg).train()


@pytest.mark.slow
def test_backbone_starts_from_the_checkpoint_on_every_rank(data, checkpoint, tmp_path):
    arguments = (UPERNET, data["ade20k"], checkpoint, tmp_path)
    run_script("segment_on_two_ranks.py", *arguments)
    expected = torch.load(checkpoint, weights_only=True)["state_dict"]
    for rank in (0, 1):
        start = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        for name in (name for name in start if name.startswith("backbone.")):
            assert torch.equal(start[name], expected[f"teacher.{name}"]), name
    ends = [torch.load(tmp_path / f"end_{rank}.pth", weights_only=True) for rank in (0, 1)]
    for name, _ in ends[0].items():
        if not name.endswith(("running_mean", "running_var")):
            assert torch.equal(ends[0][name], ends[1][name]), name

"""Methods of mmpretrain, small enough for a test, with the runtime of this project."""

from __future__ import annotations

import tiny_run

HOOKS = [
    {"type": f"mmdino.{name}"}
    for name in (
        "IterationSeedHook",
        "ThroughputHook",
        "FiniteLossHook",
        "CollapseMonitorHook",
        "FeatureDropHook",
        "TrainingFigureHook",
    )
]
PREPROCESSOR = {"type": "SelfSupDataPreprocessor", "mean": [0.0] * 3, "std": [1.0] * 3}


def neck(in_channels, out_channels=16, **options):
    """Config of an MLP with batch norm."""
    return {
        "type": "NonLinearNeck",
        "in_channels": in_channels,
        "hid_channels": 16,
        "out_channels": out_channels,
        "norm_cfg": {"type": "BN1d"},
        **options,
    }


def simsiam():
    """Config of SimSiam with a narrow ResNet-18."""
    return {
        "type": "SimSiam",
        "data_preprocessor": PREPROCESSOR,
        "backbone": tiny_run.resnet_model()["backbone"],
        "neck": neck(64, with_avg_pool=True),
        "head": {
            "type": "LatentPredictHead",
            "loss": {"type": "CosineSimilarityLoss"},
            "predictor": neck(16, with_avg_pool=False, with_last_bn=False),
        },
    }


def mae():
    """Config of MAE with a ViT of width 12."""
    return {
        "type": "MAE",
        "data_preprocessor": PREPROCESSOR,
        "backbone": {
            "type": "MAEViT",
            "arch": tiny_run.ARCH,
            "img_size": 32,
            "patch_size": 8,
            "mask_ratio": 0.5,
        },
        "neck": {
            "type": "MAEPretrainDecoder",
            "num_patches": 16,
            "patch_size": 8,
            "embed_dim": 12,
            "decoder_embed_dim": 12,
            "decoder_depth": 1,
            "decoder_num_heads": 2,
        },
        "head": {
            "type": "MAEPretrainHead",
            "patch_size": 8,
            "loss": {"type": "PixelReconstructionLoss", "criterion": "L2"},
        },
    }


def build(work_dir, name, **options):
    """Builds the Runner of "simsiam" or "mae", which trains and is validated by k-NN."""
    model, dataset = {
        "simsiam": (simsiam, tiny_run.RandomViews(view_sizes=(32, 32))),
        "mae": (mae, tiny_run.LabelledImages(12, with_label=False)),
    }[name]
    return tiny_run.build(
        work_dir,
        **{
            "model": model(),
            "dataset": dataset,
            "custom_hooks": HOOKS,
            **tiny_run.validation(),
            **options,
        },
    )

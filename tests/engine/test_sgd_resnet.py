"""ResNet-50 with SGD and a freeze: a run equals steps written by hand in plain torch."""

from __future__ import annotations

import copy

import tiny_run
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

LR, DECAY, MOMENTUM, CLIP = 0.05, 1e-3, 0.9, 0.3
STUDENT_TEMP, TEACHER_TEMP, CENTER_MOMENTUM, EMA = 0.1, 0.04, 0.9, 0.9
EPOCHS, ITERATIONS, BATCH = 3, 2, 4


def model_cfg():
    """A ResNet-50 of an eighth of the width, batch norm in backbone and head."""
    cfg = tiny_run.resnet_model()
    cfg["backbone"] |= {"depth": 50}
    cfg["head"] |= {"in_channels": 256}
    return cfg


class GivenViews(tiny_run.RandomViews):
    """The same views in every epoch."""

    def __getitem__(self, index):
        return super().__getitem__(int(index))


def by_hand(model, batches):
    """Trains student, teacher and centre; returns the losses and the centre."""
    student = torch.nn.ModuleDict(
        {"backbone": model.backbone, "neck": model.neck, "head": model.head}
    )
    teacher = model.teacher
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=LR,
        momentum=MOMENTUM,
    )
    center = torch.zeros(1, 32, dtype=torch.float64)
    losses = []
    for iteration, views in enumerate(batches):

        def logits(network, crops):
            sizes = sorted({crop.shape[-1] for crop in crops}, reverse=True)
            features = [
                network["neck"](
                    network["backbone"](torch.cat([c for c in crops if c.shape[-1] == size]))
                )[-1]
                for size in sizes
            ]
            return network["head"](torch.cat(features)).view(len(crops), BATCH, -1)

        with torch.no_grad():
            teacher_logits = logits(teacher, views[:2])
            targets = ((teacher_logits - center) / TEACHER_TEMP).softmax(-1)
        log_probs = functional.log_softmax(logits(student, views) / STUDENT_TEMP, -1)
        pairs = [(t, s) for t in range(2) for s in range(len(views)) if t != s]
        loss = sum(-(targets[t] * log_probs[s]).sum(-1).mean() for t, s in pairs) / len(pairs)
        optimizer.zero_grad()
        loss.backward()
        for parameter in trained:
            norm = parameter.grad.norm()
            if norm > CLIP:
                parameter.grad *= CLIP / (norm + 1e-6)
        if iteration < ITERATIONS:
            model.head.last_layer.weight_v.grad = None
        optimizer.step()
        momentum = (
            1
            - (1 - EMA)
            * (
                torch.cos(
                    torch.tensor(torch.pi * iteration / (EPOCHS * ITERATIONS), dtype=torch.float64)
                )
                + 1
            )
            / 2
        )
        with torch.no_grad():
            for kept, new in zip(teacher.parameters(), student.parameters(), strict=True):
                kept.mul_(momentum).add_((1 - momentum) * new)
            mean = teacher_logits.mean((0, 1))
            center = CENTER_MOMENTUM * center + (1 - CENTER_MOMENTUM) * mean
        losses.append(loss.item())
    return losses, center


def test_a_run_equals_steps_by_hand(tmp_path):
    dataset = GivenViews(ITERATIONS * BATCH, torch.float64)
    runner = tiny_run.build(
        tmp_path,
        model=model_cfg(),
        dataset=dataset,
        batch_size=BATCH,
        epochs=EPOCHS,
        wrapper={
            "optimizer": {
                "type": "SGD",
                "lr": LR,
                "momentum": MOMENTUM,
                "weight_decay": DECAY,
            },
            "clip_grad": {"type": "per_tensor", "max_norm": CLIP},
        },
        param_scheduler=None,
        custom_hooks=tiny_run.hooks(
            EMATeacherHook={"momentum": EMA},
            TeacherTempWarmupHook=None,
            LastLayerFreezeHook={"epochs": 1},
        ),
    )
    runner._train_dataloader["sampler"]["shuffle"] = False
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    runner.model.double()
    runner.model.init_weights()
    twin = copy.deepcopy(runner.model).train()
    runner._has_loaded = True  # keeps train() from initialising again
    runner.train()

    loader = DataLoader(dataset, BATCH, collate_fn=lambda samples: [s["inputs"] for s in samples])
    epoch = [[torch.stack(view) for view in zip(*images, strict=True)] for images in loader]
    losses, center = by_hand(twin, epoch * EPOCHS)
    torch.testing.assert_close(
        torch.tensor(recorder.column("loss"), dtype=torch.float64),
        torch.tensor(losses, dtype=torch.float64),
        rtol=0,
        atol=1e-9,
    )
    torch.testing.assert_close(runner.model.dino_loss.center.double(), center, rtol=0, atol=1e-9)
    expected = twin.state_dict()
    compared = [name for name in expected if name != "dino_loss.center"]
    assert sum(name.endswith("running_var") for name in compared) > 100
    for name in compared:
        found = runner.model.state_dict()[name]
        torch.testing.assert_close(found, expected[name], rtol=0, atol=1e-9, msg=name)

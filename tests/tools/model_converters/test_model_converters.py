"""The converters' command lines: what they print, write and refuse."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path

import pytest
import tiny_weights
import torch
from script_process import run_script
from transformers import ViTModel

from mmdino.evaluation.features import feature_of
from mmdino.weights.files import read_checkpoint, write_tensors
from mmdino.weights.networks import load_backbone

TOOLS = Path(__file__).parents[3] / "tools" / "model_converters"
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def convert():
    return runpy.run_path(str(TOOLS / "convert.py"))["main"]


@pytest.fixture(scope="module")
def extract():
    return runpy.run_path(str(TOOLS / "extract.py"))["main"]


@pytest.fixture(scope="module")
def export_onnx():
    return runpy.run_path(str(TOOLS / "export_onnx.py"))["main"]


@pytest.fixture(scope="module")
def model():
    return tiny_weights.dino(use_bn=True)


@pytest.fixture
def checkpoint(tmp_path, model):
    path = tmp_path / "epoch_2.pth"
    cfg = tiny_weights.tiny_run.vit_model()
    cfg["head"]["use_bn"] = True
    return str(tiny_weights.save_training_checkpoint(path, model, cfg))


@pytest.fixture
def vit_file(tmp_path):
    """A tensor file of a ViT that does not say its heads, and a way to spoil it."""

    def write(missing=(), **more):
        state = tiny_weights.vit().state_dict() | more
        for name in missing:
            del state[name]
        write_tensors(tmp_path / "vit.pth", state)
        return str(tmp_path / "vit.pth")

    return write


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("tool", ["convert", "extract", "export_onnx", "full"])
def test_weights_that_are_not_finite_are_refused(tmp_path, request, model, tool, value):
    spoilt = copy.deepcopy(model)
    for network in (spoilt.backbone, spoilt.teacher["backbone"]):
        network.ln1.bias.data[0] = float(value)
    source = str(tiny_weights.save_training_checkpoint(tmp_path / "a.pth", spoilt))
    target = str(tmp_path / ("out.onnx" if tool == "export_onnx" else "out.pth"))
    options = {"convert": ["--to", "authors"], "full": ["--to", "authors", "--full"]}
    main = request.getfixturevalue("convert" if tool == "full" else tool)
    with pytest.raises(ValueError, match=r"a\.pth are not finite: \d tensor\(s\) .*ln1\.bias"):
        main([source, target, *options.get(tool, [])])
    assert not Path(target).exists()


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_extract(tmp_path, capsys, extract, model, checkpoint, network):
    target = str(tmp_path / "out.safetensors")
    extract([checkpoint, target, "--network", network, "--check"])
    printed = capsys.readouterr().out
    assert f"the {network} in a checkpoint of mmdino" in printed
    assert "2 heads (from the file)" in printed
    assert "30 of 30 tensors matched\n" in printed
    assert "features differ by" in printed
    features = feature_of(load_backbone(target, network), IMAGES)
    torch.testing.assert_close(features, model.extract_feat(IMAGES, network))


def test_extract_as_a_user_runs_it(tmp_path, checkpoint):
    target = tmp_path / "teacher.pth"
    ended = run_script(TOOLS / "extract.py", checkpoint, target, cwd=TOOLS.parents[1])
    assert "30 of 30 tensors matched" in ended.stdout
    assert load_backbone(target).embed_dims == 12


def test_convert_there_and_back(tmp_path, capsys, convert, model, checkpoint):
    """mmdino to the authors to timm to Hugging Face to mmdino, each checked on the way."""
    stations = [
        ("authors", tmp_path / "authors.pth"),
        ("timm", tmp_path / "timm.safetensors"),
        ("huggingface", tmp_path / "hf"),
        ("mmdino", tmp_path / "mmdino.pth"),
    ]
    source = checkpoint
    for project, target in stations:
        convert([source, str(target), "--to", project, "--check", "--num-heads", "2"])
        printed = capsys.readouterr().out
        assert "30 of 30 tensors matched\n" in printed
        assert "checked on a random input" in printed
        source = str(target)
    features = feature_of(load_backbone(source), IMAGES)
    torch.testing.assert_close(features, model.extract_feat(IMAGES))
    huggingface = ViTModel.from_pretrained(tmp_path / "hf", add_pooling_layer=False)
    with torch.no_grad():
        token = huggingface(IMAGES).last_hidden_state[:, 0]
    torch.testing.assert_close(token, features, rtol=0, atol=1e-5)


def test_convert_full_files(tmp_path, capsys, convert, model, checkpoint):
    full, back = str(tmp_path / "full.pth"), str(tmp_path / "back.pth")
    convert([checkpoint, full, "--to", "authors", "--full", "--check"])
    convert([full, back, "--to", "mmdino", "--full", "--check", "--num-heads", "2"])
    printed = capsys.readouterr().out
    assert printed.count(f"{len(model.state_dict())} of {len(model.state_dict())} tensors") == 2
    assert printed.count("features, logits and centre differ by") == 2
    state = read_checkpoint(back)["state_dict"]
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_tensors_beside_the_backbone_are_named_and_left_out(tmp_path, capsys, convert, vit_file):
    source = vit_file(**{"head.weight": torch.zeros(3, 12)})
    convert([source, str(tmp_path / "out.pth"), "--to", "authors", "--num-heads", "2"])
    assert "left out: head.weight" in capsys.readouterr().out
    assert "head.weight" not in read_checkpoint(tmp_path / "out.pth")


@pytest.mark.parametrize("tool", ["convert", "extract"])
def test_missing_tensors(tmp_path, capsys, request, vit_file, tool):
    main = request.getfixturevalue(tool)
    target = tmp_path / "out.pth"
    arguments = [vit_file(["ln1.bias"]), str(target), "--num-heads", "2"]
    arguments += ["--to", "mmdino"] if tool == "convert" else []
    with pytest.raises(ValueError, match=r"29 of 30 tensors matched; 1 missing: ln1\.bias"):
        main(arguments)
    with pytest.raises(ValueError, match="--check runs the whole network"):
        main([*arguments, "--allow-missing", "--check"])
    assert not target.exists()
    main([*arguments, "--allow-missing"])
    assert "1 missing: ln1.bias" in capsys.readouterr().out
    assert len(read_checkpoint(target)["state_dict"]) == 29


def test_a_grid_that_is_not_square_is_noted(tmp_path, capsys, convert):
    vit = tiny_weights.vit(img_size=(32, 128))
    config = {**tiny_weights.VIT, "img_size": [32, 128], "patch_size": 8}
    source = tmp_path / "vit.pth"
    write_tensors(source, vit.state_dict(), {"backbone": json.dumps(config)})
    convert([str(source), str(tmp_path / "out.pth"), "--to", "timm"])
    assert "note: the file does not say that its positions are of 4 x 16" in capsys.readouterr().out


@pytest.mark.parametrize("tool", ["convert", "extract"])
def test_unexpected_tensors(tmp_path, capsys, request, vit_file, tool):
    main = request.getfixturevalue(tool)
    source, target = vit_file(gamma=torch.zeros(12)), tmp_path / "out.pth"
    arguments = [source, str(target), "--num-heads", "2"]
    arguments += ["--to", "authors"] if tool == "convert" else []
    with pytest.raises(ValueError, match=r"1 unexpected: gamma.*--allow-unexpected drops"):
        main(arguments)
    assert not target.exists()
    main([*arguments, "--allow-unexpected", "--check"])
    assert "1 unexpected: gamma" in capsys.readouterr().out
    written = read_checkpoint(target)
    assert "gamma" not in written.get("state_dict", written)


def test_a_failed_check_writes_nothing(tmp_path, convert, vit_file, monkeypatch):
    monkeypatch.setattr("converters.checks.TOLERANCE", -1.0)
    source = vit_file()
    with pytest.raises(ValueError, match="The check failed, nothing was written"):
        convert(
            [source, str(tmp_path / "out.pth"), "--to", "authors", "--num-heads", "2", "--check"]
        )
    assert [path.name for path in tmp_path.iterdir()] == ["vit.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vit.pth", "--to", "mmdino"], "is the source too"),
        (["out.txt", "--to", "mmdino"], r"ending in \.pth or \.safetensors"),
        (["out.pth", "--to", "huggingface"], "expected a folder"),
        (["out.pth", "--to", "authors", "--full"], "holds no student and teacher"),
        (["out.pth", "--to", "authors", "--full", "--network", "student"], "leave out --network"),
        (["out.pth", "--to", "mmdino", "--prefix", "encoder."], "No tensor of .* begins with"),
        (["out.pth", "--to", "mmdino", "--network", "student"], "no student"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, monkeypatch, convert, vit_file, arguments, message):
    vit_file()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        convert(["vit.pth", *arguments, "--num-heads", "2"])
    assert [path.name for path in tmp_path.iterdir()] == ["vit.pth"]


def test_a_source_that_is_not_there(tmp_path, convert, extract, export_onnx):
    absent = str(tmp_path / "absent.pth")
    for main, arguments in (
        (convert, ["out.pth", "--to", "mmdino"]),
        (extract, ["out.pth"]),
        (export_onnx, ["out.onnx"]),
    ):
        with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
            main([absent, *arguments])


def test_extract_does_not_overwrite_its_checkpoint(extract, checkpoint):
    with pytest.raises(ValueError, match="is the source too"):
        extract([checkpoint, checkpoint])


def test_export_onnx(tmp_path, capsys, export_onnx, checkpoint):
    target = tmp_path / "out.onnx"
    export_onnx([checkpoint, str(target), "--size", "16", "32", "--batch", "2"])
    printed = capsys.readouterr().out
    assert "all 30 tensors matched" in printed
    assert "onnxruntime's features differ by" in printed
    assert "images (2, 3, 16, 32)" in printed
    assert target.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.pth"], r"ending in \.onnx"),
        (["out.onnx", "--size", "0"], "one or two positive numbers"),
        (["out.onnx", "--size", "8", "8", "8"], "one or two positive numbers"),
        (["out.onnx", "--size", "20"], "multiples of the patch"),
        (["out.onnx", "--size", "32", "--tolerance", "1e-20"], "Nothing was written"),
        (["out.onnx", "--size", "32", "--tolerance", "-1"], "invalid --tolerance -1"),
        (["out.onnx", "--size", "32", "--tolerance", "inf"], "invalid --tolerance inf"),
    ],
)
def test_export_onnx_says_what_is_wrong(tmp_path, export_onnx, checkpoint, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_onnx([checkpoint, str(tmp_path / arguments[0]), *arguments[1:]])
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_2.pth"]

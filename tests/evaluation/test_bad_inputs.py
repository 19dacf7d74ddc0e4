"""Banks, features, labels and options that are wrong: each ends in one clear message."""

from __future__ import annotations

import io
import json
import os
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import METRICS, MODELS

from mmdino.datasets.balanced_subset import balanced_subset
from mmdino.evaluation.attention import attention_maps
from mmdino.evaluation.bank_options import describe
from mmdino.evaluation.feature_bank import check_pair, open_bank, start_bank
from mmdino.evaluation.features import check_equal_shapes, collate_equal_shapes
from mmdino.evaluation.knn import knn_accuracy, unknown_labels
from mmdino.evaluation.logistic_regression import few_label_accuracy

COUNT, WIDTH = 6, 3
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(COUNT, WIDTH)).astype(np.float32)
LABELS = np.arange(COUNT) % 2
NAN, INF = float("nan"), float("inf")
PLAN = {
    "checkpoint": "a.pth",
    "network_sha256": "0" * 64,
    "network": "teacher",
    "size": 256,
    "crop": 224,
    "amp": False,
    "dtype": "float32",
    "source": "images/train",
    "files_sha256": "1" * 64,
    "images": COUNT,
    "classes": ["cat", "dog"],
}


def make(folder, labels=LABELS, **changes):
    bank = start_bank(folder, PLAN | changes, "python tools/extract_features.py ...")
    bank.write_part(0, FEATURES)
    return bank.finish(labels)


def evaluate(metric, samples):
    metric.process(None, samples)
    return metric.compute_metrics(metric.results)


# Feature banks


def npy(shape, descr="<f4", content=b""):
    """An array's file with a header that need not be true."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def npy_text(text):
    """An array's file with any text as its header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "features.npy is cut short or no array"),
        (b"hello", "cut short or no array"),
        (b"\x80\x04.", "cut short or no array"),
        (b"PK\x03\x04" + bytes(200), "cut short or no array"),
        (b"\x93NUMPY\x09\x00" + bytes(200), "cut short or no array"),
        (npy((10**12, WIDTH)), "cut short or no array"),
        (npy((10**30, WIDTH)), "cut short or no array"),
        (npy((-1, WIDTH)), "cut short or no array"),
        (npy((COUNT, WIDTH), "|O", bytes(200)), "cut short or no array"),
        (npy_text("{'descr': __import__('os')"), "cut short or no array"),
        (npy_text("(" * 3000), "cut short or no array"),
        (npy_text("{'descr': 3, 'fortran_order': False, 'shape': (6, 3)}"), "cut short"),
        (npy((COUNT, WIDTH), "<f8", bytes(144)), "is float64 instead of float32"),
        (npy((COUNT, WIDTH), ">f4", bytes(72)), "is >f4 instead of float32"),
        (npy((WIDTH, COUNT), "<f4", bytes(72)), r"shape \(3, 6\) instead of \(6, 3\)"),
        (npy((COUNT, WIDTH), "<f4", bytes(80)), "has 8 bytes more than its array"),
        (npy((COUNT, WIDTH), "<f4", bytes(72)), "features.npy is not what was written"),
        (npy((COUNT, WIDTH), "<f4", np.full(18, NAN, "<f4").tobytes()), "not what was written"),
    ],
)
def test_features_that_are_none_are_refused(tmp_path, content, message):
    make(tmp_path)
    (tmp_path / "features.npy").write_bytes(content)
    with pytest.raises(ValueError, match=f"bank {tmp_path} is damaged: .*{message}"):
        open_bank(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: [1], "it is a list"),
        (lambda record: None, "it is a NoneType"),
        (lambda record: {}, "images, width, plan missing or of the wrong type"),
        (lambda record: record | {"images": "6"}, "images missing or of the wrong type"),
        (lambda record: record | {"width": True}, "width missing or of the wrong type"),
        (lambda record: record | {"images": 0}, "promises 0 features"),
        (lambda record: record | {"width": -1}, "features of -1 numbers"),
        (lambda record: record | {"images": 10**12}, r"instead of \(1000000000000, 3\)"),
        (lambda record: record | {"plan": []}, "plan missing or of the wrong type"),
        (lambda record: record | {"plan": {}}, "bank.json has classes None"),
        (lambda record: record | {"plan": PLAN | {"classes": [1]}}, r"has classes \[1\]"),
        (lambda record: record | {"plan": PLAN | {"dtype": "O"}}, "dtype 'O', not one of"),
        (lambda record: record | {"plan": PLAN | {"size": 1}}, "bank.json is not what was"),
        (lambda record: record | {"crc32": 3}, "no valid checksums"),
        (lambda record: record | {"crc32": {"labels.npy": "x"}}, "labels.npy is not what was"),
        (lambda record: record | {"format": 99}, "has format 99, and this version"),
    ],
)
def test_records_that_are_wrong_are_refused(tmp_path, change, message):
    make(tmp_path)
    path = tmp_path / "bank.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=message):
        open_bank(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[" * 100_000, b"nul"])
def test_records_that_are_no_json_are_refused(tmp_path, content):
    make(tmp_path)
    (tmp_path / "bank.json").write_bytes(content)
    for opened in (open_bank, make):
        with pytest.raises(ValueError, match=r"bank\.json is damaged.*extract the features again"):
            opened(tmp_path)


def test_a_record_of_any_length_is_not_read_whole(tmp_path):
    make(tmp_path)
    os.truncate(tmp_path / "bank.json", 10**11)
    with pytest.raises(ValueError, match="it has more than 67108864 bytes"):
        open_bank(tmp_path)


@pytest.mark.parametrize(("label", "found"), [(-1, "-1 to 0"), (2, "0 to 2")])
def test_labels_that_are_no_class_are_refused(tmp_path, label, found):
    with pytest.raises(ValueError, match=f"labels from {found}, but there are 2 classes"):
        make(tmp_path, labels=[label, *[0] * (COUNT - 1)])


def test_banks_of_former_versions_have_no_checksums(tmp_path):
    make(tmp_path)
    record = json.loads((tmp_path / "bank.json").read_text())
    del record["crc32"], record["format"]
    (tmp_path / "bank.json").write_text(json.dumps(record))
    np.testing.assert_array_equal(open_bank(tmp_path)[:], FEATURES)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.sampled_from(["features.npy", "labels.npy", "bank.json"]),
    st.integers(0, 2**20),
    st.one_of(st.none(), st.integers(0, 7)),
)
def test_any_flip_or_truncation_is_noticed(tmp_path_factory, name, place, bit):
    folder = tmp_path_factory.getbasetemp() / "flipped"
    make(folder)
    content = bytearray((folder / name).read_bytes())
    whole = content.rstrip()
    place %= len(whole)
    if bit is None:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    (folder / name).write_bytes(content)
    fault = None
    try:
        bank = open_bank(folder)
    except (ValueError, FileNotFoundError) as error:
        fault = str(error)
    if fault is None:
        # Such as a tab for a space between the entries of bank.json.
        assert (name, bank.plan) == ("bank.json", PLAN)
        np.testing.assert_array_equal(bank[:], FEATURES)
    else:
        assert name in fault
    for path in folder.iterdir():
        path.unlink()


def test_files_are_no_banks(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file is a file\. A feature bank is a folder"):
        open_bank(tmp_path / "file")
    with pytest.raises(ValueError, match=r"file is a file\. Give a folder"):
        make(tmp_path / "file")


def test_a_bank_that_does_not_say_what_made_it_is_not_compared(tmp_path):
    plan = {name: PLAN[name] for name in ("images", "classes", "dtype")}
    bank = start_bank(tmp_path, plan, "...")
    bank.write_part(0, FEATURES)
    bank = bank.finish(LABELS)
    with pytest.raises(ValueError, match=r"bank\.json lacks network_sha256, network, size"):
        check_pair(bank, bank)


def test_test_images_whose_labels_the_bank_lacks_are_counted(tmp_path):
    train = make(tmp_path / "train", labels=np.zeros(COUNT))
    test = make(tmp_path / "test", source="images/test")
    assert "3 of 6 test images have labels that the bank lacks (1)" in describe(train, test)
    assert "lacks" not in describe(test, train)
    many = torch.arange(9)
    assert "(0, 1, 2, 3, 4, ...)" in unknown_labels(many, many + 9)


# k-NN


def knn(**changes):
    arguments = {
        "queries": torch.tensor(FEATURES),
        "query_labels": torch.tensor(LABELS),
        "bank": torch.tensor(FEATURES),
        "bank_labels": torch.tensor(LABELS),
        "ks": (2,),
    }
    return knn_accuracy(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ks": ()}, r"invalid k=\(\) of k-NN"),
        ({"ks": (0,)}, r"invalid k=\(0,\) of k-NN: expected one or more integers of at least 1"),
        ({"ks": (-3, 5)}, "invalid k="),
        ({"ks": (1.5,)}, "invalid k="),
        ({"ks": (True,)}, "invalid k="),
        *(
            ({"temperature": value}, f"invalid temperature={value!r} of k-NN: expected a finite")
            for value in (0, -0.07, INF, NAN, "0.07", None, True)
        ),
        ({"queries": torch.zeros(0, 3), "query_labels": torch.zeros(0)}, "k-NN got no queries"),
        ({"bank": torch.zeros(0, 3), "bank_labels": torch.zeros(0)}, "k-NN got no bank"),
        ({"bank": torch.zeros(COUNT, 4)}, "queries of width 3 and a bank of width 4"),
        ({"bank": torch.zeros(COUNT, 4, 1)}, r"needs features \(N, D\), got rows of shape"),
        ({"query_labels": torch.zeros(2)}, "6 features and 2 labels of the queries"),
        ({"bank_labels": torch.zeros(2)}, "6 features and 2 labels of the bank"),
        (
            {"bank_labels": torch.zeros(COUNT)},
            "labels of the bank .* got torch.float32",
        ),
        ({"bank_labels": torch.full((COUNT,), -1)}, "labels of the bank .* minimum -1"),
        ({"bank_labels": torch.full((COUNT,), 10**12)}, "got the label 1000000000000 of the bank"),
        ({"queries": torch.full((COUNT, 3), NAN)}, "The features are not finite: .* row 0"),
        ({"bank": torch.full((COUNT, 3), INF)}, "The features are not finite"),
    ],
)
def test_knn_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        knn(**changes)


def test_a_k_that_is_given_twice_counts_once():
    assert knn(ks=(2, 2, 3)) == knn(ks=(2, 3))


def test_votes_stay_finite_at_low_temperatures():
    """At 0.001 exp(1 / T) would be infinite, and all classes would have the same votes."""
    assert knn(temperature=1e-3) == knn(temperature=1e-2)
    assert knn(temperature=1e-3)[2][0] == 100, "each query is its own nearest neighbour"


@pytest.mark.parametrize("options", [{"temperature": INF}, {"temperature": NAN}, {"k": True}])
def test_the_metric_refuses_them_when_it_is_built(options):
    with pytest.raises(ValueError, match=r"invalid (k|temperature)=.* of k-NN"):
        METRICS.build({"type": "mmdino.KNNMetric", **options})


def test_the_metric_refuses_an_empty_loader():
    metric = METRICS.build({"type": "mmdino.KNNMetric", "k": 1})
    metric.set_bank(torch.tensor(FEATURES), torch.tensor(LABELS))
    with pytest.raises(ValueError, match=r"no query images: val_dataloader is empty.*drop_last"):
        metric.compute_metrics([])


# Logistic regression and subsets


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS * 0}, "at least two classes; got one"),
        ({"features": FEATURES[:0], "labels": LABELS[:0]}, "0 features .* labelled images"),
        ({"test_features": FEATURES[:0], "test_labels": LABELS[:0]}, "0 features .* test images"),
        ({"labels": LABELS[:2]}, "6 features and 2 labels of the labelled images"),
        ({"test_features": FEATURES[:, :2]}, r"\(6, 2\) of the test images and a width of \(3,\)"),
        ({"features": FEATURES * NAN}, "The features are not finite, those of the labelled"),
        (
            {"test_features": np.full_like(FEATURES, INF)},
            "The features are not finite, those of the test",
        ),
        *(
            ({"strengths": [1, c]}, "invalid C=.* finite numbers above 0")
            for c in (0, -1, NAN, INF)
        ),
        *(({"folds": folds}, "invalid folds=") for folds in (1, 2.5, "5")),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_logistic_regression_refuses(changes, message):
    arguments = {
        "features": FEATURES,
        "labels": LABELS,
        "test_features": FEATURES,
        "test_labels": LABELS,
    }
    with pytest.raises(ValueError, match=message):
        few_label_accuracy(**(arguments | changes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], 0), "invalid fraction=0"),
        (([0, 1], NAN), "invalid fraction=nan"),
        (([0, 1], "1%"), "invalid fraction='1%'"),
        (([0, 1], 0.5, -1), "invalid seed=-1"),
        (([0, 1], 0.5, 1.5), r"invalid seed=1\.5"),
        (([], 0.5), r"shape \(0,\)"),
        (([0.5, 1.5], 0.5), "float64 of shape"),
        (([0, -1], 0.5), "minimum -1"),
        ((["cat", "dog"], 0.5), "<U3 of shape"),
    ],
)
def test_subsets_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        balanced_subset(*arguments)


# Linear probes


def probe_sample(scores, label=0):
    return {"probe_scores": scores, "gt_label": torch.tensor([label]), "img_path": "7.jpg"}


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "got no images: the data set, or its loader, is empty"),
        ([probe_sample({0.1: torch.full((3,), NAN)})], r"not finite, .* of 7\.jpg is a number"),
        ([probe_sample({0.1: torch.zeros(3)}, 7)], r"label 7 of 7\.jpg .* 0 to 2"),
        ([probe_sample({0.1: torch.zeros(3)}, -1)], r"label -1 of 7\.jpg"),
        ([probe_sample({})], r"the first with the rates \[\]"),
        ([probe_sample({0.1: torch.zeros(3)}), probe_sample({0.2: torch.zeros(3)})], "got 2 kinds"),
        ([probe_sample({0.1: torch.zeros(3)}), probe_sample({0.1: torch.zeros(4)})], "got 2 kinds"),
    ],
)
def test_linear_probes_refuse(samples, message):
    metric = METRICS.build({"type": "mmdino.LinearProbeMetric"})
    with pytest.raises(ValueError, match=message):
        evaluate(metric, samples)


# Attention and masks

MASK = np.ones((12, 16), np.uint8)
MAPS = torch.rand(2, 3, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gt_seg_map": MASK * 0}, r"None of 1 image\(s\) has an object"),
        ({"gt_seg_map": MASK[:0]}, r"the mask of 7\.jpg is uint8 of shape \(0, 16\)"),
        ({"gt_seg_map": np.stack([MASK] * 3, -1)}, r"shape \(12, 16, 3\): expected integer ids"),
        ({"gt_seg_map": MASK * 1.5}, r"float64 of shape \(12, 16\): expected integer ids"),
        ({"gt_seg_map": MASK * 99}, r"ids 99 in the mask of 7\.jpg are unknown"),
        ({"attention": MAPS * NAN}, "The attention is not finite"),
        ({"attention": MAPS * INF}, "The attention is not finite"),
        ({"attention": MAPS * 0}, "above 0 somewhere in each map"),
        ({"attention": -MAPS}, "must be at least 0"),
        ({"attention": MAPS[:0]}, r"got shape \(0, 3, 4\)"),
        ({"attention": MAPS[0]}, r"shape \(K, h, w\), got \(3, 4\)"),
    ],
)
def test_attention_masks_refuse(changes, message):
    metric = METRICS.build({"type": "mmdino.AttentionJaccardMetric", "object_ids": range(1, 21)})
    sample = {"attention": MAPS, "gt_seg_map": MASK, "img_path": "7.jpg"}
    with pytest.raises(ValueError, match=message):
        evaluate(metric, [sample | changes])


@pytest.mark.parametrize("fraction", [0, -1, 1.1, NAN, INF, "0.6", None, True])
def test_fractions_of_attention_out_of_range(fraction):
    with pytest.raises(ValueError, match=re.escape(f"invalid fraction={fraction!r}")):
        METRICS.build({"type": "mmdino.AttentionJaccardMetric", "fraction": fraction})


@pytest.fixture(scope="module")
def backbone():
    layers = {"embed_dims": 12, "num_layers": 1, "num_heads": 2, "feedforward_channels": 12}
    config = {"type": "mmdino.VisionTransformer", "arch": layers, "img_size": 32, "patch_size": 8}
    return MODELS.build(config).eval()


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((2, 2, 3), None, "less than a patch of 8"),
        ((1, 10_000, 3), None, "less than a patch of 8"),
        ((1, 10_000, 3), 32, "40000 x 4 patches of 8 pixels, more than 131072"),
        ((8, 8, 3), 8000, "1000 x 1000 patches of 8 pixels, more than 131072"),
        ((40, 64, 3), 0, "shorter side of 0, less than a patch"),
        ((0, 0, 3), 32, "0 x 0 pixels is empty"),
        ((40, 64), None, r"an image \(H, W, 3\) of uint8 or float32 in RGB, got uint8 of shape"),
        ((40, 64, 4), None, r"got uint8 of shape \(40, 64, 4\)"),
    ],
)
def test_images_without_an_attention(backbone, shape, size, message):
    with pytest.raises(ValueError, match=message):
        attention_maps(backbone, np.zeros(shape, np.uint8), size)


def test_attention_of_weights_that_are_not_finite(backbone):
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    with torch.no_grad():
        backbone.pos_embed.fill_(NAN)
    with pytest.raises(ValueError, match="The attention is not finite"):
        attention_maps(backbone, np.zeros((16, 16, 3), np.uint8))
    backbone.load_state_dict(state)


# Batches of mixed sizes


def test_images_of_other_sizes_are_named():
    images = [torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)]
    samples = [{"img_path": f"{name}.jpg"} for name in "abc"]
    check_equal_shapes(images[:2], samples)
    message = r"a\.jpg \(3, 8, 8\) and c\.jpg \(3, 8, 9\)\. Add .*ResizeEdge.*CenterCrop"
    with pytest.raises(ValueError, match=message):
        check_equal_shapes(images, samples)
    batch = [
        {"inputs": image, "data_samples": sample}
        for image, sample in zip(images, samples, strict=True)
    ]
    assert collate_equal_shapes(len, batch[:2]) == 2
    with pytest.raises(ValueError, match=message):
        collate_equal_shapes(len, batch)

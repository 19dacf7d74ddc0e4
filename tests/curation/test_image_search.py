"""What is found are the images of the largest cosine similarity, in every format of the bank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mmdino.curation.embedding import Embedded, open_embedded
from mmdino.curation.image_search import (
    Neighbour,
    find_duplicates,
    neighbour_sections,
    network_of,
    query_features,
    query_paths,
    search,
)
from mmdino.curation.pictures import GAP, SIDE, TEXT
from mmdino.curation.thumbnails import thumbnails
from mmdino.evaluation.bank_extraction import load_evaluated
from mmdino.evaluation.embedding import embed_images, images_of
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import FeatureBank

OPTIONS = ExtractionOptions(size=16, crop=16, batch_size=4, workers=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six images, of which 5.png and 6.png are alike."""
    init_default_scope("mmpretrain")
    root = tmp_path_factory.mktemp("search") / "images"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        image = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / f"{number}.png")
    image[0, 0] ^= 64
    Image.fromarray(image).save(root / "6.png")
    return root


@pytest.fixture(scope="module")
def banks(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("banks")
    return {
        name: embed_images(
            thumbnails(16), images_of(folder, OPTIONS), root / name, OPTIONS, "the command"
        )
        for name in ("bank", "bank.npz", "bank.faiss")
    }


@pytest.mark.parametrize("name", ["bank", "bank.npz", "bank.faiss"])
def test_the_nearest_come_first_with_their_cosine_similarity(banks, folder, name):
    bank, queries = banks[name], [folder / "5.png", folder / "2.png"]
    features, read, faults = query_features(network_of(bank), queries, bank)
    assert (read, faults) == (queries, [])
    found = search(bank, features, read, 3)
    assert [each.image for each in found[:2]] == ["5.png", "6.png"]
    assert [(each.query, each.rank) for each in found] == [
        (str(query), rank) for query in queries for rank in (1, 2, 3)
    ]
    whole = banks["bank"][:].astype(np.float64)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    expected = -np.sort(-(whole[[4, 1]] @ whole.T), axis=1)[:, :3]
    np.testing.assert_allclose([each.score for each in found], expected.ravel(), atol=1e-5)


def test_more_neighbours_than_images_are_all_images(banks, folder):
    bank = banks["bank"]
    features, read, _ = query_features(network_of(bank), [folder / "1.png"], bank)
    assert len(search(bank, features, read, 99)) == 6


def test_features_of_another_width_and_banks_without_names_are_refused(banks):
    bank = banks["bank"]
    with pytest.raises(ValueError, match=r"features of 3 numbers, those of .* have 768"):
        search(bank, np.ones((1, 3), np.float32), [Path("query.png")], 1)
    with pytest.raises(ValueError, match="has no names of its images"):
        search(replace(bank, names=[]), bank[:1], [Path("query.png")], 1)


def test_queries_are_files_and_the_images_of_folders(folder, tmp_path):
    paths = query_paths([folder / "3.png", folder])
    assert [path.name for path in paths] == ["3.png", *(f"{n}.png" for n in range(1, 7))]
    with pytest.raises(FileNotFoundError, match="There is no image in the folder"):
        query_paths([tmp_path])
    with pytest.raises(FileNotFoundError, match=r"The query nothing\.png does not exist"):
        query_paths(["nothing.png"])


def test_a_query_that_is_no_image_is_left_out_and_told(banks, folder, tmp_path):
    bank, text = banks["bank"], tmp_path / "text.png"
    text.write_text("no image")
    _, read, faults = query_features(network_of(bank), [text, folder / "1.png"], bank)
    assert (read, faults) == ([folder / "1.png"], [f"{text} is damaged, or no image"])
    with pytest.raises(ValueError, match=r"No query can be read: .* is damaged, or no image"):
        query_features(network_of(bank), [text], bank)


def test_the_network_is_that_of_the_bank_wherever_it_is_now(folder, tmp_path):
    checkpoint, moved = tmp_path / "epoch_1.pth", tmp_path / "moved.pth"
    torch.save({"state_dict": MODELS.build(tiny_run.vit_model()).state_dict()}, checkpoint)
    options = ExtractionOptions(size=32, crop=32, workers=0)
    bank = embed_images(
        load_evaluated(checkpoint, "student", num_heads=2),
        images_of(folder, options),
        tmp_path / "bank",
        options,
        "the command",
    )
    assert network_of(bank).network == "student"
    checkpoint.rename(moved)
    with pytest.raises(FileNotFoundError, match=r"is not in .*epoch_1\.pth. Say where it is"):
        network_of(bank)
    assert network_of(bank, moved).network == "student"
    torch.save({"state_dict": MODELS.build(tiny_run.vit_model()).state_dict()}, moved)
    with pytest.raises(ValueError, match=r"moved\.pth is not the network that the features in"):
        network_of(bank, moved)
    plan = {name: value for name, value in bank.plan.items() if name != "loading"}
    with pytest.raises(ValueError, match="does not say where its network is"):
        network_of(replace(bank, plan=plan))


@pytest.mark.parametrize("queries", [1, 7, 20, 50])
def test_a_picture_of_many_neighbours_is_no_longer_than_a_jpeg_can_be(queries):
    found = [
        Neighbour(f"{query}.png", rank, 0.5, f"{rank}.png")
        for query in range(queries)
        for rank in range(1, 5000)
    ]
    sections = neighbour_sections(found, Path("images"))
    assert len(sections) == min(queries, 20)
    rows = sum(-(-len(section.strips) // 8) for section in sections)
    tall, title = SIDE + 2 * (TEXT + 7) + GAP, 2 * (TEXT + 7)
    assert 50_000 < rows * tall + (len(sections) + 2) * title < 65_500


@pytest.mark.parametrize("name", ["bank", "bank.faiss"])
def test_duplicates_are_pairs_above_a_threshold_or_the_most_similar(banks, name):
    embedded = open_embedded(banks[name].folder)
    (pair,), _ = find_duplicates(embedded, 0.9, 20)
    assert (pair.first, pair.second, pair.group) == ("5.png", "6.png", 1)
    assert find_duplicates(embedded, 0.99999, 20) == ([], None)
    nearest, _ = find_duplicates(embedded, None, 2)
    assert nearest[0] == pair
    assert len(nearest) == 2
    assert nearest[1].score < 0.9


def made_bank(copies, others=40, width=8):
    """Features of images of which the first are copies of one, with small changes."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((copies + others, width))
    features[:copies] = features[0] + 0.02 * features[:copies]
    names = [f"{number}.png" for number in range(copies + others)]
    features = features.astype(np.float32)
    labels = np.zeros(len(names), dtype=np.int64)
    bank = FeatureBank(Path("bank"), {"source": "images"}, labels, width, names, array=features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return Embedded(bank, names, {}), unit @ unit.T


@pytest.mark.parametrize("compared", [2, 64])
@pytest.mark.parametrize("most", [1, 4, 30, 999])
def test_the_most_similar_pairs_are_those_of_all_pairs(most, compared, monkeypatch):
    """Seven copies make 21 pairs, of which only some are of an image and its nearest one."""
    monkeypatch.setattr("mmdino.curation.image_search.NEIGHBOURS", compared)
    embedded, similarity = made_bank(copies=7)
    pairs, _ = find_duplicates(embedded, None, most)
    expected = np.sort(similarity[np.triu_indices(47, 1)])[::-1][:most]
    np.testing.assert_allclose([pair.score for pair in pairs], expected, atol=1e-6)
    assert len({(pair.first, pair.second) for pair in pairs}) == most
    for pair in pairs:
        first, second = (int(name.removesuffix(".png")) for name in (pair.first, pair.second))
        assert pair.score == pytest.approx(similarity[first, second], abs=1e-6)


def test_all_pairs_of_a_large_group_are_found(monkeypatch):
    embedded, _ = made_bank(copies=200)
    pairs, compared = find_duplicates(embedded, 0.99, 20)
    assert (len(pairs), compared) == (200 * 199 / 2, None)
    assert {pair.group for pair in pairs} == {1}
    monkeypatch.setattr("mmdino.curation.image_search.MANY_PAIRS", 1000)
    fewer, compared = find_duplicates(embedded, 0.99, 20)
    assert (compared, len(fewer) < len(pairs)) == (64, True)

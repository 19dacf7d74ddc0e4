"""The images of a feature bank that resemble an image, or each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose, default_collate
from mmengine.device import get_device

from mmdino.curation.embedding import Embedded
from mmdino.curation.near_duplicates import NEIGHBOURS, NearPairs, components_of, pairs_above
from mmdino.curation.options import PIXELS
from mmdino.curation.pictures import NEUTRAL, Section, Strip, Tile
from mmdino.curation.search import Index, build_index
from mmdino.curation.thumbnails import thumbnails
from mmdino.curation.vectors import Vectors
from mmdino.datasets.folder_listing import LeftOut, list_images
from mmdino.datasets.image_check import image_fault
from mmdino.datasets.image_folder import EXTENSIONS, LOADING_ERRORS
from mmdino.evaluation.bank_extraction import Evaluated, load_evaluated, network_sha256
from mmdino.evaluation.bank_files import read_index
from mmdino.evaluation.bank_images import evaluation_pipeline
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import UNIT_LENGTH, FeatureBank
from mmdino.evaluation.features import BackboneModel, extract_features
from mmdino.evaluation.knn import nearest_neighbours
from mmdino.utils.printable import printable

BATCH = 32
MANY_PAIRS = 1_000_000
"""With more pairs no further neighbours are looked for: a group of N copies has N (N - 1) / 2."""
QUERIES_IN_PICTURE = 20
TILES_IN_PICTURE = 2400
"""Images in a picture, of all queries: 300 rows of eight. A JPEG ends at 65,500 pixels."""
QUERY = "#0969da"


@dataclass(frozen=True)
class Neighbour:
    """An image of a bank that resembles a query.

    Args:
        query: Path of the query.
        rank: 1 for the most similar image.
        score: Cosine similarity of the features.
        image: Path of the image relative to the bank's folder of images.
    """

    query: str
    rank: int
    score: float
    image: str


@dataclass(frozen=True)
class Pair:
    """Two images of a bank that resemble each other.

    Args:
        score: Cosine similarity of the features.
        first: Path of one, relative to the bank's folder of images.
        second: Path of the other.
        group: Number of the group of images that are joined by such pairs, from 1.
    """

    score: float
    first: str
    second: str
    group: int


def network_of(bank: FeatureBank, checkpoint: str | Path | None = None) -> Evaluated:
    """Loads the network that a bank's features are of.

    Args:
        bank: The bank.
        checkpoint: Where its file is now; by default where it was.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If the bank does not say where it is, or the file has another network.
    """
    plan = bank.plan
    if plan.get("checkpoint") == PIXELS and checkpoint is None:
        evaluated = thumbnails(plan["crop"])
    else:
        loading = dict(plan.get("loading") or {})
        if checkpoint is not None:
            loading["checkpoint"] = str(checkpoint)
        if not loading.get("checkpoint"):
            raise ValueError(
                f"{bank.folder} does not say where its network is: a former version of mmdino made "
                f"it. Give the file, {plan.get('checkpoint')}, with --checkpoint."
            )
        path = loading["checkpoint"]
        if "://" not in path and not Path(path).exists():
            raise FileNotFoundError(
                f"The network of {bank.folder} is not in {printable(path)}. Say where it is with "
                "--checkpoint."
            )
        evaluated = load_evaluated(**loading)
    found = network_sha256(evaluated.backbone)
    if found != plan.get("network_sha256"):
        raise ValueError(
            f"{evaluated.checkpoint} is not the network that the features in {bank.folder} are of: "
            f"sha256 {found[:12]}, not {str(plan.get('network_sha256'))[:12]}. Give that one with "
            "--checkpoint, or embed the images again, with --overwrite."
        )
    return evaluated


def query_paths(
    queries: Sequence[str | Path], extensions: Sequence[str] = EXTENSIONS
) -> list[Path]:
    """Returns the images that are searched for: files, and what is in folders.

    Args:
        queries: Images and folders.
        extensions: Extensions of images in folders.

    Raises:
        FileNotFoundError: If one does not exist, or a folder has no image.
    """
    paths = []
    for query in map(Path, queries):
        if not query.exists():
            raise FileNotFoundError(
                f"The query {printable(query)} does not exist: expected an image or a folder."
            )
        if not query.is_dir():
            paths.append(query)
            continue
        names = list_images(str(query), extensions, LeftOut())
        if not names:
            raise FileNotFoundError(f"There is no image in the folder {printable(query)}.")
        paths += [query / name for name in names]
    return paths


def query_features(
    evaluated: Evaluated, paths: Sequence[Path], bank: FeatureBank
) -> tuple[np.ndarray, list[Path], list[str]]:
    """Computes the features of images as those of a bank were computed.

    Args:
        evaluated: The network of the bank.
        paths: The images.
        bank: The bank.

    Returns:
        Features (Q, D), the paths of the Q images that could be read, and a line on each other one.

    Raises:
        ValueError: If no image can be read.
    """
    options = ExtractionOptions(size=bank.plan["size"], crop=bank.plan["crop"])
    pipeline = Compose(evaluation_pipeline(options, evaluated.image_input))
    model = BackboneModel(evaluated.backbone, evaluated.image_input.preprocessor).to(get_device())
    features, read, faults, batch = [], [], [], []
    for number, path in enumerate(paths, 1):
        try:
            fault = image_fault(path)
            sample = None if fault else pipeline({"img_path": str(path)})
        except LOADING_ERRORS:
            sample, fault = None, None
        if sample is None:
            faults.append(f"{printable(path)} {fault or 'is damaged, or no image'}")
        else:
            batch.append(sample)
            read.append(path)
        if batch and (len(batch) == BATCH or number == len(paths)):
            found, _ = next(extract_features(model, [default_collate(batch)], bank.plan["amp"]))
            features.append(found.cpu().numpy())
            batch = []
    if not read:
        raise ValueError(f"No query can be read: {'; '.join(faults[:5])}. Give images.")
    return np.concatenate(features), read, faults


def search(
    bank: FeatureBank, features: np.ndarray, queries: Sequence[Path], k: int
) -> list[Neighbour]:
    """Finds the images most similar to queries, exactly; by FAISS where the bank is its index.

    Args:
        bank: The bank.
        features: Features (Q, D) of the queries.
        queries: Their paths (Q).
        k: Neighbours of each, at most as many as the bank has.

    Raises:
        ValueError: If the bank has no names of its images, or features of another width.
    """
    require_names(bank)
    if features.shape[1] != bank.width:
        raise ValueError(
            f"The queries have features of {features.shape[1]} numbers, those of {bank.folder} "
            f"have {bank.width}. Compute both with the same network."
        )
    k = min(k, len(bank))
    if bank.plan.get(UNIT_LENGTH):
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        unit = (features / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
        scores, rows = read_index(bank.folder).search(unit, k)
    else:
        scores, rows = (found.numpy() for found in nearest_neighbours(_tensor(features), bank, k))
    return [
        Neighbour(str(query), rank, float(score), bank.names[row])
        for query, of_query, in_bank in zip(queries, scores, rows, strict=True)
        for rank, (score, row) in enumerate(zip(of_query, in_bank, strict=True), 1)
    ]


def find_duplicates(
    embedded: Embedded, threshold: float | None, most: int
) -> tuple[list[Pair], int | None]:
    """Finds pairs of images that resemble each other, the most similar first.

    Args:
        embedded: The images.
        threshold: Cosine similarity above which pairs are returned; None for the most similar ones,
            whatever their similarity.
        most: Number of pairs without a threshold.

    Returns:
        The pairs; and None if these are all, else how many neighbours of each image were compared.
    """
    rows = embedded.rows()
    vectors = embedded.vectors(rows)
    index = build_index(vectors, len(vectors))
    if threshold is None:
        pairs, scores, compared = *_most_similar(index, vectors, most), None
    else:
        pairs, scores, compared = _all_above(index, vectors, threshold)
    order = np.argsort(-scores, kind="stable")
    pairs, scores = pairs[order], scores[order]
    components = components_of(pairs, len(rows))[pairs[:, 0]].tolist()
    groups = {component: n for n, component in enumerate(dict.fromkeys(components), 1)}
    return [
        Pair(float(score), embedded.names[rows[first]], embedded.names[rows[second]], groups[of])
        for (first, second), score, of in zip(pairs.tolist(), scores, components, strict=True)
    ], compared


def _most_similar(index: Index, vectors: Vectors, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the ``most`` most similar pairs (M, 2), and their similarities (M,)."""
    limit = min(most, len(vectors) - 1)
    k = min(NEIGHBOURS, limit)
    while True:
        near = NearPairs(1, most)  # No similarity is above 1: the most similar are nearest to it.
        pairs_above(index, vectors, k, 1, near)
        pairs, scores = near.below[:, :2].astype(np.int32), near.below[:, 2].astype(np.float32)
        # Each image of a pair that is missing has k neighbours that are more similar to it.
        if k == limit or np.bincount(pairs.ravel()).max() < k:
            return pairs, scores
        k = min(2 * k, limit)


def _all_above(
    index: Index, vectors: Vectors, threshold: float
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Finds the pairs (E, 2) above a threshold, their similarities, and what was compared."""
    limit = len(vectors) - 1
    k = min(NEIGHBOURS, limit)
    while True:
        pairs, scores, _ = pairs_above(index, vectors, k, threshold)
        found = np.bincount(pairs.ravel(), minlength=len(vectors))
        if k == limit or found.max() < k:
            return pairs, scores, None
        # All that were compared of some image are above: it may have more.
        if len(pairs) > MANY_PAIRS:
            return pairs, scores, k
        k = min(2 * k, limit)


def require_names(bank: FeatureBank) -> None:
    """Checks that a bank says of which images its features are.

    Raises:
        ValueError: If it does not.
    """
    if not bank.names:
        raise ValueError(
            f"{bank.folder} has no names of its images: a former version of mmdino made it. Embed "
            "the images again, with --overwrite."
        )


def neighbours_in_picture(queries: int) -> int:
    """Returns of how many neighbours of each of some queries there is room in a picture."""
    return TILES_IN_PICTURE // min(queries, QUERIES_IN_PICTURE) - 1


def neighbour_sections(found: Sequence[Neighbour], source: Path) -> list[Section]:
    """Returns what a picture shows: the first queries with their nearest images, by their scores.

    Args:
        found: The neighbours, by query.
        source: Folder of the bank's images.
    """
    by_query: dict[str, list[Neighbour]] = {}
    for neighbour in found:
        by_query.setdefault(neighbour.query, []).append(neighbour)
    room = neighbours_in_picture(len(by_query))
    return [
        Section(
            query,
            [
                Strip("query", [Tile(Path(query), Path(query).name, QUERY)]),
                *(
                    Strip(f"{each.score:.3f}", [Tile(source / each.image, each.image)])
                    for each in neighbours[:room]
                ),
            ],
            QUERY,
        )
        for query, neighbours in list(by_query.items())[:QUERIES_IN_PICTURE]
    ]


def pair_section(pairs: Sequence[Pair], source: Path, title: str) -> Section:
    """Returns what a picture shows of pairs.

    Args:
        pairs: The pairs.
        source: Folder of the bank's images.
        title: Its title.
    """
    strips = [
        Strip(
            f"{pair.score:.4f}", [Tile(source / name, name) for name in (pair.first, pair.second)]
        )
        for pair in pairs
    ]
    return Section(title, strips, NEUTRAL)


def _tensor(features: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(features))

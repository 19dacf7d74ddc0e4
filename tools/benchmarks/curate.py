"""Times curation of many features: index, near-duplicates, and a balanced draw.

python tools/benchmarks/curate.py makes a file of clustered features, some of which are near-copies
of others, and runs the steps of tools/curate.py on it, which map the file. The baseline is an exact
search, timed on a sample of the queries and scaled to all. The processor's time is that of all
threads; other processes prolong the seconds, but hardly that. The peak is that of the whole process
and counts pages of the file that are mapped.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.options import benchmark_parser, positive, use_threads
from common.report import print_table, write_json
from mmdino.curation.clusters import assign, balanced_draws, draw, train_clusters
from mmdino.curation.near_duplicates import NEIGHBOURS, Components, find_components, keep_one
from mmdino.curation.search import (
    KINDS,
    ExactIndex,
    Index,
    build_index,
    import_faiss,
    measure_recall,
)
from mmdino.curation.vectors import BLOCK, Vectors
from mmdino.utils.tool_errors import run_tool

TARGET_GIB = 8
THRESHOLD = 0.9
COPIES = 0.1
"""Fraction of the features that are near-copies of others."""
NOISE = 0.25
"""Length of what a near-copy differs by, of that of a feature: cosine 0.97."""
SPREAD = 2.0
"""Standard deviation around a centre, of that between centres."""
CENTRES = 2000
SMOKE = {"images": 2000, "width": 16, "clusters": 20, "sample": 50}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=1, computes=False)
    parser.add_argument("--threads", type=positive, help="threads of faiss; unchanged by default")
    parser.add_argument("--images", type=positive, default=1_000_000, help="number of features")
    parser.add_argument("--width", type=positive, default=384, help="width of a feature")
    parser.add_argument(
        "--dtype", choices=("float16", "float32"), default="float32", help="of file"
    )
    parser.add_argument("--neighbours", type=positive, default=NEIGHBOURS, help="of each image")
    parser.add_argument("--clusters", type=positive, default=1000, help="of the balanced draw")
    parser.add_argument("--search", choices=KINDS, default="auto", help="of neighbours")
    parser.add_argument("--sample", type=positive, default=500, help="queries compared with exact")
    parser.add_argument("--folder", help="where to make the file; the system's folder by default")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_threads(args.threads)
    faiss = import_faiss()
    if args.threads:
        faiss.omp_set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "features.npy"
        originals = write_features(path, args)
        rows, found = measure(path, originals, args)
    peak = rows[-1]["peak GiB"]
    print_table(
        rows,
        f"Curation of {args.images} x {args.width} features in {args.dtype}, "
        f"{faiss.omp_get_max_threads()} thread(s). Target: {TARGET_GIB} GiB; peak {peak:.2f} GiB.",
    )
    print("\n".join(f"{name}: {value}" for name, value in found.items()))
    if args.json:
        tables = {"curation": rows, "found": [found]}
        write_json(args.json, "curate", vars(args), tables, argv, "cpu")


def write_features(path: Path, args: argparse.Namespace) -> np.ndarray:
    """Writes features around centres; returns the row (N,) that each is a copy of, or its own."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, args.width), dtype=np.float32)
    shape = (args.images, args.width)
    features = np.lib.format.open_memmap(path, mode="w+", dtype=args.dtype, shape=shape)
    for start in range(0, args.images, BLOCK):
        count = min(BLOCK, args.images - start)
        made = SPREAD * rng.standard_normal((count, args.width), dtype=np.float32)
        features[start : start + count] = made + centres[rng.integers(CENTRES, size=count)]
    originals = np.arange(args.images)
    count = int(COPIES * args.images)
    copies, copied = np.split(rng.permutation(args.images)[: 2 * count], 2)
    originals[copies] = copied
    for start in range(0, count, BLOCK):
        rows, of = copies[start : start + BLOCK], copied[start : start + BLOCK]
        kept = features[of].astype(np.float32)
        noise = rng.standard_normal(kept.shape, dtype=np.float32)
        noise *= NOISE * np.linalg.norm(kept, axis=1, keepdims=True) / args.width**0.5
        features[rows] = kept + noise
    features.flush()
    return originals


def measure(
    path: Path, originals: np.ndarray, args: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Runs the steps; returns a row for each and what they found."""
    rows: list[dict[str, Any]] = []

    def timed(case: str, run: Callable[[], Any]) -> Any:
        started, worked = time.perf_counter(), time.process_time()
        result = run()
        seconds, processor = time.perf_counter() - started, time.process_time() - worked
        # Kilobytes on Linux; the largest so far, of the whole process.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"  {case}: {seconds:.1f} s", flush=True)
        rows.append({"case": case, "seconds": seconds, "processor s": processor, "peak GiB": peak})
        return result

    vectors = Vectors(MappedFile(path), args.width, np.arange(args.images))
    sample = vectors[slice(0, min(args.sample, args.images))]
    exact = ExactIndex(vectors)
    case = f"exact search, {len(sample)} queries"
    timed(case, lambda: exact.search(sample, args.neighbours + 1))
    of_all = rows[0]["seconds"] * args.images / len(sample)

    def build() -> Index:
        return build_index(vectors, len(vectors), args.search)

    def search(index: Index) -> Components:
        return find_components(index, vectors, args.neighbours, THRESHOLD)

    index = timed("index", build)
    kind = index.describe()
    components = timed(f"near-duplicates, {kind['search']} search", partial(search, index))
    kept = keep_one(components.labels)
    recall = measure_recall(index, vectors, args.neighbours, THRESHOLD, args.sample)
    del index
    clusters = timed(
        f"k-means, {args.clusters} clusters",
        lambda: assign(vectors, train_clusters(vectors, args.clusters)),
    )
    sizes = np.bincount(clusters, minlength=args.clusters)
    drawn = draw(clusters, balanced_draws(sizes, args.images // 2))
    copies = originals != np.arange(args.images)
    joined = components.labels == components.labels[originals]
    found = {
        **kind,
        "exact search of all, estimated minutes": round(of_all / 60, 1),
        "recall of the neighbours": recall.neighbours,
        "recall of those above the threshold": recall.above,
        "queries of both": recall.queries,
        "planted copies": int(copies.sum()),
        "of them joined with their original": float(joined[copies].mean()),
        "dropped": int((kept != np.arange(args.images)).sum()),
        "drawn": len(drawn),
    }
    return rows, found


class MappedFile:
    """An array in a file, mapped anew for each access, as a feature bank does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns rows of it."""
        return np.load(self.path, mmap_mode="r")[rows]


if __name__ == "__main__":
    run_tool(main)

"""Attention and CKA of several networks on the same images, written down as they are computed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdino.diagnostics.attention_statistics import AttentionStatistics, as_lists
from mmdino.diagnostics.block_outputs import run_blocks
from mmdino.diagnostics.cka import MIN_BATCH, MinibatchCKA, centered_gram
from mmdino.diagnostics.images import batch_input, content_sha256, even_batches, read_batch
from mmdino.diagnostics.networks import Diagnosed
from mmdino.diagnostics.record import read_record, write_record
from mmdino.evaluation.image_input import IMAGENET
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.command_line import progress_bar

RECORD = "diagnose.json"
MAPS = ("average_map", "average_patch_map")


class Diagnosis:
    """What is known of networks on a set of images.

    The numbers are in ``diagnose.json``, the average maps in ``maps/``. What is there for the same
    weights, images, shape and batch is not computed again.

    Args:
        folder: Output folder.
        paths: The images.
        shape: Height and width at which they enter the networks.
        batch: Most images that pass a network at a time.

    Raises:
        ValueError: If the JSON file cannot be read.
    """

    def __init__(
        self, folder: Path, paths: Sequence[Path], shape: tuple[int, int], batch: int
    ) -> None:
        self.folder = folder
        self.paths = paths
        self.shape = shape
        self.batch = batch
        self.options = {"images_sha256": content_sha256(paths), "shape": list(shape)}
        self._record = {"networks": {}, "cka": [], **read_record(folder / RECORD)}

    def attention_of(self, network: Diagnosed) -> dict[str, Any]:
        """Returns the numbers of a network's attention, computed if they are not there."""
        known = self._record["networks"].get(network.name)
        key = {"sha256": network.sha256, **self.options, **_of_input([network])}
        if known and known.get("key") == key and self._maps_path(network).is_file():
            print(f"{network.name}: attention was measured before, skipped")
            return known["attention"]
        patch = network.backbone.patch_embed.projection.stride[0]
        grid = tuple(side // patch for side in self.shape)
        statistics = AttentionStatistics(grid, patch, network.backbone.num_extra_tokens)
        print(f"{network.name}: attention of {len(self.paths)} image(s)", flush=True)
        bar = progress_bar(len(self.paths))
        for paths in even_batches(self.paths, self.batch):
            images = read_batch(paths, self.shape)
            pixels = batch_input(images, self.shape, network.backbone, network.statistics)
            run_blocks(network.backbone, pixels, on_attention=statistics.add)
            bar.update(len(paths))
        bar.file.write("\n")
        means = statistics.means()
        with atomic_write(self._maps_path(network)) as partial:
            np.savez_compressed(partial, **{name: means[name].numpy() for name in MAPS})
        numbers = statistics.numbers(means)
        self._record["networks"][network.name] = {
            "origin": network.origin,
            "images": len(self.paths),
            "key": key,
            "maps": str(self._maps_path(network).relative_to(self.folder)),
            "attention": numbers,
        }
        write_record(self.folder / RECORD, self._record)
        return numbers

    def average_maps(self, network: Diagnosed) -> np.ndarray:
        """Returns the average maps (layers, P, P) of a network that was measured."""
        with np.load(self._maps_path(network)) as maps:
            return maps["average_patch_map"]

    def cka_of(self, networks: Sequence[Diagnosed]) -> dict[tuple[str, str], np.ndarray]:
        """Returns CKA (L, M) between the layers of each two networks, or within a single one.

        The features of a layer are all its tokens, flattened (Raghu et al. 2021). Pairs that are
        missing are computed together, so that each network sees each image once.

        Returns:
            By the names of the two; empty if there are fewer than four images.
        """
        if len(self.paths) < MIN_BATCH:
            print(f"CKA is left out: it needs at least {MIN_BATCH} images")
            return {}
        wanted = list(combinations(networks, 2)) or [(networks[0], networks[0])]
        missing = [pair for pair in wanted if self._known_cka(pair) is None]
        for pair in wanted:
            if pair not in missing:
                print(f"{pair[0].name}, {pair[1].name}: CKA was measured before, skipped")
        if missing:
            self._measure_cka(missing)
        return {
            (first.name, second.name): np.array(self._known_cka((first, second)), dtype=float)
            for first, second in wanted
        }

    def _measure_cka(self, pairs: Sequence[tuple[Diagnosed, Diagnosed]]) -> None:
        networks = {network.name: network for pair in pairs for network in pair}
        print(f"CKA between {', '.join(networks)}", flush=True)
        results = [MinibatchCKA() for _ in pairs]
        bar = progress_bar(len(self.paths))
        # Batches of fewer than four have no CKA.
        for paths in even_batches(self.paths, max(self.batch, 2 * MIN_BATCH)):
            images = read_batch(paths, self.shape)
            grams = {
                name: layer_grams(
                    network,
                    batch_input(images, self.shape, network.backbone, network.statistics),
                )
                for name, network in networks.items()
            }
            for (first, second), result in zip(pairs, results, strict=True):
                result.add_grams(grams[first.name], grams[second.name])
            bar.update(len(paths))
        bar.file.write("\n")
        for pair, result in zip(pairs, results, strict=True):
            first, second = (network.name for network in pair)
            known = self._record["cka"]
            known[:] = [
                entry for entry in known if (entry["first"], entry["second"]) != (first, second)
            ]
            entry = {"first": first, "second": second, "key": self._cka_key(pair)}
            known.append({**entry, "cka": as_lists(result.result().cpu())})
        write_record(self.folder / RECORD, self._record)

    def _known_cka(self, pair: tuple[Diagnosed, Diagnosed]) -> list | None:
        key = self._cka_key(pair)
        return next((e["cka"] for e in self._record["cka"] if e.get("key") == key), None)

    def _cka_key(self, pair: tuple[Diagnosed, Diagnosed]) -> dict[str, Any]:
        hashes = [network.sha256 for network in pair]
        return {"sha256": hashes, "batch": self.batch, **self.options, **_of_input(pair)}

    def _maps_path(self, network: Diagnosed) -> Path:
        name = re.sub(r"[^\w.-]+", "_", network.name)
        return self.folder / "maps" / f"{name}-{network.sha256[:8]}.npz"


def _of_input(networks: Sequence[Diagnosed]) -> dict[str, Any]:
    """Returns what of a key is about the normalisation of images; nothing if it is ImageNet's.

    Records of such networks have no entry for it, and stay known.
    """
    if all(network.statistics == IMAGENET for network in networks):
        return {}
    return {"statistics": [[list(part) for part in network.statistics] for network in networks]}


def layer_grams(network: Diagnosed, pixels: Tensor) -> Tensor:
    """Returns the centred Gram matrices (layers, B, B) of the tokens after each block."""
    grams: list[Tensor] = []
    run_blocks(
        network.backbone, pixels, on_tokens=lambda _, tokens: grams.append(centered_gram(tokens))
    )
    return torch.stack(grams)

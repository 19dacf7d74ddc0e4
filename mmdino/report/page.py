"""The page: one file of HTML that needs no network and no other file."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from mmdino.evaluation.stored_input import stored_input
from mmdino.report.curves import charts_of
from mmdino.report.pictures import Images, Maps, Neighbours
from mmdino.report.svg import draw_chart
from mmdino.report.work_dir import Run
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable
from mmdino.version import __version__

REPORT = "report.html"
"""Name of the report in a work dir."""
TEMPLATE = Path(__file__).with_name("page.html")
LARGEST = 128
"""Longest side of a photograph on the page, in pixels."""
MAX_MESSAGES = 40
MAX_CONFIG = 200_000
"""Characters of a config on the page."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What of a report needs images.

    Attributes:
        views: For each of some training images its views, (H, W, 3) or (H, W), uint8.
        mapped: The images of the maps; None if there are none.
        maps: What the network sees in them, in order of time.
        images: The images of the neighbours; None if there are none.
        neighbours: Nearest images, the trained network first.
        missing: What is missing, and why.
    """

    views: Sequence[Sequence[np.ndarray]] = ()
    mapped: Images | None = None
    maps: Sequence[Maps] = ()
    images: Images | None = None
    neighbours: Sequence[Neighbours] = ()
    missing: Sequence[str] = ()


def write_report(run: Run, pictures: Pictures, path: Path) -> None:
    """Writes the report of a run, atomically.

    Args:
        run: The run.
        pictures: What was made of its images.
        path: File to write.

    Raises:
        OSError: If it cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(page(run, pictures), encoding="utf-8")


def page(run: Run, pictures: Pictures) -> str:
    """Returns the page as HTML."""
    sections = [
        _section("Curves", _curves(run)),
        _section("Views", _views(pictures)),
        _section("What the network sees", _maps(run, pictures)),
        _section("Nearest neighbours", _neighbours(run, pictures)),
        _section("Pictures that are missing", _list(pictures.missing)),
        _section("Warnings and restarts", _messages(run)),
        _section("Go on", _commands(run)),
        _section("Config", _config(run)),
        _section("Versions and machine", _environment(run)),
    ]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=_text(f"{run.name}: report"),
        heading=_text(run.name),
        state=_state(run),
        facts=_facts(run),
        sections="\n".join(filter(None, sections)),
        footer=_text(f"Work dir {printable(run.folder)}. Written by mmdino {__version__}."),
    )


def state_text(run: Run) -> str:
    """Says how far a run has come."""
    at = f"iteration {run.done:,}" + (f" of {run.total:,}" if run.total else "")
    epoch = run.curves.iterations_per_epoch
    if epoch and run.done >= epoch:
        of_total = f" of {run.total / epoch:.4g}" if run.total else ""
        at += f" (epoch {run.done / epoch:.4g}{of_total})"
    if run.state == "finished":
        return f"Finished at {at}."
    if run.state == "running":
        return f"Running, at {at}."
    if not run.done:
        return "Stopped before the first values were logged."
    return f"Stopped at {at}."


def collapse_text(run: Run) -> tuple[str, bool]:
    """Says whether a run has collapsed, and whether that is good news."""
    told = run.collapse
    if told is not None:
        if told.over is None:
            return f"Collapsed since about iteration {told.since:,}: {told.found}", False
        return (
            f"Showed a collapse from about iteration {told.since:,}, and no sign of it any more "
            f"from iteration {told.over:,} on.",
            True,
        )
    if not run.config:
        return "No warning of a collapse in the log.", True
    hooks = run.config.get("default_hooks")
    if not isinstance(hooks, Mapping) or not hooks.get("collapse_monitor"):
        return "Nothing watched for a collapse (no collapse_monitor in default_hooks).", False
    return "No sign of a collapse.", True


def accuracy_text(run: Run) -> str:
    """Says the accuracies of k-NN: untrained, best and last; empty if there are none."""
    trained = [(done, top1) for done, top1, _ in run.curves.knn if done > 0]
    untrained = [top1 for done, top1, _ in run.curves.knn if done == 0]
    parts = [f"{untrained[0]:.1f} % untrained"] if untrained else []
    if trained:
        last, best = trained[-1], max(trained, key=lambda point: point[1])
        parts.append(f"{last[1]:.1f} % at {run.when(last[0])}")
        parts.append("the best" if best == last else f"best {best[1]:.1f} % at {run.when(best[0])}")
    return f"k-NN: {', '.join(parts)}." if parts else ""


def commands(run: Run) -> dict[str, str]:
    """Returns the commands that go on with a run, by what they do."""
    if run.config_path is None:
        return {}
    config, folder = (shlex.quote(printable(path)) for path in (run.config_path, run.folder))
    options = f"--work-dir {folder} --resume"
    train = f"mmdino train {config} {options}"
    if run.environment.get("Distributed training") == "True":
        ranks = run.environment.get("GPU number", "1")
        train = f"tools/dist_train.sh {config} {ranks} {options}"
    if run.state == "finished":
        found = {"Train longer": f"{train} --cfg-options {_longer(run)}"}
    elif run.state == "running":
        found = {"Resume, once it has stopped": train}
    else:
        found = {"Resume": train}
    if run.checkpoints:
        checkpoint = shlex.quote(printable(run.checkpoints[-1].path))
        if run.config.get("val_cfg") or run.config.get("test_cfg"):
            found["Evaluate"] = f"mmdino test {config} {checkpoint}"
        # The tools that draw maps read colours alone.
        if len(stored_input({"cfg": run.config_text}, may_fail=False).mean) == len("RGB"):
            found["Look at images of your own"] = (
                f"mmdino attention {checkpoint} IMAGES --out attention\n"
                f"mmdino pca {checkpoint} IMAGES --figure pca.png"
            )
        found["Search a folder of images"] = (
            f"mmdino embed {checkpoint} IMAGES features.npz\n"
            "mmdino search features.npz IMAGE --figure found.png"
        )
    found["Write this report again"] = f"mmdino report {folder}"
    return found


def _longer(run: Run) -> str:
    """Returns the option that doubles the length of a run, as far as that is known."""
    train_cfg = run.config.get("train_cfg")
    if isinstance(train_cfg, Mapping) and isinstance(train_cfg.get("max_epochs"), int):
        return f"train_cfg.max_epochs={2 * train_cfg['max_epochs']}"
    epoch = run.curves.iterations_per_epoch
    name, done = ("max_epochs", run.done // epoch) if epoch else ("max_iters", run.done)
    return f"train_cfg.{name}={2 * done}"


def _text(text: object) -> str:
    """Escapes text; what cannot be printed is written out."""
    return escape(printable(str(text)))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{_text(title)}</h2>\n{content}\n</section>" if content else ""


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f'<ul class="messages">{items}</ul>' if items else ""


def _state(run: Run) -> str:
    collapse, is_good = collapse_text(run)
    # A number stays on the line of its percent sign.
    accuracy = _text(accuracy_text(run)).replace(" %", "&nbsp;%")
    return (
        f'<p class="state">{_text(state_text(run))} '
        f'<span class="{"good" if is_good else "bad"}">{_text(collapse)}</span> {accuracy}</p>'
    )


def _facts(run: Run) -> str:
    curves = run.curves
    facts: list[tuple[str, str, str]] = []
    if run.total:
        facts.append(("done", f"{100 * run.done / run.total:.0f} %", run.written))
    knn = [(done, top1) for done, top1, _ in curves.knn]
    if knn:
        gain = f"{knn[-1][1] - knn[0][1]:+.1f} points since the start" if knn[0][0] == 0 else ""
        facts.append(("k-NN top-1", f"{knn[-1][1]:.1f} %", gain if len(knn) > 1 else ""))
    names = {"loss": "loss", "kl": "KL", "feature_std": "feature spread"}
    for name, label in names.items():
        values = getattr(curves, name)
        values = values[np.isfinite(values)]
        if values.size:
            facts.append((label, f"{values[-1]:.3g}", f"{values[0]:.3g} at the start"))
    if run.checkpoints:
        newest = run.checkpoints[-1]
        behind = run.done - newest.iteration
        note = f"resuming repeats {behind:,} iterations" if behind > 0 else newest.path.name
        facts.append(("newest checkpoint", run.when(newest.iteration), note))
    items = "".join(
        f"<div><dt>{_text(label)}</dt><dd>{_text(value)}<small>{_text(note)}</small></dd></div>"
        for label, value, note in facts
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def _curves(run: Run) -> str:
    last, unit = max(run.curves.last_iteration, run.done), run.curves.axis_unit
    charts = "".join(draw_chart(chart, last, unit) for chart in charts_of(run.curves))
    if not charts:
        return '<p class="soft">Nothing has been logged yet.</p>'
    return f'<div class="charts">{charts}</div>'


def _views(pictures: Pictures) -> str:
    if not pictures.views:
        return ""
    rows = []
    for number, views in enumerate(pictures.views, 1):
        largest = max(max(view.shape[:2]) for view in views)
        shown = "".join(
            # All views of an image at one scale.
            _photograph(view, f"view {index} of image {number}", view.shape[1] / largest)
            for index, view in enumerate(views, 1)
        )
        rows.append(f"<div>{shown}</div>")
    sizes: dict[str, int] = {}
    for view in pictures.views[0]:
        size = f"{view.shape[1]} x {view.shape[0]} px"
        sizes[size] = sizes.get(size, 0) + 1
    kinds = ", ".join(f"{count} of {size}" for size, count in sizes.items())
    return (
        f'<p class="note">Each row: the views of one training image ({kinds}).</p>'
        f'<div class="views">{"".join(rows)}</div>'
    )


def _maps(run: Run, pictures: Pictures) -> str:
    if not pictures.maps or pictures.mapped is None:
        return ""
    count = len(pictures.maps[0].components)
    photographs = [
        f"<td>{_photograph(*pair)}</td>"
        for pair in zip(pictures.mapped.pixels[:count], pictures.mapped.names, strict=False)
    ]
    parts = []
    for title, says, attribute in (
        (
            "Attention of the class token",
            "Last block, mean of its heads; each map is scaled to its largest value.",
            "attention",
        ),
        (
            "Principal components of the patches",
            "The first three as red, green and blue, fitted to these images at each time anew: "
            "equal colours mean similar features within a column, not between columns.",
            "components",
        ),
    ):
        columns = [getattr(maps, attribute) for maps in pictures.maps]
        if not columns[0]:
            continue
        head = "".join(
            f"<th{' class=apart' if number == 0 else ''}>{_text(run.when(maps.iteration))}</th>"
            for number, maps in enumerate(pictures.maps)
        )
        rows = []
        for index, photograph in enumerate(photographs):
            cells = "".join(
                f'<td class="map{" apart" if number == 0 else ""}">'
                f"{_image(column[index], 'PNG', f'{title}, image {index + 1}')}</td>"
                for number, column in enumerate(columns)
            )
            rows.append(f"<tr>{photograph}{cells}</tr>")
        parts.append(
            f'<h3>{_text(title)}</h3><p class="note">{_text(says)}</p>'
            '<div class="scroll" tabindex="0"><table class="pictures">'
            f"<tr><th>image</th>{head}</tr>{''.join(rows)}</table></div>"
        )
    return "".join(parts)


def _neighbours(run: Run, pictures: Pictures) -> str:
    images = pictures.images
    if not pictures.neighbours or images is None:
        return ""
    parts = [
        f'<p class="note">Of {_text(images.source)}, by cosine similarity of the frozen features.'
        f"{' Framed: of the same class.' if images.labels else ''}</p>"
    ]
    for number, found in enumerate(pictures.neighbours):
        rows = []
        for query, (index, similarity) in enumerate(
            zip(found.index, found.similarity, strict=True)
        ):
            cells = [f"<td>{_photograph(images.pixels[query], images.names[query])}</td>"]
            for rank, (other, value) in enumerate(zip(index, similarity, strict=True)):
                same = bool(images.labels) and images.labels[other] == images.labels[query]
                kinds = " ".join(["same"] * same + ["apart"] * (rank == 0))
                cells.append(
                    f'<td class="{kinds}">{_photograph(images.pixels[other], images.names[other])}'
                    f"{value:.3f}</td>"
                )
            rows.append(f"<tr>{''.join(cells)}</tr>")
        parts.append(
            f"<details{' open' if number == 0 else ''}>"
            f"<summary>{_text(run.when(found.iteration))}</summary>"
            f'<div class="scroll" tabindex="0"><table class="pictures">'
            f'<tr><th>image</th><th class="apart" colspan="{found.index.shape[1]}">'
            f"nearest first</th></tr>{''.join(rows)}</table></div></details>"
        )
    return "".join(parts)


def _messages(run: Run) -> str:
    kept = run.messages[-MAX_MESSAGES:]
    left_out = len(run.messages) - len(kept)
    lines = [f"{message.time} {message.level.lower()}: {message.text}" for message in kept]
    return _list(([f"{left_out} earlier ones are in the log."] if left_out else []) + lines)


def _commands(run: Run) -> str:
    return "".join(
        f'<p class="note">{_text(title)}</p><pre class="command">{escape(command)}</pre>'
        for title, command in commands(run).items()
    )


def _config(run: Run) -> str:
    if run.config_path is None:
        return ""
    text = run.config_text[:MAX_CONFIG]
    cut = "\n# ..." if len(run.config_text) > MAX_CONFIG else ""
    return (
        f"<details><summary>{_text(run.config_path.name)}, with everything that it inherits and "
        f"what the command line changed</summary><pre>{escape(text + cut)}</pre></details>"
    )


def _environment(run: Run) -> str:
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>"
        for name, value in run.environment.items()
    )
    return f'<table class="table">{rows}</table>' if rows else ""


def _photograph(pixels: np.ndarray, name: str, share: float | None = None) -> str:
    """Returns an image, scaled down, with its name.

    Args:
        pixels: (H, W, 3) or (H, W), uint8.
        name: The name.
        share: Width as a fraction of that of the largest one; None for that of the style.
    """
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST))
    return _image(np.asarray(picture), "JPEG", name, share and f"{6.5 * share:.2f}rem")


def _image(pixels: np.ndarray, kind: str, name: str, width: str | None = None) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 85} if kind == "JPEG" else {}))
    data = base64.b64encode(file.getvalue()).decode()
    style = f' style="width:{width}"' if width else ""
    return (
        f'<img src="data:image/{kind.lower()};base64,{data}" alt="{_text(name)}" '
        f'title="{_text(name)}"{style}>'
    )

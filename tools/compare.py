"""Trains several configs on the same data and tables their k-NN, linear accuracy, time and memory.

python tools/compare.py configs/dino_demo.py configs/byol/byol_demo.py --out work_dirs/compare. The
same command resumes where it stopped.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mmdino.shipped import config_path
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.command_line import require_writable
from mmdino.utils.folder_lock import lock_folder
from mmdino.utils.numbers import require_number
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmdino.comparison.plan import Run
    from mmdino.comparison.progress import Progress
    from mmdino.comparison.record import Record
    from mmdino.comparison.results import Result

TRAIN = Path(__file__).with_name("train.py")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        "configs",
        nargs="*",
        type=config_path,
        help="paths of configs, or names of shipped ones, such as dino_demo; each run has the name "
        "of its file",
    )
    parser.add_argument(
        "--run",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME CONFIG", "KEY=VALUE"),
        help="a config under another name, with changes; repeat it for more",
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="changes to all configs"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run each (0)")
    parser.add_argument("--out", default="work_dirs/compare", help="output folder (%(default)s)")
    length = parser.add_argument_group("length of the runs; by default each config's own")
    length.add_argument("--images", type=int, help="images seen, the same for all")
    length.add_argument("--epochs", type=int, help="epochs, the same for all")
    length.add_argument(
        "--minutes", type=float, help="minutes of processor time, after a short trial of each"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (%(default)s)")
    parser.add_argument(
        "--linear",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="linear probe on the features of the k-NN bank",
    )
    parser.add_argument(
        "--linear-c",
        type=float,
        nargs="+",
        help="inverse regularisation strengths of the probe to choose from; a single one is faster",
    )
    parser.add_argument(
        "--curves",
        nargs="+",
        default=[],
        metavar="METRIC",
        help="logged values for a second figure, such as teacher_entropy kl",
    )
    return parser


def variants_of(args: argparse.Namespace) -> list[tuple[str, str, list[str]]]:
    """Returns name, config and changes of each method on the command line.

    Raises:
        ValueError: If --run has a name alone.
    """
    variants = [(Path(config).stem, config, []) for config in args.configs]
    for words in args.run:
        if len(words) < 2:
            raise ValueError(f"--run {words[0]}: expected --run NAME CONFIG [KEY=VALUE ...].")
        name, config, *options = words
        variants.append((name, config_path(config), options))
    return variants


def main(argv: Sequence[str] | None = None) -> None:
    """Plans, trains, measures and writes the tables and figures."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)

    from mmdino.comparison.progress import Progress
    from mmdino.comparison.results import read_results
    from mmdino.comparison.training import train_all
    from mmdino.weights.runner_loading import restrict_loading

    restrict_loading()
    records, notes = plan(args)
    out = Path(args.out)
    trained = [run for run, record in records if record.state == "trained"]
    with Progress([run for run, _ in records], trained) as progress:
        train_all(records, TRAIN, args.jobs, progress)
        measure_all(records, args.linear, args.linear_c, progress)
    results = read_results(records, args.linear_c, probes=args.linear)
    report(results, out, args.curves, notes, shlex.join(["python", "tools/compare.py", *argv]))
    refuse_unlogged(results, args.curves)
    if any(record.error for _, record in records):
        sys.exit(1)


def plan(args: argparse.Namespace) -> tuple[list[tuple[Run, Record]], list[str]]:
    """Checks everything before anything is trained.

    Args:
        args: The command line.

    Returns:
        The runs with their records, and lines about data and length, which are also printed.

    Raises:
        FileNotFoundError: If a config does not exist.
        ValueError: If a number is out of range, a config or a name cannot be used, the methods
            cannot be compared, or the folder has runs of another plan.
    """
    from mmdino.comparison.comparable import training_data_notes
    from mmdino.comparison.plan import Budget, apply_budget, load_methods, make_runs
    from mmdino.comparison.record import open_record
    from mmdino.comparison.trial import epochs_in_time

    out = Path(args.out)
    if not args.out:
        raise ValueError("--out is empty: name a folder, or leave it out.")
    require_number("compare", "jobs", args.jobs, least=1, whole=True)
    for strength in args.linear_c or ():
        require_number("compare", "linear-c", strength, above=0)
    if args.linear and find_spec("sklearn") is None:
        raise ModuleNotFoundError(
            "The linear probe needs scikit-learn, which is not installed. Install it with: pip "
            'install "mmdino[evaluate]", or add --no-linear.'
        )
    budget = Budget(args.images, args.epochs, args.minutes)
    methods = load_methods(variants_of(args), args.cfg_options, out, budget.epochs)
    make_runs(methods, args.seeds, out)
    require_writable(out, "folder", "Choose another with --out.")
    lock_folder(out)
    in_time = partial(epochs_in_time, minutes=args.minutes, tool=TRAIN, folder=out)
    methods, lines = apply_budget(methods, budget, out, in_time)
    notes = training_data_notes(methods) + lines
    for note in notes:
        print(note, flush=True)
    return [(run, open_record(run)) for run in make_runs(methods, args.seeds, out)], notes


def measure_all(
    records: Sequence[tuple[Run, Record]],
    linear: bool,
    strengths: list[float] | None,
    progress: Progress,
) -> None:
    """Measures the trained runs that were not measured before, and notes it in their records."""
    from mmdino.comparison.measuring import measure
    from mmdino.comparison.record import save_record

    for run, record in records:
        if record.state != "trained":
            continue
        is_measured = "parameters" in record.measured
        if linear:
            is_measured = record.measured.get("linear_strengths", ()) == strengths
        if is_measured and not record.error:
            continue
        # That of a trained run is of a measurement, which may be one that is not asked for now.
        record.error = ""
        if not is_measured:
            progress.say(f"{run}: {'linear probe' if linear else 'counting parameters'}")
            try:
                record.measured = measure(run, linear, strengths)
            # The others are measured, and the next start tries again.
            except (ValueError, FileNotFoundError) as error:
                record.error = f"cannot be measured: {error}"
                progress.say(f"{run}: {record.error}")
        save_record(run, record)


def report(
    results: Sequence[Result], out: Path, metrics: Sequence[str], notes: Sequence[str], command: str
) -> None:
    """Writes tables and figures, and prints the table.

    Args:
        results: The results of all runs.
        out: Folder of the comparison.
        metrics: Logged values for the second figure.
        notes: Lines about data and length.
        command: The command line.
    """
    from mmdino.comparison.results import summaries
    from mmdino.comparison.table import EXPLANATION, as_text, markdown_page, table, write_csv
    from mmdino.visualization.comparison_figure import draw_comparison, draw_logged, write_figure

    logged = [name for name in metrics if any(has_logged(result, name) for result in results)]
    write_csv(out / "comparison.csv", [result.row for result in results])
    write_csv(out / "curves.csv", [row for result in results for row in result.curve_rows(logged)])
    curves = [result.curves(logged) for result in results]
    figures = []
    if any(run.top1.size for run in curves):
        figures.append("comparison.png")
        write_figure(draw_comparison(curves), out / figures[-1])
    if logged:
        figures.append("comparison_curves.png")
        write_figure(draw_logged(curves, logged), out / figures[-1])
    rows = table(summaries(results))
    failures = [
        f"{result.run} failed: {result.record.error.splitlines()[0]}"
        for result in results
        if result.record.error
    ]
    machines = list(dict.fromkeys(r.record.machine for r in results if r.record.machine))
    page = markdown_page(rows, command, [*notes, *failures], machines, figures)
    with atomic_write(out / "comparison.md") as partial_page:
        partial_page.write_text(page, encoding="utf-8")
    print("", as_text(rows), "", EXPLANATION, *machines, *failures, sep="\n")
    names = ["comparison.md", "comparison.csv", "curves.csv", *figures]
    print(f"Written to {out}: {', '.join(names)}")


def has_logged(result: Result, metric: str) -> bool:
    """Whether a run has logged a value in training."""
    return any(metric in values for values in result.log.training.values())


def refuse_unlogged(results: Sequence[Result], metrics: Sequence[str]) -> None:
    """Checks that every value of --curves was logged by a run.

    Raises:
        ValueError: If one was not, with those that were.
    """
    unlogged = [name for name in metrics if not any(has_logged(r, name) for r in results)]
    names = sorted({name for r in results for values in r.log.training.values() for name in values})
    if unlogged:
        raise ValueError(
            f"--curves {' '.join(unlogged)}: no run has logged it. Logged are {', '.join(names)}. "
            "The runs are kept: give the same command with other names."
        )


if __name__ == "__main__":
    run_tool(main)

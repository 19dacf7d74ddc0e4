"""The tables of a comparison: text, Markdown and CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmdino.comparison.progress import clock
from mmdino.comparison.results import Spread, Summary
from mmdino.utils.atomic_write import atomic_write

EXPLANATION = (
    "k-NN and linear: top-1 accuracy in % after the last epoch, mean \u00b1 standard deviation "
    "over the seeds. Time, processor time (all cores) and memory (largest process) are those of "
    "training with its validations, over all starts of a run, without the linear probe."
)


def table(found: Sequence[Summary]) -> list[list[str]]:
    """Returns the cells of the table, with a header; columns without any value are left out.

    Args:
        found: The summaries, in the order of the rows.
    """
    ks = sorted(
        {int(c.split("_")[1][1:]) for s in found for c in s.values if c.startswith("knn_k")}
    )
    # With one k, that of the best k is the same.
    columns = {"k-NN": "knn_top1"} if len(ks) != 1 else {}
    columns |= {f"k-NN {k}": f"knn_k{k}_top1" for k in ks}
    columns |= {"linear": "linear_top1"}
    header = ["run", "seeds", *columns, "epochs", "images", "steps", "images/s", "time"]
    header += ["processor", "memory MiB", "GPU MiB", "parameters"]
    rows = [header] + [_row(summary, list(columns.values())) for summary in found]
    kept = [
        place
        for place, name in enumerate(header)
        if name in ("run", "seeds") or any(row[place] not in ("-", "") for row in rows[1:])
    ]
    return [[row[place] for place in kept] for row in rows]


def _row(summary: Summary, accuracies: Sequence[str]) -> list[str]:
    values = summary.values
    notes = [f"{summary.failed} failed"] if summary.failed else []
    notes += [f"{summary.waiting} not done"] if summary.waiting else []
    seeds = str(summary.trained) if summary.trained or not notes else ""
    return [
        summary.name,
        ", ".join([seeds, *notes]).lstrip(", "),
        *(_accuracy(values.get(column)) for column in accuracies),
        f"{summary.epochs:,}",
        f"{summary.images:,}",
        f"{summary.steps:,}",
        _mean(values.get("images_per_s")),
        *(clock(values[c].mean) if c in values else "-" for c in ("elapsed_s", "processor_s")),
        *(_mean(values.get(c)) for c in ("memory_mib", "cuda_memory_mib", "parameters")),
    ]


def _accuracy(value: Spread | None) -> str:
    if value is None:
        return "-"
    deviation = "" if value.deviation is None else f" \u00b1 {value.deviation:.2f}"
    return f"{value.mean:.2f}{deviation}"


def _mean(value: Spread | None) -> str:
    return "-" if value is None else f"{value.mean:,.0f}"


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Returns a table for a terminal, names on the left and numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    header, *others = [f"| {' | '.join(row)} |" for row in rows]
    rule = f"| {' | '.join('---' if place == 0 else '---:' for place in range(len(rows[0])))} |"
    return "\n".join([header, rule, *others])


def markdown_page(
    rows: Sequence[Sequence[str]],
    command: str,
    notes: Sequence[str],
    machines: Sequence[str],
    figures: Sequence[str],
) -> str:
    """Returns the page of a comparison.

    Args:
        rows: The table.
        command: The command that made it.
        notes: Lines about budgets, data and failed runs.
        machines: Where the runs were trained.
        figures: File names of the figures, in the folder of the page.
    """
    parts = ["# Comparison", f"```bash\n{command}\n```", as_markdown(rows), EXPLANATION]
    parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    parts += ["\n".join(f"Trained on: {machine}" for machine in machines)]
    parts += [f"![{Path(figure).stem}]({figure})" for figure in figures]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes rows as CSV, atomically; columns are those of all rows in the order of their coming.

    Args:
        path: The file.
        rows: Values by column; what a row lacks is left empty.
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

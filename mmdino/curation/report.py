"""What a step of curation leaves behind: a list, numbers, and a page with pictures."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdino.utils.atomic_write import atomic_write

LIST, REPORT, PAGE = "images.txt", "report.json", "report.html"
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#1f2328}"
    "img{max-width:100%;margin:.5em 0}td,th{padding:.2em 1em .2em 0;text-align:left;"
    "vertical-align:top}code{background:#f6f8fa;padding:.1em .3em}"
)


def write_report(folder: str | Path, numbers: Mapping[str, Any]) -> None:
    """Writes the numbers of a step to ``report.json``."""
    with atomic_write(Path(folder) / REPORT) as partial:
        partial.write_text(json.dumps(numbers, indent=1) + "\n")


def write_lines(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes records as lines of JSON."""
    with atomic_write(path) as partial, partial.open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def write_page(
    folder: str | Path, title: str, numbers: Mapping[str, Any], pictures: Mapping[str, str]
) -> None:
    """Writes ``report.html``.

    Args:
        folder: Where, beside the pictures.
        title: Its heading.
        numbers: What the table shows; what is nested is left to ``report.json``.
        pictures: Captions by file name.
    """
    rows = "\n".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in numbers.items()
        if not isinstance(value, (dict, list))
    )
    shown = "\n".join(
        f"<h2>{html.escape(caption)}</h2>\n<img src='{html.escape(name)}' alt=''>"
        for name, caption in pictures.items()
    )
    with atomic_write(Path(folder) / PAGE) as partial:
        partial.write_text(
            f"<!doctype html>\n<meta charset='utf-8'>\n<title>{html.escape(title)}</title>\n"
            f"<style>{STYLE}</style>\n<h1>{html.escape(title)}</h1>\n<table>\n{rows}\n</table>\n"
            f"{shown}\n",
            encoding="ascii",
            errors="xmlcharrefreplace",
        )

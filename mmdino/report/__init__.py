"""The report of a run: one page that shows what its work dir has."""

from mmdino.report.page import REPORT, write_report
from mmdino.report.work_dir import Run, read_run

__all__ = ["REPORT", "Run", "read_run", "write_report"]

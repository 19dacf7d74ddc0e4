"""torchrun for tools/dist_train.sh: says in one line which rank failed, and keeps its exit code."""

from __future__ import annotations

import sys

from mmdino.utils.tool_errors import run_tool


def main() -> None:
    """Runs torchrun with the arguments of the command line."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.run(run.parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        how = f"with exit code {failure.exitcode}"
        if failure.exitcode < 0:
            how = f"by signal {failure.signal_name()}, which may be for lack of memory"
        sys.stderr.write(f"error: rank {rank} was ended {how}; the others were stopped.\n")
        sys.exit(exit_code(failure.exitcode))
    except SignalException as signal:
        if signal.sigval == 2:
            raise KeyboardInterrupt from signal
        sys.exit(exit_code(-signal.sigval))


def exit_code(code: int) -> int:
    """Returns the exit code that a shell gives for that of a process."""
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    run_tool(main)

"""A file is written completely or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmdino.utils.atomic_write import atomic_write, remove_partial_writes

FULL_DISK = Path("/dev/full")


@pytest.fixture
def path(tmp_path):
    """An existing file, alone in its folder."""
    path = tmp_path / "folder" / "a.pth"
    path.parent.mkdir()
    path.write_bytes(b"before")
    return path


def write(path, content=b"after"):
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def require_unchanged(path):
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_no_half_written_file_stays(path, error):
    def fail():
        with atomic_write(path) as partial:
            partial.write_bytes(b"half")
            raise error("stopped")

    with pytest.raises(error, match="stopped"):
        fail()
    require_unchanged(path)


def test_the_folder_is_made_and_the_suffix_kept(tmp_path):
    path = tmp_path / "new" / "a.png"
    with atomic_write(path) as partial:
        assert partial.suffix == ".png"
        partial.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not FULL_DISK.exists(), reason="Linux has a device that is always full")
def test_a_disk_that_is_full_while_writing_loses_nothing(path):
    def fail():
        with atomic_write(path) as partial:
            partial.symlink_to(FULL_DISK)
            partial.write_bytes(b"half")

    with pytest.raises(OSError, match="No space left"):
        fail()
    require_unchanged(path)


def test_a_disk_that_is_full_while_flushing_loses_nothing(path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path)
    require_unchanged(path)


def test_the_content_is_on_disk_before_the_name_and_the_name_thereafter(path, monkeypatch):
    steps = []
    replace = os.replace

    def record_replace(source, target):
        steps.append("rename")
        replace(source, target)

    def record_flush(descriptor):
        steps.append(f"flush {os.readlink(f'/proc/self/fd/{descriptor}')}")

    if not Path("/proc/self/fd").exists():
        pytest.skip("the system does not tell the name of an open file")
    monkeypatch.setattr(os, "replace", record_replace)
    monkeypatch.setattr(os, "fsync", record_flush)
    write(path)
    partial = path.parent / ".a.pth.partial" / "a.pth"
    assert steps == [f"flush {partial}", "rename", f"flush {path.parent}"]


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_may_lack_the_flushing_of_folders(path, monkeypatch, number, raised):
    flush = os.fsync

    def flush_files(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("the system does not tell folders from files by their number")
    monkeypatch.setattr(os, "fsync", flush_files)
    if raised:
        with pytest.raises(OSError, match=os.strerror(number)):
            write(path)
    else:
        write(path)
    assert path.read_bytes() == b"after"


def test_a_killed_write_leaves_the_old_file_and_the_next_removes_its_rest(path):
    killed = (
        "import os\n"
        "from mmdino.utils.atomic_write import atomic_write\n"
        f"with atomic_write({str(path)!r}) as partial:\n"
        "    partial.write_bytes(b'half')\n"
        "    partial.with_name('beside').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    # A process of its own: nothing can clean up after SIGKILL.
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert path.read_bytes() == b"before"
    assert len(list(path.parent.iterdir())) == 2
    write(path)
    assert path.read_bytes() == b"after"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("as_link", [True, False])
def test_what_stands_where_the_partial_file_goes_is_replaced_and_not_followed(
    tmp_path, path, as_link
):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a").touch()
    blocking = path.parent / ".a.pth.partial"
    blocking.symlink_to(precious) if as_link else blocking.touch()
    remove_partial_writes(path.parent, "*.pth")
    write(path)
    assert path.read_bytes() == b"after"
    assert list(path.parent.iterdir()) == [path]
    assert (precious / "a").exists()

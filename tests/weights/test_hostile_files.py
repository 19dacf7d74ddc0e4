"""Malicious and odd files end in one clear message; nothing runs, hangs or fills the memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import signal
import struct
import subprocess
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from mmdino.weights.files import map_checkpoint, read_checkpoint, verify_checkpoint

SECONDS = 20
MEMORY = 2**31
"""Bytes that a read may add to the process, whatever the file asks for."""


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def archive(path, content=None, records=(), compression=zipfile.ZIP_STORED, pickled=None):
    """Writes a file as torch.save does, with any pickle and further records."""
    if pickled is None:
        pickled = pickle.dumps(content or {}, protocol=2)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, value in [("a/data.pkl", pickled), ("a/version", b"3\n"), *records]:
            file.writestr(name, value)


def legacy(path, pickled, rest=b""):
    """Writes a file as torch before 1.6 did, with any pickle."""
    parts = [MAGIC_NUMBER, PROTOCOL_VERSION, {"little_endian": True}]
    start = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    path.write_bytes(start + pickled + pickle.dumps([], protocol=2) + rest)


def raw(*parts):
    """Returns a pickle of the given instructions."""
    return b"\x80\x02" + b"".join(parts) + b"."


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def dict_of(value):
    return b"}" + text("a") + value + b"s"


def storage(size, kind="FloatStorage", key="0"):
    parts = text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), number(size)
    return b"(" + b"".join(parts) + b"tQ"


def tensor(size, stride, storage_size=4, offset=0, kind="FloatStorage"):
    shape = b"".join(b"(" + b"".join(map(number, values)) + b"t" for values in (size, stride))
    hooks = b"ccollections\nOrderedDict\n)R"
    args = storage(storage_size, kind) + number(offset) + shape + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + args + b"tR"


def with_tensor(path, data=bytes(16), **options):
    archive(path, pickled=raw(dict_of(tensor(**options))), records=[("a/data/0", data)])


def numpy_array(dtype_state, name="f8", data=8):
    core = np.float64(0).__reduce__()[0].__module__.encode()
    dtype = b"cnumpy\ndtype\n(" + text(name) + b"\x89\x88tR" + dtype_state + b"b"
    content = b"c_codecs\nencode\n" + text("\x01" * data) + text("latin1") + b"\x86R"
    array = b"c" + core + b"\n_reconstruct\ncnumpy\nndarray\n(" + number(0) + b"t"
    array += b"c_codecs\nencode\n" + text("b") + text("latin1") + b"\x86R\x87R"
    return array + b"(K\x01(" + number(1) + b"t" + dtype + b"\x89" + content + b"tb"


PLAIN = b"(K\x03" + text("<") + b"NNN" + struct.pack("<ci", b"J", -1) * 2 + b"K\x00t"
OBJECTS = b"(K\x03" + text("|") + b"NNN" + struct.pack("<ci", b"J", -1) * 2 + b"K\x3ft"


def nested_tuples(depth):
    """A tuple of 2^depth elements in a few bytes: its hash would never be computed."""
    return b"K\x01K\x01\x86" + b"".join(
        b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(depth)
    )


def safetensors(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def overlapping(path):
    """Many names of one record: each would be read again."""
    archive(path, records=[("a/data/0", bytes(2**20))])
    content = path.read_bytes()
    table = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[content.rindex(b"PK\x01\x02") : end]
    copies = b"".join(entry.replace(b"a/data/0", b"a/data/%c" % (65 + i)) for i in range(20))
    total = end - table + len(copies)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 23, 23, total, table, 0)
    path.write_bytes(content[:end] + copies + tail)


def encrypted(path):
    archive(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def bomb(path):
    archive(path, records=[("a/data/0", bytes(10**7))], compression=zipfile.ZIP_DEFLATED)


def flipped(path):
    torch.save({"w": torch.ones(100)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(100).numpy().tobytes())] ^= 1
    path.write_bytes(content)


SCRIPTED = b"\x80\x02c__torch__\nM\n)\x81q\x00}"
"""Start of a module of TorchScript, up to the dict of its attributes."""


def torchscript(path, pickled=None):
    content = {} if pickled is None else {"pickled": pickled}
    archive(path, records=[("a/constants.pkl", b""), ("a/code/__torch__.py", b"")], **content)


def tar(path):
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("storages"), io.BytesIO())


def with_attribute(name, value):
    tensor = torch.ones(2)
    setattr(tensor, name, value)
    return tensor


def save_other(make):
    return lambda path: torch.save({"w": make()}, path)


def pickled(content, protocol):
    return lambda path: path.write_bytes(pickle.dumps(content, protocol=protocol))


def in_archive(content, protocol=2):
    return lambda path: archive(path, pickled=pickle.dumps(content, protocol=protocol))


def in_legacy(content, protocol=2):
    return lambda path: legacy(path, pickle.dumps(content, protocol=protocol))


def of(pickled, **options):
    return lambda path: archive(path, pickled=raw(pickled), **options)


def written(content):
    return lambda path: path.write_bytes(content)


SYSTEM = {"w": Call(os.system, "touch marker")}
CODE = "asks to run code: "
NOT_WEIGHTS = "is not a weight file of torch or safetensors"
WRONG_ARGS = "in a way that weight files never do"

FILES = {
    # Code, in each way a pickle can ask for it.
    **{
        f"os.system in an archive, protocol {n}": (in_archive(SYSTEM, n), rf"{CODE}posix\.system\.")
        for n in range(6)
    },
    **{
        f"os.system in a legacy file, protocol {n}": (in_legacy(SYSTEM, n), r"posix\.system\.")
        for n in range(6)
    },
    **{
        f"os.system in a plain pickle, protocol {n}": (pickled(SYSTEM, n), r"posix\.system\.")
        for n in range(6)
    },
    "exec": (in_archive(Call(exec, "open('marker', 'w')")), rf"{CODE}builtins\.exec\."),
    "eval of a legacy file": (in_legacy(Call(eval, "open('marker', 'w')")), r"builtins\.eval\."),
    "os.popen": (in_archive({"w": Call(os.popen, "touch marker")}), rf"{CODE}os\.popen\."),
    "Popen": (in_archive(Call(subprocess.Popen, ["touch", "marker"])), r"subprocess\.Popen\."),
    "two of them": (
        in_archive([Call(os.system, "touch marker"), Call(os.popen, "touch marker")]),
        rf"{CODE}posix\.system, os\.popen\.",
    ),
    "an instance by INST": (
        of(b"(" + text("touch marker") + b"iposix\nsystem\n"),
        r"posix\.system",
    ),
    "an instance by OBJ": (
        of(b"(cposix\nsystem\n" + text("touch marker") + b"o"),
        r"posix\.system",
    ),
    "code before damage": (of(b"cposix\nsystem\n\xff"), rf"{CODE}posix\.system\."),
    "an extension": (of(b"\x82\x01)R"), rf"{CODE}copyreg extension 1\."),
    "getattr of another class": (
        of(b"c__builtin__\ngetattr\ncargparse\nNamespace\n" + text("x") + b"\x86R"),
        f"calls builtins.getattr {WRONG_ARGS}",
    ),
    "a private attribute": (
        of(
            b"c__builtin__\ngetattr\ncmmengine.logging.history_buffer\nHistoryBuffer\n"
            + text("__init__")
            + b"\x86R"
        ),
        f"calls builtins.getattr {WRONG_ARGS}",
    ),
    "an unrestricted load within": (
        in_archive(Call(torch.storage._load_from_bytes, b"x")),
        r"torch\.storage\._load_from_bytes",
    ),
    "a pickle within a pickle": (
        in_archive(Call(pickle.loads, pickle.dumps(1))),
        rf"{CODE}pickle\.loads\.",
    ),
    "a whole model": (lambda path: torch.save(torch.nn.Linear(1, 1), path), r"torch\.nn\.modules"),
    # What torch's restricted unpickler allows, with arguments that exhaust or damage.
    "a codec of host names": (
        of(dict_of(b"c_codecs\nencode\n" + text("a" * 2**20) + text("idna") + b"\x86R")),
        f"calls _codecs.encode {WRONG_ARGS}",
    ),
    "a bytearray of 1 TB": (
        of(dict_of(b"c__builtin__\nbytearray\n" + number(10**12) + b"\x85R")),
        rf"{CODE}builtins\.bytearray\.",
    ),
    "a storage called with a size": (
        of(dict_of(b"ctorch.storage\nUntypedStorage\n" + number(10**12) + b"\x85R")),
        r"calls torch\.storage\.UntypedStorage, which weight files never do",
    ),
    "nested tuples as a key": (
        of(b"}" + nested_tuples(60) + b"K\x01s"),
        "a key that is no plain value",
    ),
    "nested tuples in a set": (
        of(b"c__builtin__\nset\n](" + nested_tuples(60) + b"e\x85R"),
        "a key that is no plain value",
    ),
    "nested tuples as pairs": (
        of(b"ccollections\nOrderedDict\n](](" + nested_tuples(60) + b"K\x01ee\x85R"),
        "a key that is no plain value",
    ),
    "nested tuples as an argument": (
        of(dict_of(b"ctorch\nSize\n" + nested_tuples(60) + b"R")),
        "expand to",
    ),
    "integers of one hash": (
        of(b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(1, 5)) + b"u"),
        "a key that is no plain value",
    ),
    "integers of one hash in tuples": (
        of(b"}(" + b"".join(number(i * (2**61 - 1)) + b"\x85N" for i in range(1, 5)) + b"u"),
        "a key that is no plain value",
    ),
    "a dtype that all arrays share": (
        of(dict_of(b"cnumpy\ndtype\n(" + text("f8") + b"\x89\x89tR" + PLAIN + b"b")),
        f"calls numpy.dtype {WRONG_ARGS}",
    ),
    "a tensor of many axes": (
        lambda path: with_tensor(path, size=[2**62] * 1000, stride=[0] * 1000),
        WRONG_ARGS,
    ),
    "names of many letters": (
        of(b"".join(b"cm%d\n%s\n" % (i, b"x" * 10**4) for i in range(100))),
        rf"{CODE}m0\.x{{97}}, m1",
    ),
    "a name that controls a terminal": (
        of(b"c\x1b[2J\nsystem\n)R"),
        rf"{CODE}\\x1b\[2J\.system\.",
    ),
    "numbers that claim to be objects": (
        of(dict_of(numpy_array(OBJECTS, "f8"))),
        f"sets the state of numpy.dtype {WRONG_ARGS}",
    ),
    "an array of objects": (
        of(dict_of(numpy_array(PLAIN, "O8"))),
        f"calls numpy.dtype {WRONG_ARGS}",
    ),
    "an array that is larger than its bytes": (
        of(dict_of(numpy_array(PLAIN, "f8", data=4))),
        "corrupted or truncated",
    ),
    "a state of a class": (of(b"ctorch\nFloatStorage\n}b"), WRONG_ARGS),
    "methods of an ordered dict": (
        of(b"ccollections\nOrderedDict\n)R}" + text("copy") + b"K\x01sb"),
        f"sets the state of collections.OrderedDict {WRONG_ARGS}",
    ),
    "methods of a history": (
        of(
            b"cmmengine.logging.history_buffer\nHistoryBuffer\n)\x81}"
            + text("statistics_methods")
            + dict_of(b"K\x01")
            + b"sb"
        ),
        WRONG_ARGS,
    ),
    # Tensors that are not in the file.
    "strides beyond the storage": (
        lambda path: with_tensor(path, size=[2, 2], stride=[100, 1]),
        r"shape \(2, 2\), strides \(100, 1\) and offset 0, but its storage has only 4 elements",
    ),
    "an offset beyond the storage": (
        lambda path: with_tensor(path, size=[1], stride=[1], offset=4),
        "its storage has only 4 elements",
    ),
    "negative strides": (lambda path: with_tensor(path, size=[2], stride=[-1]), WRONG_ARGS),
    "a size without stride": (lambda path: with_tensor(path, size=[2, 2], stride=[1]), WRONG_ARGS),
    "a value repeated 10^12 times": (
        lambda path: with_tensor(path, size=[10**12], stride=[0]),
        "its tensors need 250000000000 bytes",
    ),
    "a storage of 4 TB": (
        lambda path: with_tensor(path, size=[10**12], stride=[1], storage_size=10**12),
        r"its tensors need 4000000000000 bytes, but the file has \d+\.",
    ),
    "a storage of 4 TB in a legacy file": (
        lambda path: legacy(path, raw(dict_of(tensor([10**12], [1], 10**12)))),
        "its tensors need 4000000000000 bytes",
    ),
    "a storage that is shorter": (
        lambda path: with_tensor(path, size=[4], stride=[1], data=bytes(12)),
        "is of 12 bytes, expected 16",
    ),
    "a storage of another dtype": (
        lambda path: with_tensor(path, size=[4], stride=[1], kind="DoubleStorage"),
        "is of 16 bytes, expected 32",
    ),
    "no storage": (of(dict_of(tensor([4], [1]))), "tensor data data/0 is missing"),
    "a reference to something else": (of(text("file") + b"\x85Q"), "is no storage"),
    # Other tensors.
    "sparse": (save_other(lambda: torch.eye(2).to_sparse()), "has a sparse tensor"),
    "sparse, compressed": (save_other(lambda: torch.eye(2).to_sparse_csr()), "has a sparse tensor"),
    "quantised": (
        save_other(lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)),
        "has a quantised tensor",
    ),
    "nested": (
        save_other(lambda: torch.nested.nested_tensor([torch.ones(2)])),
        "has a nested tensor",
    ),
    "a method of tensors replaced": (
        save_other(lambda: with_attribute("backward", "x")),
        "calls torch._tensor._rebuild_from_type_v2 in a way",
    ),
    "an attribute that is no plain value": (
        save_other(lambda: with_attribute("_note", [1])),
        "calls torch._tensor._rebuild_from_type_v2 in a way",
    ),
    "meta": (save_other(lambda: torch.ones(2, device="meta")), "has a meta tensor"),
    # Archives.
    "a compression bomb": (bomb, "has the compressed record"),
    "records that overlap": (overlapping, "its records do not fill the file|Overlapped entries"),
    "an encrypted record": (encrypted, "has the encrypted record"),
    "a name that leaves the folder": (
        lambda path: archive(path, records=[("../../marker", b"x")]),
        "its records are not in one folder",
    ),
    "an absolute name": (
        lambda path: archive(path, records=[("/marker", b"x")]),
        "its records are not in one folder",
    ),
    "two records of one name": (
        lambda path: archive(path, records=[("a/DATA.pkl", pickle.dumps(SYSTEM))]),
        "it has two records of one name",
    ),
    "an archive behind another": (
        lambda path: path.write_bytes(_archive_bytes() + _archive_bytes()),
        "its records do not fill the file",
    ),
    "TorchScript without a module": (torchscript, "is a TorchScript archive without a module"),
    "TorchScript that asks for code": (
        lambda path: torchscript(path, pickle.dumps(SYSTEM, protocol=2)),
        r"asks to run code: \w+\.system",
    ),
    "a module within itself": (
        lambda path: torchscript(path, SCRIPTED + b"(X\x01\x00\x00\x00mh\x00ub."),
        "or a module that has itself in it",
    ),
    "a script's tensor beyond its storage": (
        lambda path: torchscript(path, SCRIPTED + b"(" + text("w") + tensor([5], [1]) + b"ub."),
        "its storage has only 4 elements",
    ),
    "a script without the numbers": (
        lambda path: torchscript(path, SCRIPTED + b"(" + text("w") + tensor([4], [1]) + b"ub."),
        "its tensor data data/0 is missing",
    ),
    "modules without names": (
        lambda path: torchscript(path, SCRIPTED + b"(K\x01h\x00ub."),
        "a module has an attribute whose name is no text",
    ),
    "a script's call of something else": (
        lambda path: torchscript(path, b"\x80\x02ctorch.jit\nload\n)R."),
        r"asks to run code: torch\.jit\.load",
    ),
    "an archive of NumPy": (lambda path: _savez(path), r"zip archive without data\.pkl.*x\.npy"),
    "an empty archive": (
        lambda path: zipfile.ZipFile(path, "w").close(),
        NOT_WEIGHTS,
    ),
    "a flipped bit": (flipped, "its record 'a/data/0' does not match its checksum"),
    # Other kinds of files.
    "empty": (written(b""), NOT_WEIGHTS),
    "zeros": (written(bytes(1000)), NOT_WEIGHTS),
    "a page": (written(b"<!DOCTYPE html><html>404</html>"), NOT_WEIGHTS),
    "a pointer of Git LFS": (written(b"version https://git-lfs.github.com/spec/v1\n"), NOT_WEIGHTS),
    "text": (written(b"config of the run\nand more\n"), NOT_WEIGHTS),
    "a tar archive": (tar, NOT_WEIGHTS),
    "gzip": (written(gzip.compress(b"x")), NOT_WEIGHTS),
    "ONNX": (written(b"\x08\x08\x12\x07pytorch"), NOT_WEIGHTS),
    "a plain pickle": (pickled({"a": 1}, 2), "is a pickle that torch.save did not write"),
    "a later protocol": (in_archive({"a": 1}, 4), "is a pickle of protocol 4"),
    "a list": (in_archive([1]), "contains a list"),
    # safetensors.
    "a header of 10^9 bytes": (
        written(struct.pack("<Q", 10**9) + b"{}"),
        "corrupted or truncated",
    ),
    "a header of 2^63 bytes": (
        written(struct.pack("<Q", 2**63) + b"{}"),
        "corrupted or truncated",
    ),
    "tensors of 10^12 bytes": (
        lambda path: safetensors(
            path,
            {"w": {"dtype": "F32", "shape": [250 * 10**9], "data_offsets": [0, 10**12]}},
        ),
        "corrupted or truncated",
    ),
    "an overflow of the shape": (
        lambda path: safetensors(
            path,
            {"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}},
            bytes(4),
        ),
        "corrupted or truncated",
    ),
    "an unknown dtype": (
        lambda path: safetensors(
            path, {"w": {"dtype": "PKL", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
        ),
        "corrupted or truncated",
    ),
    "nested JSON": (lambda path: safetensors(path, b'{"a":' * 10**5), "corrupted or truncated"),
    "JSON that is not UTF-8": (lambda path: safetensors(path, b'{"\xff":1}'), "corrupted"),
}
"""What is written to the path, and what the message must name."""


def _archive_bytes():
    buffer = io.BytesIO()
    archive(buffer)
    return buffer.getvalue()


def _savez(path):
    with path.open("wb") as file:
        np.savez(file, x=np.ones(2))


@pytest.fixture
def bounded():
    """Stops a test that takes too long or too much memory."""

    def stop(*_):
        raise TimeoutError(f"not done after {SECONDS} s")

    previous = signal.signal(signal.SIGALRM, stop)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
    resource.setrlimit(resource.RLIMIT_AS, before)


pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")


# What torch says of unusual tensors while they are saved, and Python of an old pickletools.
@pytest.mark.filterwarnings("ignore:.*(beta state|quantized tensor|prototype stage|escape)")
@pytest.mark.parametrize("read", [read_checkpoint, verify_checkpoint, map_checkpoint])
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(tmp_path, monkeypatch, bounded, name, read):
    make, expected = FILES[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth"
    make(path)
    if name == "a flipped bit" and read is map_checkpoint:
        assert read(path).keys() == {"w"}
        return
    with pytest.raises(ValueError, match=expected) as raised:
        read(path)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 900
    assert os.listdir(tmp_path) == ["a.pth"]


def test_what_is_no_file_is_refused(tmp_path, bounded):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    for special in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(ValueError, match="is no regular file"):
            read_checkpoint(special)
    for absent in ("loop", "dangling", "nul\0byte", "x" * 300):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            read_checkpoint(tmp_path / absent)
    with pytest.raises(FileNotFoundError, match="is a folder without"):
        read_checkpoint(tmp_path / "folder")
    with pytest.raises(ValueError, match="is no regular file"):
        verify_checkpoint(tmp_path / "folder")


def test_a_name_that_is_no_text_can_be_printed(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.pth")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"\\udcff\.pth is not a weight file") as raised:
        read_checkpoint(path)
    str(raised.value).encode()
    torch.save({"w": torch.ones(2), "meta": {"epoch": 1}}, path)
    assert read_checkpoint(path)["w"].tolist() == [1, 1]
    assert map_checkpoint(path)["meta"] == {"epoch": 1}


def test_what_looks_alike_and_is_harmless_is_read(tmp_path, bounded):
    shared = (1, 2)
    content = {
        "keys": {0: 1, None: 2, True: 3, 1.5: 4, (1, "a"): 5, b"x": 6, -3: 7},
        "texts": ["cposix\nsystem\n", "asks to run code"],
        "set": {1, "a", (1, 2)},
        "shared": [shared] * 100,
        "deep": [[[[[]]]]],
        "large": 2**70,
        "views": list(torch.arange(6.0).view(2, 3).T),
        "expanded": torch.ones(1).expand(3),
        "empty": torch.zeros(0, 3),
        "arrays": [np.zeros(0), np.ones(2, np.uint8), np.ones(2, bool), np.ones((2, 3)).T],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "ordered": OrderedDict(a=1),
        "noted": torch.ones(2),
    }
    # As FSDP does.
    content["noted"]._has_been_cloned = True
    content["self"] = content
    torch.save(content, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    assert found["self"] is found
    for name in ("keys", "texts", "set", "shared", "deep", "large", "ordered"):
        assert found[name] == content[name]
    for name in ("expanded", "empty", "parameter", "noted"):
        assert torch.equal(found[name], content[name])
    assert all(map(torch.equal, found["views"], content["views"]))
    for array, expected in zip(found["arrays"], content["arrays"], strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)


def test_ordered_dicts_of_python_2_are_read(tmp_path):
    pairs = b"](](U\x01aK\x01ee"
    archive(tmp_path / "a.pth", pickled=raw(b"ccollections\nOrderedDict\n" + pairs + b"\x85R"))
    assert read_checkpoint(tmp_path / "a.pth") == OrderedDict(a=1)

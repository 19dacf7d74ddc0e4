"""What a pickle of weights asks for, found without unpickling it."""

from __future__ import annotations

import math
import pickletools
import re
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import torch

HISTORY_BUFFER = "mmengine.logging.history_buffer.HistoryBuffer"
NUMPY_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The module of NumPy's functions before and since its version 2."""
ARRAYS = tuple(f"{module}._reconstruct" for module in NUMPY_CORES)
SCALARS = tuple(f"{module}.scalar" for module in NUMPY_CORES)
TENSORS = tuple(f"torch._utils._rebuild_tensor{end}" for end in ("", "_v2", "_v3"))
TENSOR = "torch.Tensor"
STORAGE_DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.ComplexFloatStorage": torch.complex64,
}
"""Type of an element of each kind of storage that has one."""
STORAGES = {
    **{kind: dtype.itemsize for kind, dtype in STORAGE_DTYPES.items()},
    "torch.storage.UntypedStorage": 1,
}
"""Bytes of an element of each kind of storage."""
DTYPES = {
    str(dtype): dtype.itemsize for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)
}
UNUSUAL_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch.serialization._get_layout": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch.per_tensor_affine": "a quantised tensor",
    "torch.per_channel_affine": "a quantised tensor",
    **{f"torch.Q{kind}Storage": "a quantised tensor" for kind in ("Int8", "UInt8", "Int32")},
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a meta tensor, which has no values",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a subclass",
    "torch._utils._rebuild_parameter_with_state": "a parameter with attributes",
}
DICTS = ("collections.OrderedDict", "collections.Counter")
KEYS = (*SCALARS, "torch.device", "_codecs.encode", "builtins.bytes")
"""Functions whose results may be keys of a dict, beside plain values."""
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
PICKLE_ERRORS = (ValueError, LookupError, TypeError, AttributeError, OverflowError, struct.error)
"""Errors of pickletools, and of the inspection, for a damaged pickle."""

MAX_KEY_WEIGHT = 100
MAX_INT_KEY = 2**60
"""Python's hashes of larger integers can be made to collide."""
MAX_WORK = 100
"""Elements that constructors may be given for a byte of the pickle."""
MAX_EXPANSION = 16
"""Bytes of all tensors, for a byte of the file: tensors may share a storage or repeat a value."""
CLASSES = "__torch__."
"""What the names of the classes of TorchScript begin with."""
TORCHSCRIPT_LISTS = "torch.jit._pickle"
MAX_ATTRIBUTES, MAX_NAME = 10**5, 1000
"""Attributes of all modules of an archive, and characters of the name of one."""
MAX_AXES = 64
"""Axes of a tensor, as in torch."""
MAX_NAMES, MAX_CHARACTERS = 5, 100
"""Names in a message, and characters of one."""
MAX_PROTOCOL = 3
"""Torch's restricted unpickler does not know the instructions of later protocols."""


def inspect_pickle(file: BinaryIO, file_size: int) -> dict[str, int]:
    """Checks that unpickling would build plain values and tensors within bounds, and nothing else.

    torch's restricted unpickler runs no foreign code either, but it allocates what a pickle asks
    for, and the functions that it allows can be given arguments that take forever or damage memory.

    Args:
        file: File at the start of a pickle; afterwards it is at its end.
        file_size: Bytes of the whole weight file, which bound its tensors.

    Returns:
        Bytes of each storage of tensors, by its key.

    Raises:
        ValueError: If the pickle asks for anything else or is damaged. The message is the rest of a
            sentence that starts with the file's name.
    """
    inspection = _Inspection(file_size)
    _inspect(inspection, file)
    return inspection.storages


def _inspect(inspection: _Inspection, file: BinaryIO) -> None:
    """Runs all instructions of a pickle and raises what they come to."""
    start = file.tell()
    damage: Exception | None = None
    try:
        for opcode, argument, _ in pickletools.genops(file):
            inspection.step(opcode, argument)
    except PICKLE_ERRORS as error:
        damage = error
    inspection.raise_refused()
    if damage is not None:
        raise ValueError(f"is corrupted or truncated: {_first_line(damage)}") from damage
    inspection.raise_unbounded(file.tell() - start)


class SavedTensor(NamedTuple):
    """Where an archive has the numbers of a tensor."""

    storage: str
    """Key of its storage."""
    kind: str
    """Kind of its storage, one of ``STORAGES``."""
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def inspect_modules(
    file: BinaryIO, file_size: int
) -> tuple[dict[str, SavedTensor], dict[str, int]]:
    """Finds the tensors of the modules in the pickle of a TorchScript archive.

    Args:
        file: File at the start of the pickle.
        file_size: Bytes of the whole archive.

    Returns:
        The tensors by the name that they have in a state dict, and the bytes of each storage.

    Raises:
        ValueError: As in :func:`inspect_pickle`, or if there are no modules.
    """
    inspection = _ModuleInspection(file_size)
    _inspect(inspection, file)
    return inspection.tensors(), inspection.storages


@dataclass(eq=False)
class _Global:
    name: str


@dataclass(eq=False)
class _Tuple:
    items: list[Any]
    weight: int
    """Elements, those of tuples within it included as often as they are in it."""


@dataclass(eq=False)
class _Items:
    """A list, or the keys and values of a dict in turns."""

    items: list[Any] = field(default_factory=list)
    is_dict: bool = False


@dataclass(eq=False)
class _Storage:
    item_size: int
    num_items: int
    key: str
    kind: str


@dataclass(eq=False)
class _Call:
    """An object made by calling a function or class."""

    name: str
    args: list[Any]


_OTHER = object()
"""The result of an instruction that torch does not know."""


class _Inspection:
    """Runs the instructions on descriptions of values instead of values."""

    def __init__(self, file_size: int) -> None:
        self.storages: dict[str, int] = {}
        self._file_size = file_size
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._code: dict[str, None] = {}
        self._problems: list[str] = []
        self._work = 0
        self._tensor_bytes = 0

    def raise_refused(self) -> None:
        """Raises ValueError for what the pickle asks for."""
        if self._code:
            names = ", ".join(name[:MAX_CHARACTERS] for name in list(self._code)[:MAX_NAMES])
            raise ValueError(
                f"asks to run code: {names}. Weight files need only tensors and "
                "plain values, so nothing was loaded or run. If you trust the file, load it where "
                "it was made and save only the tensors: torch.save(model.state_dict(), path)."
            )
        if self._problems:
            raise ValueError(f"{self._problems[0]}. Nothing was loaded.")

    def raise_unbounded(self, pickle_size: int) -> None:
        """Raises ValueError for what takes more memory or time than the file's size explains."""
        if self._work > MAX_WORK * pickle_size:
            raise ValueError(
                f"has nested values that expand to {self._work} elements from {pickle_size} bytes. "
                "It was made to exhaust the memory or the time; do not load it."
            )
        needed = max(sum(self.storages.values()), self._tensor_bytes // MAX_EXPANSION)
        if needed > self._file_size:
            raise ValueError(
                f"is corrupted or truncated: its tensors need {needed} bytes, but the file has "
                f"{self._file_size}"
            )

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Runs one instruction."""
        name, stack = opcode.name, self._stack
        if name == "PROTO":
            if argument > MAX_PROTOCOL:
                self._problems.append(
                    f"is a pickle of protocol {argument}, which cannot be loaded without running "
                    "code. Save it without pickle_protocol: torch.save(content, path)"
                )
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name in ("GLOBAL", "INST"):
            found = self._global(*argument.split(" ", 1))
            if name == "INST":
                self._to_mark()
            stack.append(found)
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(self._global(str(module), str(attribute)))
        elif name.startswith("EXT"):
            self._code[f"copyreg extension {argument}"] = None
            stack.append(_OTHER)
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE"):
            items = self._to_mark() if name == "TUPLE" else self._pop(len(opcode.stack_before))
            stack.append(_Tuple(items, 1 + sum(map(_weight, items))))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append(_Items(is_dict=name == "EMPTY_DICT"))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            number = len(opcode.stack_before) - 1
            self._extend(self._to_mark() if name.endswith("S") else self._pop(number))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in ("REDUCE", "NEWOBJ"):
            args, function = stack.pop(), stack.pop()
            stack.append(self._call(function, args))
        elif name == "BUILD":
            state = stack.pop()
            self._build(stack[-1], state)
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        else:
            self._other(opcode, argument)

    def _other(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Does to the stack what pickletools' table says of the instruction."""
        before = list(opcode.stack_before)
        if pickletools.markobject in before:
            self._to_mark()
            before = before[: before.index(pickletools.markobject)]
        self._pop(len(before))
        if len(opcode.stack_after) == 1 and not opcode.stack_before:
            self._stack.append(CONSTANTS.get(opcode.name, argument))
        else:
            self._stack += [_OTHER for _ in opcode.stack_after]

    def _pop(self, number: int) -> list[Any]:
        if number > len(self._stack):
            raise ValueError("an instruction takes more values than there are")
        start = len(self._stack) - number
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _to_mark(self) -> list[Any]:
        return self._pop(len(self._stack) - self._marks.pop())

    def _global(self, module: str, attribute: str) -> _Global:
        # Python 2's names, which pickles of protocol 2 have.
        module, attribute = NAME_MAPPING.get(
            (module, attribute), (IMPORT_MAPPING.get(module, module), attribute)
        )
        name = f"{module}.{attribute}"
        if name in UNUSUAL_TENSORS:
            self._problems.append(
                f"has {UNUSUAL_TENSORS[name]}: expected dense tensors, as in "
                "torch.save(model.state_dict(), path)"
            )
        elif name not in CALLS and name not in VALUES:
            self._code[name] = None
        return _Global(name)

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, _Call) and target.name in DICTS:
            target = _Items(is_dict=True)
        elif not isinstance(target, _Items):
            raise ValueError("an instruction adds to a value that is no list or dict")
        if target.is_dict:
            self.check_keys(items[::2])
        target.items += items

    def check_keys(self, keys: Iterable[Any]) -> None:
        """Checks that keys of a dict or elements of a set are fast to hash and compare."""
        for key in keys:
            self._work += _weight(key)
            if not _is_key(key):
                self._problems.append("has a dict or set with a key that is no plain value")
                return

    def _call(self, function: Any, args: Any) -> Any:
        name = getattr(function, "name", None)
        if not isinstance(function, _Global) or name not in CALLS:
            # What is not allowed is already named.
            if not self._code:
                self._problems.append(f"calls {name or 'a value'}, which weight files never do")
            return _OTHER
        if not isinstance(args, _Tuple):
            raise ValueError("a function is called without arguments")
        items = args.items
        self._work += args.weight + sum(
            _weight(item) for arg in items if isinstance(arg, _Items) for item in arg.items
        )
        if not CALLS[name](self, items):
            self._problems.append(f"calls {name} in a way that weight files never do")
        return _Call(name, items)

    def _build(self, target: Any, state: Any) -> None:
        """Checks a state that torch will set."""
        name = target.name if isinstance(target, _Call) else None
        items = state.items if isinstance(state, _Tuple | _Items) else []
        keys = items[::2] if isinstance(state, _Items) and state.is_dict else None
        if name == "numpy.dtype":
            # The rest could declare that numbers are pointers.
            good = len(items) == 8 and items[0] == 3 and items[1] in ("<", ">", "|", "=")
            good = good and items[2:] == [None, None, None, -1, -1, 0]
        elif name in ARRAYS:
            good = len(items) == 5 and items[0] == 1 and _is_call(items[2], "numpy.dtype")
            good = good and _is_bytes(items[4])
        elif name == "collections.OrderedDict":
            good = keys is not None and set(map(_text, keys)) <= {"_metadata"}
        elif name == HISTORY_BUFFER:
            methods = dict(zip(keys or [], items[1::2], strict=False)).get("statistics_methods")
            good = keys is not None and all(isinstance(key, str) for key in keys)
            good = good and isinstance(methods, _Items | None)
            good = good and all(_is_call(m, "builtins.getattr") for m in _values(methods))
        elif name == "argparse.Namespace":
            good = keys is not None and all(isinstance(key, str) for key in keys)
        else:
            good = False
        if not good and not self._code:
            self._problems.append(
                f"sets the state of {name or 'a value'} in a way that weight files never do"
            )

    def _storage(self, identity: Any) -> _Storage:
        items = identity.items if isinstance(identity, _Tuple) else []
        # The sixth, of torch before 1.6, would say that it is a part of another storage.
        if (
            len(items) not in (5, 6)
            or items[5:] not in ([], [None])
            or _text(items[0]) != "storage"
        ):
            raise ValueError("it refers to something that is no storage of a tensor")
        kind, key, num_items = items[1], _text(items[2]), items[4]
        name = kind.name if isinstance(kind, _Global) else None
        if name not in STORAGES or not _is_size(num_items) or key is None:
            raise ValueError("it has a storage without kind, name or size")
        size = STORAGES[name] * num_items
        if self.storages.setdefault(key, size) != size:
            raise ValueError(f"its storage {key[:MAX_CHARACTERS]!r} has two sizes")
        return _Storage(STORAGES[name], num_items, key, name)

    def check_tensor(self, args: list[Any], item_size: int | None = None) -> bool:
        """Checks that a tensor is within its storage.

        Args:
            args: Storage, offset, sizes, strides, and optionally ``requires_grad`` and hooks.
            item_size: Bytes of an element, if the storage is one of bytes.
        """
        storage, offset, size, stride = args[:4]
        sizes, strides = (
            value.items if isinstance(value, _Tuple) else [None] for value in (size, stride)
        )
        plain = isinstance(storage, _Storage) and all(map(_is_size, [offset, *sizes, *strides]))
        hooks = all(_is_call(hook, "collections.OrderedDict") for hook in args[5:6])
        if not plain or not hooks or len(sizes) != len(strides) or len(args) > 6:
            return False
        if len(sizes) > MAX_AXES:
            return False
        item_size = item_size or storage.item_size
        num_items = math.prod(sizes)
        last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        if num_items and (last + 1) * item_size > storage.num_items * storage.item_size:
            self._problems.append(
                f"has a tensor of shape {tuple(sizes)}, strides {tuple(strides)} and offset "
                f"{offset}, but its storage has only {storage.num_items} elements"
            )
        self._tensor_bytes += num_items * item_size
        return True


@dataclass(eq=False)
class _Module:
    """A module of TorchScript with its attributes by name."""

    attributes: dict[str, Any] = field(default_factory=dict)


class _ModuleInspection(_Inspection):
    """Also takes modules, whose classes are code in the archive that nothing asks for here."""

    def __init__(self, file_size: int) -> None:
        super().__init__(file_size)
        self._root: Any = None

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Runs one instruction."""
        if opcode.name == "STOP" and self._stack:
            self._root = self._stack[-1]
        super().step(opcode, argument)

    def tensors(self) -> dict[str, SavedTensor]:
        """Returns the tensors of the modules by their names.

        Raises:
            ValueError: If there are no modules, or they are within each other too often.
        """
        if not isinstance(self._root, _Module):
            raise ValueError("is a TorchScript archive without a module. Nothing was loaded")
        found: dict[str, SavedTensor] = {}
        waiting = [("", self._root)]
        number = 0
        while waiting:
            prefix, module = waiting.pop()
            number += 1 + len(module.attributes)
            longest = max(map(len, module.attributes), default=0)
            if number > MAX_ATTRIBUTES or len(prefix) + longest > MAX_NAME:
                raise ValueError(
                    f"is a TorchScript archive with more than {MAX_ATTRIBUTES} attributes, names "
                    f"of more than {MAX_NAME} characters, or a module that has itself in it. "
                    "Nothing was loaded"
                )
            for name, value in module.attributes.items():
                if isinstance(value, _Module):
                    waiting.append((f"{prefix}{name}.", value))
                elif _is_call(value, *TENSORS):
                    storage, offset, size, stride = value.args[:4]
                    place = (offset, tuple(size.items), tuple(stride.items))
                    found[prefix + name] = SavedTensor(storage.key, storage.kind, *place)
        return found

    def _global(self, module: str, attribute: str) -> _Global:
        if f"{module}.".startswith(CLASSES) or module == TORCHSCRIPT_LISTS:
            return _Global(f"{module}.{attribute}")
        return super()._global(module, attribute)

    def _call(self, function: Any, args: Any) -> Any:
        name = getattr(function, "name", "")
        if name.startswith(CLASSES):
            return _Module()
        # A list of numbers, or a value with the name of its type.
        return _OTHER if name.startswith(TORCHSCRIPT_LISTS) else super()._call(function, args)

    def _build(self, target: Any, state: Any) -> None:
        if not isinstance(target, _Module):
            super()._build(target, state)
            return
        items = state.items if isinstance(state, _Items) and state.is_dict else []
        names, values = items[::2], items[1::2]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a module has an attribute whose name is no text")
        target.attributes.update(zip(names, values, strict=True))


def _weight(value: Any) -> int:
    return value.weight if isinstance(value, _Tuple) else 1


def _is_key(value: Any) -> bool:
    if isinstance(value, _Tuple):
        return value.weight <= MAX_KEY_WEIGHT and all(map(_is_key, value.items))
    if isinstance(value, int):
        return abs(value) < MAX_INT_KEY
    if isinstance(value, _Call):
        return value.name in KEYS
    return value is None or isinstance(value, str | bytes | float | _Global)


def _text(value: Any) -> str | None:
    # Python 2 wrote text as bytes.
    if isinstance(value, bytes):
        return value.decode("latin1")
    return value if isinstance(value, str) else None


def _values(value: _Items | None) -> list[Any]:
    return [] if value is None else value.items[1::2]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_call(value: Any, *names: str) -> bool:
    return isinstance(value, _Call) and value.name in names


def _is_bytes(value: Any) -> bool:
    # Protocol 2 has no bytes: it calls a function for them.
    return isinstance(value, bytes | str) or _is_call(value, "_codecs.encode", "builtins.bytes")


def _is_global(value: Any, name: str) -> bool:
    return isinstance(value, _Global) and value.name == name


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _empty(_: _Inspection, args: list[Any]) -> bool:
    return not args


def _plain(_: _Inspection, args: list[Any]) -> bool:
    return all(isinstance(arg, int | float | str | bytes | _Items | _Tuple) for arg in args)


def _set(inspection: _Inspection, args: list[Any]) -> bool:
    for arg in args:
        inspection.check_keys(arg.items)
    return True


def _dict(inspection: _Inspection, args: list[Any]) -> bool:
    """Python 2 wrote ordered dicts as a list of pairs."""
    for arg in args:
        if not arg.is_dict:
            inspection.check_keys(pair.items[0] for pair in arg.items)
    return True


def _method(_: _Inspection, args: list[Any]) -> bool:
    owner, name = args
    return _is_global(owner, HISTORY_BUFFER) and isinstance(name, str) and name[:1] != "_"


def _encode(_: _Inspection, args: list[Any]) -> bool:
    # The only one that pickles of bytes need; some are slow for long texts.
    return len(args) == 2 and _text(args[0]) is not None and _text(args[1]) == "latin1"


def _parameter(_: _Inspection, args: list[Any]) -> bool:
    return _is_call(args[0], *TENSORS)


def _tensor_of_bytes(inspection: _Inspection, args: list[Any]) -> bool:
    dtype = args[6]
    known = isinstance(dtype, _Global) and dtype.name in DTYPES
    return known and inspection.check_tensor(args[:6], DTYPES[dtype.name])


def _tensor_with_attributes(inspection: _Inspection, args: list[Any]) -> bool:
    """FSDP notes on a tensor that it is a copy."""
    rebuild, kind, tensor, attributes = args
    names, values = attributes.items[::2], attributes.items[1::2]
    plain = all(isinstance(value, bool | int | float | str | None) for value in values)
    # What torch's tensors have by themselves might mean something to torch.
    new = all(isinstance(name, str) and not hasattr(torch.Tensor, name) for name in names)
    known = isinstance(rebuild, _Global) and rebuild.name in TENSORS
    return (
        known
        and _is_global(kind, TENSOR)
        and attributes.is_dict
        and plain
        and new
        and CALLS[rebuild.name](inspection, tensor.items)
    )


def _number_dtype(_: _Inspection, args: list[Any]) -> bool:
    name, align, copy = args
    # Only numbers can be made of any bytes: objects would be pointers. What is not copied is the
    # dtype of all arrays, whose state a pickle could change.
    number = re.fullmatch("[biufc][0-9]{1,2}", _text(name) or "") is not None
    return number and align in (0, False) and copy in (1, True)


def _scalar(_: _Inspection, args: list[Any]) -> bool:
    dtype, content = args
    return _is_call(dtype, "numpy.dtype") and _is_bytes(content)


def _array(_: _Inspection, args: list[Any]) -> bool:
    kind, shape, _dtype = args
    return _is_global(kind, "numpy.ndarray") and isinstance(shape, _Tuple) and shape.items == [0]


CALLS: dict[str, Callable[[_Inspection, list[Any]], bool]] = {
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "builtins.set": _set,
    "builtins.bytes": _empty,
    "builtins.complex": _plain,
    "builtins.getattr": _method,
    "_codecs.encode": _encode,
    "argparse.Namespace": _empty,
    HISTORY_BUFFER: _empty,
    "torch.Size": _plain,
    "torch.device": _plain,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor": _Inspection.check_tensor,
    "torch._utils._rebuild_tensor_v2": _Inspection.check_tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_bytes,
    "torch._tensor._rebuild_from_type_v2": _tensor_with_attributes,
    "numpy.dtype": _number_dtype,
    **dict.fromkeys(ARRAYS, _array),
    **dict.fromkeys(SCALARS, _scalar),
}
"""Functions and classes that a weight file may call, with the check of their arguments."""
VALUES = {*STORAGES, *DTYPES, TENSOR, "numpy.ndarray"}
"""Classes and constants that it may refer to, but not call."""

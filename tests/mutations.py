"""Files with one fault: a change of a safetensors file's bytes, header, description or tensors."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

import safetensors.torch
import torch

Chance = random.Random

FORMAT = "fused-ddpm"
DEEP = "a list of lists of lists"  # stands for a list deeper than json.dumps can write
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 4, 7, 10**7, 10**9, 10**18, 2**64, 10**400, 0.5, 1e308, -1e-308),
    *(float("nan"), float("inf"), "", "x", "0", "\ud800", "\x00\n\x1b", "9" * 5000, "x" * 20000, "float32", "object"),
    *([], {}, [[]], [{}], {"x": {}}, [0] * 10**4, [10**9] * 3, [10**9], [1e9, None], ["x", 1], DEEP),
]
NUMBERS = [float("nan"), float("inf"), -1.0, 0.0, 2.0, 1e-310, 1e38, 1e300]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.int8]
DTYPES += [torch.bool, torch.complex64, torch.uint16]


def mutant(content: bytes, chance: Chance) -> bytes:
    """Return a copy of a safetensors file with one fault."""
    found = content
    while found == content:
        found = chance.choice(WAYS)(content, chance)
    return found


def of_text(text: str, chance: Chance) -> bytes:
    """Return this JSON text with one fault."""
    ways = (lambda: chance.choice(BYTES)(text.encode(), chance), lambda: _changed(text, chance).encode())
    return chance.choice(ways)()


# ---- bytes


def _run(content: bytes, chance: Chance) -> tuple[int, int]:
    start = chance.randrange(len(content))
    return start, min(len(content), start + chance.choice([1, 2, 8, 50, 1000]))


def _flipped(content: bytes, chance: Chance) -> bytes:
    found = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def _overwritten(content: bytes, chance: Chance) -> bytes:
    start, stop = _run(content, chance)
    return content[:start] + chance.randbytes(stop - start) + content[stop:]


def _inserted(content: bytes, chance: Chance) -> bytes:
    start, stop = _run(content, chance)
    return content[:start] + chance.randbytes(stop - start) + content[start:]


def _deleted(content: bytes, chance: Chance) -> bytes:
    start, stop = _run(content, chance)
    return content[:start] + content[stop:]


def _repeated(content: bytes, chance: Chance) -> bytes:
    start, stop = _run(content, chance)
    return content[:stop] + content[start:stop] * chance.choice([1, 3]) + content[stop:]


def _truncated(content: bytes, chance: Chance) -> bytes:
    return content[: chance.randrange(len(content))]


BYTES = [_flipped, _overwritten, _inserted, _deleted, _repeated, _truncated]


# ---- the header, and the description of the model in it


def split(content: bytes) -> tuple[str, bytes]:
    """Return the header of a safetensors file, and the numbers."""
    (length,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + length].decode(), content[8 + length :]


def joined(header: str, numbers: bytes) -> bytes:
    """Return a safetensors file of a header and numbers."""
    encoded = header.encode()
    return struct.pack("<Q", len(encoded)) + encoded + numbers


def said_otherwise(content: bytes, change: Callable[[str], str]) -> bytes:
    """Return the file with a changed description."""
    header, numbers = split(content)
    entries = json.loads(header)
    entries["__metadata__"][FORMAT] = change(entries["__metadata__"][FORMAT])
    return joined(json.dumps(entries), numbers)


def _of_another_length(content: bytes, chance: Chance) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    other = chance.choice([0, 1, length - 1, length + 1, length - 8, length + 8, 10**8, 2**31, 2**63, 2**64 - 1])
    return struct.pack("<Q", other) + content[8:]


def _header(content: bytes, chance: Chance) -> bytes:
    header, numbers = split(content)
    return joined(_changed(header, chance), numbers)


def _description(content: bytes, chance: Chance) -> bytes:
    return said_otherwise(content, lambda text: _changed(text, chance))


def _of_another_size(content: bytes, chance: Chance) -> bytes:
    """Describe a network that does not match the tensors and may be too large for memory."""

    def change(text: str) -> str:
        said = json.loads(text)
        network, size = said["network"], chance.choice([1, 5, 10**6, 10**7, 2**24])
        network |= chance.choice([{"dim": size}, {"condition_dim": size}, {"hidden": [size, *network["hidden"][1:]]}])
        network |= chance.choice([{}, {}, {"hidden": network["hidden"] * 10**4}, {"features": [1.0] * 10**4}])
        return json.dumps(said)

    return said_otherwise(content, change)


# ---- its tensors


def _tensors(content: bytes, chance: Chance) -> bytes:
    said = json.loads(split(content)[0])["__metadata__"]
    tensors = safetensors.torch.load(content)
    name, other = chance.choice(sorted(tensors)), chance.choice(sorted(tensors))
    tensor = tensors[name].clone()
    kind = chance.randrange(9)
    if kind <= 2 and tensor.numel():
        place = chance.randrange(tensor.numel())
        tensor.view(-1)[slice(None) if kind == 0 else place] = torch.tensor(chance.choice(NUMBERS)).to(tensor.dtype)
    elif kind == 3:
        tensor = tensor.transpose(0, -1).contiguous() if tensor.dim() else tensor.reshape(1)
    elif kind == 4:
        tensor = tensor.to(chance.choice(DTYPES))
    elif kind == 5:
        tensor = tensor.reshape(chance.choice([(-1,), (1, *tensor.shape), (*tensor.shape, 1)]))
    elif kind == 6 and tensor.dim():
        tensor = chance.choice([tensor[:0], tensor[:1], torch.cat([tensor, tensor])]).clone()
    elif kind == 7:
        del tensors[name]
        name = chance.choice([other, f"{name}2", f"{other}.x", "x", f"optimizer.{other}", f"run.{other}"])
    else:
        tensors[name], tensor, name = tensors[other].clone(), tensor, other
    return safetensors.torch.save(tensors | {name: tensor}, said)


WAYS: list[Callable[[bytes, Chance], bytes]] = [*BYTES, _of_another_length, *[_header] * 2, *[_description] * 6]
WAYS += [_of_another_size, *[_tensors] * 4]


# ---- JSON


def _changed(text: str, chance: Chance) -> str:
    """Return JSON with one change of a value, a key or a list."""
    whole = {"": json.loads(text)}
    owner, key = chance.choice(list(_places(whole)))
    change = chance.randrange(6)
    if change == 0 and owner is not whole:
        del owner[key]
    elif change == 1 and isinstance(owner, dict) and owner is not whole:
        owner[chance.choice([f"{key}2", key.upper(), "", "seed", "x" * 10**4])] = owner.pop(key)
    elif change == 2 and isinstance(owner[key], list):
        owner[key] = owner[key] * chance.choice([2, 1000])
    elif change == 2 and isinstance(owner, list):
        owner[:] = owner[::-1]
    elif change == 3 and isinstance(owner[key], int | float):
        owner[key] = chance.choice([owner[key] + 1, -owner[key], float(owner[key]), str(owner[key]), [owner[key]]])
    elif change == 4 and isinstance(whole[""], dict):  # a key twice
        doubled = chance.choice(list(whole[""]))
        return f"{{{json.dumps(doubled)}: {_dumped(chance.choice(VALUES))}, {json.dumps(whole[''])[1:]}"
    else:
        owner[key] = chance.choice(VALUES)
    return _dumped(whole[""])


def _places(owner: Any) -> Any:
    """Yield every value of a JSON document, as its container and its key or index."""
    for key in list(owner) if isinstance(owner, dict) else range(len(owner)):
        yield owner, key
        if isinstance(owner[key], dict | list):
            yield from _places(owner[key])


def _dumped(value: Any) -> str:
    return json.dumps(value).replace(json.dumps(DEEP), "[" * 10**5 + "]" * 10**5)

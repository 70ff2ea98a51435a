"""The memory of a launch: tensors and shared memory, and which thread touched each word last."""

import numpy as np
from torch import Tensor, UntypedStorage

from ptx import Array
from ptx.faults import Race, Undefined

NOBODY, SEVERAL = -1, -2
LANES = 32  # threads of a warp


class Threads:
    """The threads of a launch, and how many barriers each program and each warp has passed.

    A thread is a number, program * threads + thread. Two accesses of a word are ordered if one thread makes both, or if
    a barrier of their common warp or program lies between them. Nothing orders two programs.
    """

    def __init__(self, programs: int, threads: int) -> None:
        self.threads, self.warps = threads, -(-threads // LANES)
        self.of_program = np.zeros(programs, "i8")
        self.of_warp = np.zeros(programs * self.warps, "i8")

    def program(self, thread: Array) -> Array:
        return thread // self.threads

    def warp(self, thread: Array) -> Array:
        return thread // self.threads * self.warps + thread % self.threads // LANES

    def barrier(self, programs: Array, whole_program: bool) -> None:
        """Count a barrier for all warps of `programs`: one of the whole program, or one of each warp alone."""
        if whole_program:
            self.of_program[programs] += 1
        self.of_warp.reshape(-1, self.warps)[programs] += 1


class Touched:
    """The thread that touched each word last, and how many barriers it had passed."""

    def __init__(self, size: int, threads: Threads) -> None:
        self.threads = threads
        self.thread = np.full(size, NOBODY, "i8")
        self.warp, self.program = self.thread.copy(), self.thread.copy()
        self.at_program, self.at_warp = np.zeros(size, "i8"), np.zeros(size, "i8")

    def check(self, word: Array, thread: Array, said: str) -> None:
        """Raise Race unless the last access of every word is ordered before that of the new thread."""
        last = self.thread[word]
        if ((last == NOBODY) | (last == thread) & (self.warp[word] != SEVERAL) & (self.program[word] != SEVERAL)).all():
            return
        program, warp = self.threads.program(thread), self.threads.warp(thread)
        unordered = np.where(
            self.warp[word] == warp,
            (last != thread) & (self.at_warp[word] == self.threads.of_warp[warp]),
            self.at_program[word] == self.threads.of_program[program],
        )
        race = (last != NOBODY) & ((self.program[word] != program) | unordered)
        if race.any():
            other, one = self.program[word][race][0], program[race][0]
            whose = f"program {one} and another program" if other != one else f"within program {one}, without a barrier"
            raise Race(f"{said}: {whose}")

    def touch(self, word: Array, thread: Array) -> None:
        """Record the threads, or SEVERAL if several touch a word without a barrier between them."""
        program, warp = self.threads.program(thread), self.threads.warp(thread)
        at_program, at_warp = self.threads.of_program[program], self.threads.of_warp[warp]
        now = self.at_program[word] == at_program
        for known, new, current in (
            (self.thread, thread, now & (self.at_warp[word] == at_warp)),
            (self.warp, warp, now),
            (self.program, program, True),
        ):
            before = known[word]
            merged = np.where((before == NOBODY) | (before == new) | ~np.asarray(current), new, SEVERAL)
            known[word] = merged
            several = known[word] != merged  # threads of this same call
            known[word[several]] = SEVERAL
        self.at_program[word], self.at_warp[word] = at_program, at_warp


class Words:
    """Words of 32 bits that threads load and store, with a check of who may."""

    def __init__(self, words: Array, written: Array, threads: Threads) -> None:
        self.words, self.written = words, written
        self.writers, self.readers = Touched(len(words), threads), Touched(len(words), threads)

    def load(self, word: Array, thread: Array) -> Array:
        if not self.written[word].all():
            raise Undefined("a word is read but was never written")
        self.writers.check(word, thread, "a word is read that another thread has written")
        self.readers.touch(word, thread)
        return self.words[word]

    def store(self, word: Array, value: Array, thread: Array) -> None:
        self.writers.check(word, thread, "a word is written that another thread has written")
        self.readers.check(word, thread, "a word is written that another thread has read")
        self.writers.touch(word, thread)
        if (self.writers.program[word] == SEVERAL).any():
            raise Race("several programs write one word")
        self.words[word], self.written[word] = value, True
        if (self.words[word] != value).any():
            raise Race("several threads write different values to one word at once")


class Shared(Words):
    """Shared memory, `size` bytes for each program, at addresses from 0 on. At first no word is written."""

    def __init__(self, programs: int, size: int, threads: Threads) -> None:
        self.size = size
        words = programs * -(-size // 4)
        super().__init__(np.zeros(words, "u4"), np.zeros(words, bool), threads)

    def find(self, address: Array, size: int, program: Array) -> Array:
        """Return the first word of `size` bytes at each address of a program.

        Raises:
            Undefined: an address is not a multiple of the size, or lies outside of the program's shared memory.
        """
        _check_alignment(address, size)
        if ((address < 0) | (address + size > self.size)).any():
            raise Undefined(f"an address is outside of the {self.size} bytes of shared memory")
        return program * -(-self.size // 4) + (address >> 2)


class Global(Words):
    """The memory of tensors. Each storage has SPACE bytes of addresses, so that no other tensor begins near its end.

    Args:
        exists: which words belong to a tensor.
        first: the first word of each storage, and the end of the last.
        begin: the offset of each storage within its SPACE.
    """

    BASE, SPACE = 0x7F0000000000, 1 << 36

    def __init__(self, words: Array, exists: Array, first: Array, begin: Array, threads: Threads) -> None:
        super().__init__(words, exists.copy(), threads)
        self.exists, self.first, self.begin = exists, first, begin

    def find(self, address: Array, size: int, program: Array) -> Array:
        """Return the first word of `size` bytes at each address.

        Raises:
            Undefined: an address is not a multiple of the size, or lies outside of every tensor.
        """
        _check_alignment(address, size)
        storage, offset = np.divmod(address - self.BASE, self.SPACE)
        inside = (storage >= 0) & (storage < len(self.begin))
        storage = np.where(inside, storage, 0)
        word = self.first[storage] + (offset - self.begin[storage] >> 2)
        inside &= (word >= self.first[storage]) & (word + size // 4 <= self.first[storage + 1])
        if not inside.all() or not all(self.exists[word + i].all() for i in range(size // 4)):
            raise Undefined("an address is outside of every tensor")
        return word


def _check_alignment(address: Array, size: int) -> None:
    if (address % size).any():
        raise Undefined(f"an address is not aligned to {size} bytes")


class Tensors:
    """The tensors of a launch and their addresses. Views of one storage share it, and pointers keep their alignment."""

    ALIGNMENT = 256

    def __init__(self) -> None:
        self.storages: list[UntypedStorage] = []
        self.tensors: dict[int, tuple[int, Tensor]] = {}  # by address: which storage, and the longest tensor there

    def add(self, tensor: Tensor) -> int:
        """Add a tensor, and return its address.

        Raises:
            TypeError: it is not contiguous, its elements have less than 4 bytes, or two storages share its memory.
        """
        if not tensor.is_contiguous() or tensor.element_size() < 4:
            raise TypeError(
                f"a tensor must be contiguous, of 4 or 8 bytes an element; got {tensor.dtype}, {tensor.stride()}"
            )
        number = self._number(tensor.untyped_storage())
        offset = int(tensor.storage_offset()) * tensor.element_size()
        address = Global.BASE + number * Global.SPACE + self._begin(number) + offset
        if address not in self.tensors or tensor.nbytes > self.tensors[address][1].nbytes:
            self.tensors[address] = number, tensor
        return address

    def _number(self, storage: UntypedStorage) -> int:
        begin, end = storage.data_ptr(), storage.data_ptr() + storage.nbytes()
        for number, known in enumerate(self.storages):
            if known.data_ptr() == begin and known.nbytes() == end - begin:
                return number
            if known.data_ptr() < end and begin < known.data_ptr() + known.nbytes():
                raise TypeError("two tensors share memory but not their storage, as tensors from numpy may")
        self.storages.append(storage)
        return len(self.storages) - 1

    def _begin(self, number: int) -> int:
        """Return the offset [bytes] at which a storage begins, so that its pointer keeps its alignment."""
        return self.storages[number].data_ptr() % self.ALIGNMENT

    def open(self, threads: Threads) -> Global:
        """Return the memory of all tensors."""
        sizes = [-(-storage.nbytes() // 4) for storage in self.storages]
        self.first = np.concatenate(([0], np.cumsum(sizes, dtype="i8")))
        words, exists = np.zeros(self.first[-1], "u4"), np.zeros(self.first[-1], bool)
        for part, tensor in self._parts():
            words[part], exists[part] = _as_words(tensor), True
        begin = np.array([self._begin(number) for number in range(len(sizes))], "i8")
        return Global(words, exists, self.first, begin, threads)

    def close(self, memory: Global) -> None:
        """Copy the written words back into the tensors."""
        for part, tensor in self._parts():
            written = memory.writers.thread[part] != NOBODY
            _as_words(tensor)[written] = memory.words[part][written]

    def _parts(self) -> list[tuple[slice, Tensor]]:
        parts = []
        for number, tensor in self.tensors.values():
            begin = int(self.first[number]) + int(tensor.storage_offset()) * tensor.element_size() // 4
            parts.append((slice(begin, begin + tensor.nbytes // 4), tensor))
        return parts


def _as_words(tensor: Tensor) -> Array:
    return tensor.detach().numpy().reshape(-1).view("u4")

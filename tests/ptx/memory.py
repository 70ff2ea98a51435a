"""The memory of a launch: tensors and shared memory, and who touched which word last."""

import numpy as np
from torch import Tensor, UntypedStorage

from ptx import Array
from ptx.faults import Race, Undefined

NOBODY, SEVERAL = -1, -2
LANES = 32  # threads of a warp


class Threads:
    """The threads of a launch, and how often each program and each warp has been at a barrier.

    A thread is a number, program * threads + thread. Two touch a word in a known order if one is the same as the other,
    or if a barrier of their warp, or of their program, lies between; nothing orders two programs.
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
        """All warps of `programs` are at a barrier, of a whole program or each of its own."""
        if whole_program:
            self.of_program[programs] += 1
        self.of_warp.reshape(-1, self.warps)[programs] += 1


class Touched:
    """For every word the thread that touched it last, and how many barriers it had seen."""

    def __init__(self, size: int, threads: Threads) -> None:
        self.threads = threads
        self.thread = np.full(size, NOBODY, "i8")
        self.warp, self.program = self.thread.copy(), self.thread.copy()
        self.at_program, self.at_warp = np.zeros(size, "i8"), np.zeros(size, "i8")

    def check(self, word: Array, thread: Array, said: str) -> None:
        """Raise Race unless every thread comes in a known order after the one that touched its word last."""
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
            whose = (
                f"program {one} does what another did" if other != one else f"within program {one}, without a barrier"
            )
            raise Race(f"{said}: {whose}")

    def touch(self, word: Array, thread: Array) -> None:
        """Note the threads; where several touch a word and no barrier divides them, that there are several."""
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
            several = known[word] != merged  # of the threads that are here together
            known[word[several]] = SEVERAL
        self.at_program[word], self.at_warp[word] = at_program, at_warp


class Words:
    """Words of 32 bits that threads load and store, and who may."""

    def __init__(self, words: Array, written: Array, threads: Threads) -> None:
        self.words, self.written = words, written
        self.writers, self.readers = Touched(len(words), threads), Touched(len(words), threads)

    def load(self, word: Array, thread: Array) -> Array:
        if not self.written[word].all():
            raise Undefined("a word is read that was never written")
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
    """Shared memory, `size` bytes for each program, at addresses from 0 on. It begins without values."""

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
    """The memory of tensors. Each storage has SPACE bytes of addresses, so that what runs over its end finds nothing.

    Args:
        exists: which words belong to a tensor.
        first: the first word of each storage, and the end of the last.
        begin: the first address of each storage, within its own.
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
    """The tensors of a launch and their addresses: views of one storage share it, and alignment is kept."""

    ALIGNMENT = 256

    def __init__(self) -> None:
        self.storages: list[UntypedStorage] = []
        self.tensors: dict[int, tuple[int, Tensor]] = {}  # by address: which storage, and the longest tensor there

    def add(self, tensor: Tensor) -> int:
        """Return the address that a tensor gets.

        Raises:
            TypeError: it is not contiguous, its elements have less than 4 bytes, or two storages have its memory.
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
                raise TypeError("two tensors have one memory and a storage each, as from numpy")
        self.storages.append(storage)
        return len(self.storages) - 1

    def _begin(self, number: int) -> int:
        """Return at which of its addresses [bytes] a storage begins: as its pointer is aligned."""
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
        """Put what was written back into the tensors."""
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

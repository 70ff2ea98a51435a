"""Which accesses of a word are races, and which addresses are valid."""

import numpy as np
import pytest
import torch

from ptx.faults import Race, Undefined
from ptx.memory import Shared, Tensors, Threads, Words

PROGRAMS, THREADS = 2, 64


@pytest.fixture
def threads() -> Threads:
    return Threads(PROGRAMS, THREADS)


@pytest.fixture
def words(threads: Threads) -> Words:
    """Return four words of tensors, all written."""
    return Words(np.arange(4, dtype="u4"), np.ones(4, bool), threads)


def store(words: Words, word: int, *who: int, value: int = 7) -> None:
    words.store(np.full(len(who), word), np.full(len(who), value, "u4"), np.array(who))


def load(words: Words, word: int, *who: int) -> list[int]:
    return words.load(np.full(len(who), word), np.array(who)).tolist()


# threads in the warp of thread 0, in its program, and in another program
OTHERS = {"lane": 1, "warp": 32, "program": THREADS}


@pytest.mark.parametrize("other", OTHERS)
def test_write_then_read(words: Words, other: str) -> None:
    store(words, 1, 0)
    assert load(words, 1, 0) == [7]
    with pytest.raises(Race, match="another thread has written"):
        load(words, 1, OTHERS[other])


@pytest.mark.parametrize("other", OTHERS)
def test_write_then_write(words: Words, other: str) -> None:
    store(words, 1, 0)
    store(words, 1, 0, value=8)
    with pytest.raises(Race, match="another thread has written"):
        store(words, 1, OTHERS[other])


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("readers", [(0,), (0, 2)])
def test_read_then_write(words: Words, other: str, readers: tuple[int, ...]) -> None:
    load(words, 1, *readers)
    with pytest.raises(Race, match="another thread has read"):
        store(words, 1, OTHERS[other])


def test_readers_do_not_wait_for_one_another(words: Words) -> None:
    assert load(words, 2, 0, 1, 32, THREADS) == [2] * 4


@pytest.mark.parametrize(("whole", "ordered"), [(False, ["lane"]), (True, ["lane", "warp"])])
def test_what_a_barrier_orders(words: Words, threads: Threads, whole: bool, ordered: list[str]) -> None:
    for other, who in OTHERS.items():
        word = list(OTHERS).index(other)
        store(words, word, 0)
        threads.barrier(np.arange(PROGRAMS), whole_program=whole)
        if other in ordered:
            assert load(words, word, who) == [7]
        else:
            with pytest.raises(Race):
                load(words, word, who)


def test_a_barrier_of_another_program_orders_nothing(words: Words, threads: Threads) -> None:
    store(words, 1, 0)
    threads.barrier(np.array([1]), whole_program=True)
    with pytest.raises(Race):
        load(words, 1, 32)


def test_a_reader_of_before_the_barrier_is_forgotten(words: Words, threads: Threads) -> None:
    load(words, 1, 0, 32)
    threads.barrier(np.arange(PROGRAMS), whole_program=True)
    load(words, 1, 33)
    store(words, 1, 33)


def test_two_readers_are_not_forgotten(words: Words) -> None:
    load(words, 1, 0)
    load(words, 1, 32)  # the last reader, which then writes, is not the only one
    with pytest.raises(Race, match="another thread has read"):
        store(words, 1, 32)


def test_a_second_read_hides_no_race(words: Words, threads: Threads) -> None:
    load(words, 1, 0)
    threads.barrier(np.arange(PROGRAMS), whole_program=False)
    load(words, 1, 32)
    with pytest.raises(Race, match="another thread has read"):
        store(words, 1, 32)
    load(words, 2, 0)
    threads.barrier(np.arange(PROGRAMS), whole_program=True)
    load(words, 2, THREADS)
    with pytest.raises(Race, match="another thread has read"):
        store(words, 2, THREADS)


def test_at_once(words: Words) -> None:
    store(words, 1, 0, 1, 32)  # all write the same value, so their order does not matter
    with pytest.raises(Race, match="different values"):
        words.store(np.array([2, 2]), np.array([1, 2], "u4"), np.array([0, 1]))
    with pytest.raises(Race, match="several programs"):
        store(words, 3, 0, THREADS)


def test_shared_memory_begins_without_values(threads: Threads) -> None:
    memory = Shared(PROGRAMS, 16, threads)
    store(memory, 1, 0)
    with pytest.raises(Undefined, match="never written"):
        load(memory, 2, 0)


def test_addresses(threads: Threads) -> None:
    tensors = Tensors()
    x, y = torch.arange(8.0), torch.zeros(3, dtype=torch.float64)
    at, after = tensors.add(x), tensors.add(y)
    memory = tensors.open(threads)
    assert at % 16 == x.data_ptr() % 16  # the alignment that Triton sees
    assert after - at > 2**35
    nobody = np.array([0])
    word = memory.find(np.array([at + 4]), 4, nobody)
    assert memory.load(word, nobody).view("f4").tolist() == [1.0]
    for address, size, said in (
        (at + 2, 4, "not aligned to 4"),
        (at + 4, 8, "not aligned to 8"),
        (at + 8, 16, "not aligned to 16"),
        (at + 32, 4, "outside"),
        (at - 4, 4, "outside"),
        (-4, 4, "outside"),
        (2**40, 4, "outside"),
        (at + 2**20, 4, "outside"),
        (after + 2**37, 4, "outside"),
    ):
        with pytest.raises(Undefined, match=said):
            memory.find(np.array([address]), size, nobody)


def test_views_of_one_tensor_are_one_memory(threads: Threads) -> None:
    tensors, x = Tensors(), torch.zeros(2, 4)
    first, second, whole = (tensors.add(view) for view in (x[0], x[1], x))
    assert (second - first, whole) == (16, first)
    memory = tensors.open(threads)
    word = memory.find(np.array([second]), 4, np.array([0])).item()
    store(memory, word, 0, value=0x3F800000)
    tensors.close(memory)
    assert x.tolist() == [[0.0] * 4, [1.0, 0.0, 0.0, 0.0]]


def test_what_is_no_tensor_of_words() -> None:
    for tensor in (torch.zeros(4, dtype=torch.float16), torch.zeros(2, 2).T, torch.zeros(4, dtype=torch.bool)):
        with pytest.raises(TypeError, match="contiguous, of 4 or 8 bytes"):
            Tensors().add(tensor)


def test_two_storages_of_one_memory() -> None:
    tensors, x = Tensors(), torch.zeros(32)
    tensors.add(x)
    with pytest.raises(TypeError, match="two tensors share memory but not their storage"):
        tensors.add(torch.from_numpy(x.numpy()[16:]))

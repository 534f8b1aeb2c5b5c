"""The thread cache: per size class a short stack of blocks that one thread freed."""

from allocsim.component import Array, Component

N_CLASSES = 64  # chunks of 32 to 1040 bytes, a size each
LARGEST_CACHED_BYTES = 1040
N_LARGE_CLASSES = 12  # in 2.43, of larger chunks: from a power of two up to the next
LARGEST_EVER_CACHED_BYTES = (4 << 20) - 16
BYTES_PER_CLASS = 2 + 8  # in the real structure: a count and a head
KEY = 1  # in the second word of a cached block: tells free() of a double free
NO_ARENA = -1


def large_class(size):
    """The class of a chunk that is too large for a class of its own."""
    index = N_CLASSES
    while size >> 11:
        size >>= 1
        index += 1
    return index


class ThreadCache(Component):
    """What a thread has for itself: its cache and the arena that it is attached to.

    The real structure is allocated from the heap and stays resident; `counts` and `heads` stand for
    it. The links between cached blocks lie in the blocks.
    """

    counts = Array("i8", N_CLASSES + N_LARGE_CLASSES)
    heads = Array("i8", N_CLASSES + N_LARGE_CLASSES)
    structure = 0  # address of the structure's block; 0 until there is one
    ended = 0  # the thread has exited
    arena = NO_ARENA

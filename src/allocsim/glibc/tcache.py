"""The thread cache: per size class a short stack of blocks that one thread freed."""

from allocsim.component import Array, Component

N_CLASSES = 64  # chunks of 32 to 1040 bytes
STRUCTURE_BYTES = N_CLASSES * (2 + 8)  # counts and heads, as the real ones lie in the heap
KEY = 1  # in the second word of a cached block: tells free() of a double free
NO_ARENA = -1


class ThreadCache(Component):
    """What a thread has for itself: its cache and the arena that it is attached to.

    The real structure is allocated from the heap and stays resident; `counts` and `heads` stand for
    it. The links between cached blocks lie in the blocks.
    """

    counts = Array("i8", N_CLASSES)
    heads = Array("i8", N_CLASSES)
    structure = 0  # address of the structure's block; 0 until the thread's first call
    ended = 0  # the thread has exited
    arena = NO_ARENA

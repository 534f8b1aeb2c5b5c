"""What the thread cache takes, holds and gives beyond the first hit, and when it is made."""

from allocsim.component import inline
from allocsim.glibc.accounts import Accounts
from allocsim.glibc.chunks import FLAGS, SIZE, cache_index, chunk_bytes
from allocsim.glibc.tcache import KEY, large_class


class Caching(Accounts):
    """The thread cache, but for the paths of malloc and free that hit it at once.

    `allocate` is the enclosing policy's.
    """

    making_cache = 0  # a thread cache's structure is being allocated

    @inline
    def cache_room(self, index):
        """How many more blocks of a class the thread cache takes."""
        cache = self.tcache
        if index >= self.cache_classes or cache.structure == 0:
            return 0
        return self.cache_count - cache.counts[index]

    @inline
    def cache_freed(self, address, size):
        """Give a freed block to the thread cache; whether it took it."""
        index = cache_index(size)
        cache = self.tcache
        if index >= self.cache_classes and size <= self.large_cached_bytes:
            return self.put_large(address, size)
        if index >= self.cache_classes:
            return False
        if cache.structure == 0:
            return self.miss_cache(address)
        if cache.counts[index] >= self.cache_count:
            self.kernel.load(address + SIZE)  # the key is looked at in any case
            return False
        self.put_cached(address, index)
        return True

    def miss_cache(self, address):
        """A block is freed where there is no thread cache: False.

        Where the cache starts late, the key is looked at before anybody knows.
        """
        if self.cache_starts_late:
            self.kernel.load(address + SIZE)
        return False

    def take_from_cache(self, size, alignment):
        """The first block of this chunk size in the thread cache that is aligned, or 0."""
        index = cache_index(size)
        if index >= self.cache_classes:
            return self.take_large(size, alignment)
        cache = self.tcache
        before = 0
        block = cache.heads[index] if cache.counts[index] > 0 else 0
        while block != 0 and block % alignment != 0:
            before = block
            block = self.kernel.load(block)
        if block != 0:
            self.take_behind(index, before, block)
        return block

    def caches(self, size):
        """Whether the thread cache takes chunks of this size."""
        return cache_index(size) < self.cache_classes or size <= self.large_cached_bytes

    # ---- its classes that hold several sizes, in rising order
    def put_large(self, address, size):
        """Put a large block on its class's list, before others of the size; whether it took it."""
        cache = self.tcache
        index = large_class(size)
        if cache.structure == 0:
            return self.miss_cache(address)
        self.kernel.load(address + SIZE)  # the key is looked at in any case
        if cache.counts[index] >= self.cache_count:
            return False
        before, at = self.find_large(index, size)
        self.kernel.store(address + SIZE, KEY)
        self.kernel.store(address, at)
        self.link_cached(index, before, address)
        cache.counts[index] += 1
        return True

    def take_large(self, size, alignment):
        """An aligned block of exactly this chunk size, from a class that holds several; or 0."""
        if size > self.large_cached_bytes or cache_index(size) < self.cache_classes:
            return 0
        index = large_class(size)
        before, block = self.find_large(index, size)
        while block != 0 and block % alignment != 0:
            before = block
            block = self.kernel.load(block)
        if block == 0 or self.kernel.load(block - SIZE) & ~FLAGS != size:
            return 0
        self.take_behind(index, before, block)
        return block

    def find_large(self, index, size):
        """The first block of a class of at least this chunk size, and the one before it, or 0."""
        before, block = 0, self.tcache.heads[index]
        while block != 0 and self.kernel.load(block - SIZE) & ~FLAGS < size:
            before = block
            block = self.kernel.load(block)
        return before, block

    def take_behind(self, index, before, block):
        """Take a block out of a class's list, in which it stands behind `before`, or first (0)."""
        following = self.kernel.load(block)
        self.kernel.store(block + SIZE, 0)
        self.link_cached(index, before, following)
        self.tcache.counts[index] -= 1

    def link_cached(self, index, before, block):
        """Let a block of the thread cache, or a class's head if that is 0, point to another."""
        if before == 0:
            self.tcache.heads[index] = block
        else:
            self.kernel.store(before, block)

    # ---- when it is made
    def start_cache(self):
        """Make the thread cache in the thread's first call, whatever that is."""
        if not self.cache_starts_late:
            self.make_cache()

    def make_cache(self):
        """Allocate the thread cache's structure."""
        cache = self.tcache
        if cache.structure == 0 and cache.ended == 0:
            self.making_cache = 1
            block = self.allocate(self.cache_bytes)
            self.making_cache = 0
            self.start_cache_at(block)

    def cache_is_due(self):
        """Whether an arena that finds a fitting chunk shall have the thread cache made first."""
        if not self.cache_starts_late or self.making_cache or self.cache_count == 0:
            return False
        return self.tcache.structure == 0 and self.tcache.ended == 0

    def make_cache_from(self, arena):
        """Allocate the thread cache's structure in the midst of a call to an arena.

        The real library then makes a request of what is a chunk's size already.
        """
        self.making_cache = 1
        block = arena.find(chunk_bytes(self.cache_bytes + SIZE))
        self.making_cache = 0
        self.start_cache_at(block)

    def start_cache_at(self, block):
        if block != 0:
            self.kernel.zero(block, self.cache_bytes)
            self.tcache.structure = block

    def cache_takes(self, address, size):
        """Give a block to the thread cache, making that if it is due; whether it took it."""
        if self.caches(size) and self.cache_is_due():
            self.make_cache()
        return self.cache_freed(address, size)

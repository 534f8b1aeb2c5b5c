/* The recorder: a preloaded library that logs a program's memory calls and otherwise leaves it
 * alone. Built and driven by recorder.py; `ALLOCSIM_RECORD_FOLDER` names the folder of the logs.
 *
 * reallocarray is not taken: libc's calls realloc, where it is seen. Nor is malloc_usable_size:
 * the program finds the allocator's own.
 */
#include "recorder_threads.h"
#include "recorder_memory.h"

#include <malloc.h>
#include <spawn.h>

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
                           const posix_spawnattr_t *, char *const *, char *const *);

#define TAKEN __attribute__((visibility("default")))

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    void (*free)(void *);
    size_t (*usable_size)(void *);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*munmap)(void *, size_t);
    void *(*mremap)(void *, size_t, size_t, int, ...);
    int (*madvise)(void *, size_t, int);
    void (*exit_now)(int);
    int (*execve)(const char *, char *const *, char *const *);
    int (*execvpe)(const char *, char *const *, char *const *);
    int (*fexecve)(int, char *const *, char *const *);
    spawn_function *posix_spawn, *posix_spawnp;
    int (*chroot)(const char *);
    int (*setuid)(uid_t);
    int (*seteuid)(uid_t);
    int (*setreuid)(uid_t, uid_t);
    int (*setresuid)(uid_t, uid_t, uid_t);
    int ready;
} real;

/* From this size on the time in free is taken: smaller blocks rarely take longer than the clock. */
enum { SLOW_BYTES = 1024 };

/* Whether the allocator is not the C library's own: it may then call what is taken here, its own
 * mmap above all, and calls from within a call are not the program's. */
static int foreign;

extern void *__libc_malloc(size_t) __attribute__((weak));

/* ---- Before the real functions are known ------------------------------------------------------ */

/* dlsym may allocate while it looks for malloc; such blocks come from here and stay for good. */
static char early[65536] __attribute__((aligned(64)));
static size_t early_used;

static int is_early(const void *block)
{
    return (const char *)block >= early && (const char *)block < early + sizeof early;
}

static void *early_memory(size_t size, size_t alignment)
{
    size_t start = (early_used + alignment - 1) & -alignment;
    if (size > sizeof early || start > sizeof early - size) {
        errno = ENOMEM;
        return NULL;
    }
    early_used = start + size;
    return early + start;
}

static void *move_early(const void *block, size_t size)
{
    void *copy = real.malloc ? real.malloc(size) : early_memory(size, 64);
    size_t left = early + sizeof early - (const char *)block;
    return copy ? memcpy(copy, block, size < left ? size : left) : NULL;
}

static void find_all(void)
{
    real.malloc = dlsym(RTLD_NEXT, "malloc");
    real.calloc = dlsym(RTLD_NEXT, "calloc");
    real.realloc = dlsym(RTLD_NEXT, "realloc");
    real.memalign = dlsym(RTLD_NEXT, "memalign");
    real.aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    real.posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    real.valloc = dlsym(RTLD_NEXT, "valloc");
    real.pvalloc = dlsym(RTLD_NEXT, "pvalloc");
    real.free = dlsym(RTLD_NEXT, "free");
    real.usable_size = dlsym(RTLD_NEXT, "malloc_usable_size");
    real.mmap = dlsym(RTLD_NEXT, "mmap");
    real.munmap = dlsym(RTLD_NEXT, "munmap");
    real.mremap = dlsym(RTLD_NEXT, "mremap");
    real.madvise = dlsym(RTLD_NEXT, "madvise");
    real.exit_now = dlsym(RTLD_NEXT, "_exit");
    real.execve = dlsym(RTLD_NEXT, "execve");
    real.execvpe = dlsym(RTLD_NEXT, "execvpe");
    real.fexecve = dlsym(RTLD_NEXT, "fexecve");
    real.posix_spawn = dlsym(RTLD_NEXT, "posix_spawn");
    real.posix_spawnp = dlsym(RTLD_NEXT, "posix_spawnp");
    real.chroot = dlsym(RTLD_NEXT, "chroot");
    real.setuid = dlsym(RTLD_NEXT, "setuid");
    real.seteuid = dlsym(RTLD_NEXT, "seteuid");
    real.setreuid = dlsym(RTLD_NEXT, "setreuid");
    real.setresuid = dlsym(RTLD_NEXT, "setresuid");
}

/* Find the real functions, once; 0 while that is under way. The first call comes before there are
 * threads: the loader itself allocates. */
static __attribute__((noinline)) int find_real(void)
{
    static int under_way;
    if (under_way)
        return 0;
    under_way = 1;
    find_all();
    foreign = (void *)real.malloc != (void *)__libc_malloc;
    start_recording();
    __atomic_store_n(&real.ready, 1, __ATOMIC_RELEASE);
    return 1;
}

static inline int ready(void)
{
    return LIKELY(real.ready) || find_real();
}

__attribute__((constructor)) static void load(void)
{
    if (ready() && own_log())
        state->process->allocator_is_foreign = foreign;
}

__attribute__((destructor)) static void unload(void)
{
    end_process();
}

/* ---- Around each call -------------------------------------------------------------------------- */

struct call {
    struct log *log; /* NULL: not recorded */
    uint64_t entry;
};

/* A call is nested if the frame of an outer one lies above it on the stack; a frame below is left
 * over from a handler that jumped out of the allocator. */
static inline int is_nested(char *frame)
{
    return self.frame && frame < self.frame;
}

static inline __attribute__((always_inline)) struct call enter(void)
{
    struct call call = {own_log(), 0};
    if (UNLIKELY(foreign)) {
        char *frame = __builtin_frame_address(0);
        if (is_nested(frame))
            call.log = NULL;
        else
            self.frame = frame;
    }
    if (LIKELY(call.log != NULL))
        call.entry = ticks();
    return call;
}

static inline __attribute__((always_inline)) void leave(void)
{
    if (UNLIKELY(foreign) && self.frame == (char *)__builtin_frame_address(0))
        self.frame = NULL;
    if (UNLIKELY(self.is_ending))
        end_call_of_ending_thread();
}

static inline __attribute__((always_inline)) void *received(struct call call, enum kind kind,
                                                            unsigned detail, void *block, size_t size)
{
    if (LIKELY(call.log != NULL) && LIKELY(block != NULL))
        put(call.log, kind, detail, block, size, call.entry, ticks() - call.entry);
    leave();
    return block;
}

static unsigned log2_of(size_t alignment)
{
    return alignment > 1 ? 64 - __builtin_clzl(alignment - 1) : 0;
}

/* A block is given back: log it, with how much of a big one is resident. */
static inline struct written give_back(struct call call, enum kind kind, void *block, size_t usable)
{
    int big = usable >= BIG_BYTES;
    uint64_t used = UNLIKELY(big) ? resident_bytes(block, usable) : 0;
    return put(call.log, kind, big, block, used, call.entry, 0);
}

static inline size_t usable_size(void *block)
{
    return LIKELY(real.usable_size != NULL) ? real.usable_size(block) : 0;
}

/* ---- The malloc family ------------------------------------------------------------------------- */

TAKEN void *malloc(size_t size)
{
    if (UNLIKELY(!ready()))
        return early_memory(size, 64);
    struct call call = enter();
    return received(call, MALLOC, 0, real.malloc(size), size);
}

TAKEN void *calloc(size_t n, size_t size)
{
    if (UNLIKELY(!ready()))
        return size && n > sizeof early / size ? NULL : early_memory(n * size, 64);
    struct call call = enter();
    return received(call, CALLOC, 0, real.calloc(n, size), n * size);
}

TAKEN void free(void *block)
{
    if (block == NULL || UNLIKELY(is_early(block)) || UNLIKELY(!ready()))
        return;
    struct call call = enter();
    if (LIKELY(call.log != NULL)) {
        size_t usable = usable_size(block);
        struct written written = give_back(call, FREE, block, usable);
        real.free(block);
        if (UNLIKELY(usable >= SLOW_BYTES))
            put_ticks(written, ticks() - call.entry);
    } else {
        real.free(block);
    }
    leave();
}

TAKEN void *realloc(void *block, size_t size)
{
    if (UNLIKELY(is_early(block)))
        return move_early(block, size);
    if (UNLIKELY(!ready()))
        return early_memory(size, 64);
    struct call call = enter();
    if (call.log && block)
        give_back(call, REALLOC_BEGIN, block, usable_size(block));
    void *moved = real.realloc(block, size);
    if (call.log && (block || moved))
        put(call.log, REALLOC_END, block != NULL, moved, size, call.entry, ticks() - call.entry);
    leave();
    return moved;
}

TAKEN void *memalign(size_t alignment, size_t size)
{
    if (UNLIKELY(!ready()))
        return early_memory(size, alignment);
    struct call call = enter();
    return received(call, ALIGNED, log2_of(alignment), real.memalign(alignment, size), size);
}

TAKEN void *aligned_alloc(size_t alignment, size_t size)
{
    if (UNLIKELY(!ready()))
        return early_memory(size, alignment);
    struct call call = enter();
    return received(call, ALIGNED, log2_of(alignment), real.aligned_alloc(alignment, size), size);
}

TAKEN int posix_memalign(void **block, size_t alignment, size_t size)
{
    if (UNLIKELY(!ready()))
        return (*block = early_memory(size, alignment)) ? 0 : ENOMEM;
    struct call call = enter();
    int failed = real.posix_memalign(block, alignment, size);
    received(call, ALIGNED, log2_of(alignment), failed ? NULL : *block, size);
    return failed;
}

TAKEN void *valloc(size_t size)
{
    if (UNLIKELY(!ready()))
        return early_memory(size, PAGE);
    struct call call = enter();
    return received(call, ALIGNED, log2_of(PAGE), real.valloc(size), size);
}

TAKEN void *pvalloc(size_t size)
{
    if (UNLIKELY(!ready()))
        return early_memory(size, PAGE);
    struct call call = enter();
    return received(call, ALIGNED, log2_of(PAGE), real.pvalloc(size), (size + PAGE - 1) & -PAGE);
}

/* ---- The program's own mappings ----------------------------------------------------------------- */

/* Memory of files and memory shared with others is not the allocator's matter: only counted. */
static int is_recorded_mapping(int flags)
{
    return (flags & MAP_ANONYMOUS) && (flags & MAP_TYPE) == MAP_PRIVATE;
}

static struct written leave_range(struct call call, enum kind kind, void *start, size_t length)
{
    put_resident(call.log, start, length, call.entry);
    return put(call.log, kind, 0, start, length, call.entry, 0);
}

/* A call logged beforehand has returned; if it failed, it did not happen. */
static void close_range_call(struct call call, struct written written, int failed)
{
    if (!failed)
        put_ticks(written, ticks() - call.entry);
    else if (is_there(written))
        written.event->what = NOTHING;
}

static void log_mapping(struct call call, void *start, size_t length, int protection, int flags)
{
    if (is_recorded_mapping(flags)) {
        int detail = (protection & 7) | (flags & MAP_NORESERVE ? MAPPED_RESERVE : 0);
        put(call.log, MMAP, detail, start, length, call.entry, ticks() - call.entry);
        return;
    }
    __atomic_fetch_add(&state->process->other_mappings, 1, __ATOMIC_RELAXED);
}

TAKEN void *mmap(void *start, size_t length, int protection, int flags, int file, off_t offset)
{
    if (UNLIKELY(!ready()) || UNLIKELY(!real.mmap))
        return (void *)syscall(SYS_mmap, start, length, protection, flags, file, offset);
    struct call call = enter();
    int replaces = call.log && (flags & MAP_FIXED) && length && !((uintptr_t)start % PAGE);
    if (replaces)
        leave_range(call, MUNMAP, start, length);
    void *mapped = real.mmap(start, length, protection, flags, file, offset);
    if (call.log && mapped != MAP_FAILED)
        log_mapping(call, mapped, length, protection, flags);
    leave();
    return mapped;
}

TAKEN void *mmap64(void *start, size_t length, int protection, int flags, int file, off_t offset)
    __attribute__((alias("mmap")));

TAKEN int munmap(void *start, size_t length)
{
    if (UNLIKELY(!ready()) || UNLIKELY(!real.munmap))
        return syscall(SYS_munmap, start, length);
    struct call call = enter();
    struct written written = {NULL, 0};
    if (call.log && length && !((uintptr_t)start % PAGE))
        written = leave_range(call, MUNMAP, start, length);
    int failed = real.munmap(start, length);
    close_range_call(call, written, failed);
    leave();
    return failed;
}

TAKEN void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    void *target = flags & MREMAP_FIXED ? va_arg(rest, void *) : NULL;
    va_end(rest);
    if (UNLIKELY(!ready()) || UNLIKELY(!real.mremap))
        return (void *)syscall(SYS_mremap, old, old_length, length, flags, target);
    struct call call = enter();
    if (call.log && target)
        leave_range(call, MUNMAP, target, length);
    if (call.log)
        leave_range(call, MREMAP_BEGIN, old, old_length);
    void *moved = real.mremap(old, old_length, length, flags, target);
    if (call.log)
        put(call.log, MREMAP_END, flags & MREMAP_MAYMOVE, moved == MAP_FAILED ? NULL : moved, length,
            call.entry, ticks() - call.entry);
    leave();
    return moved;
}

TAKEN int madvise(void *start, size_t length, int advice)
{
    if (UNLIKELY(!ready()) || UNLIKELY(!real.madvise))
        return syscall(SYS_madvise, start, length, advice);
    struct call call = enter();
    struct written written = {NULL, 0};
    if (call.log && (advice == MADV_DONTNEED || advice == MADV_FREE)) {
        put_resident(call.log, start, length, call.entry);
        written = put(call.log, MADVISE, advice, start, length, call.entry, 0);
    }
    int failed = real.madvise(start, length, advice);
    close_range_call(call, written, failed);
    leave();
    return failed;
}

/* ---- The end ------------------------------------------------------------------------------------- */

/* exit runs the destructor above, _exit does not. */
TAKEN void _exit(int status)
{
    if (ready())
        end_process();
    real.exit_now(status);
    __builtin_unreachable();
}

TAKEN void _Exit(int status) __attribute__((alias("_exit")));

#include "recorder_programs.h"

/* The clock of the events, for recorder.py to compare with the system's. */
TAKEN uint64_t allocsim_recorder_ticks(void)
{
    return ticks();
}

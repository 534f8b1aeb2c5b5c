/* The recorder's log: what is written for each call, and where.
 *
 * Every thread owns a log: a file whose first part, a buffer of events, is mapped shared. A call is
 * in the file as soon as its event is stored, so a killed process loses nothing; a full buffer is
 * appended to the same file by pwrite, which costs less than faulting in ever new pages and leaves
 * the program's page faults and resident memory alone. A thread that ends hands its log on.
 *
 * Events of all threads are ordered by one atomic counter: an event that gives an address away
 * (free, munmap) takes its number before the call, one that receives an address (malloc, mmap)
 * after it, so an address is never seen taken twice.
 *
 * What must not survive a fork lies in one page that the kernel wipes in the child, whichever way
 * it was forked: the child finds no generation there, and starts files of its own.
 */
#include "recorder_files.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/auxv.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- Formats: recorder_log.py reads these, keep both alike ---------------------------------- */

enum { LOG_VERSION = 2, CAPACITY = 4096, HEADER_BYTES = 4096, PREFIX_BYTES = 48, SHORT_NAME_BYTES = 96 };

enum kind {
    NOTHING, /* reserved, but the call never got to write its event */
    THREAD,  /* the log now belongs to the thread numbered `address` */
    MALLOC,
    CALLOC,
    ALIGNED,       /* detail: log2 of the alignment */
    FREE,          /* size: bytes resident, if detail is 1 */
    REALLOC_BEGIN, /* address: old block; size and detail as for FREE */
    REALLOC_END,   /* address: new block, 0 if none; detail: 1 if there was a REALLOC_BEGIN */
    MMAP,          /* detail: protection, plus MAPPED_RESERVE */
    MUNMAP,
    MREMAP_BEGIN,
    MREMAP_END, /* address: 0 if it failed; detail: MREMAP_MAYMOVE */
    MADVISE,    /* detail: the advice */
    RESIDENT,   /* a run of resident bytes in the range of the thread's next event */
};

enum { MAPPED_RESERVE = 8 };

struct event {
    uint64_t address; /* low 48 bits; above them, bits 24 to 39 of the call's ticks */
    uint64_t what;    /* size in the low 48 bits, kind in 8, detail in 8; stored last */
    uint64_t entry;   /* ticks at the call's entry */
    uint64_t order;   /* place among all events of the process; low 24 bits: the call's ticks */
};

struct log {
    uint64_t version;
    uint64_t flushed;  /* events appended to the file behind the buffer */
    uint32_t count;    /* slots of the buffer given out; may exceed CAPACITY */
    struct log *spare; /* next in the list of logs without a thread */
    char name[SHORT_NAME_BYTES]; /* in the folder */
    char padding[HEADER_BYTES - 32 - SHORT_NAME_BYTES];
    struct event events[CAPACITY];
};

struct process {
    uint64_t version, pid, parent, start_ticks, start_faults, start_peak_kib;
    uint64_t ended;         /* 1: the figures below were taken at the process's end */
    uint64_t peak_kib;      /* VmHWM */
    uint64_t file_kib;      /* resident pages of files: code, most of all */
    uint64_t minor_faults, major_faults, cpu_ns;
    uint64_t stopped;       /* 0, or one more than the first order number that may be missing */
    uint64_t stop_error;    /* the errno that stopped the recording */
    uint64_t other_mappings; /* mmap calls left out: of files, or shared */
    uint64_t allocator_is_foreign;
    char program[NAME_BYTES];     /* the path that was executed */
    char environment[NAME_BYTES]; /* variables that C libraries' allocators read, 0 after each */
    char command[HEADER_BYTES - 16 * 8 - 2 * NAME_BYTES]; /* arguments, 0 after each */
};

_Static_assert(sizeof(struct event) == 32, "recorder_log.py relies on it");
_Static_assert(sizeof(struct log) == HEADER_BYTES + CAPACITY * 32, "recorder_log.py relies on it");
_Static_assert(sizeof(struct process) == HEADER_BYTES, "recorder_log.py relies on it");

/* ---- State ----------------------------------------------------------------------------------- */

struct state { /* wiped by fork */
    uint64_t order __attribute__((aligned(64)));
    uint32_t generation __attribute__((aligned(64))); /* 0: files are yet to be made */
    uint32_t off;                                     /* nothing is recorded any more */
    uint32_t lock, threads, logs;
    struct log *spare;
    struct process *process;
    char prefix[PREFIX_BYTES]; /* of the names of this process's files */
};

static struct state nowhere = {.off = 1};
static struct state *state = &nowhere;
static pthread_key_t thread_end;

static struct { /* as the program was started: it may change all of this */
    char program[NAME_BYTES], environment[NAME_BYTES];
    char library[NAME_BYTES]; /* the recorder itself */
} started;

static __thread struct {
    struct log *log;
    uint32_t generation;         /* of the log; 0 if it is only for one call */
    uint32_t thread, numbered;   /* the thread's number, and the generation that gave it */
    uint32_t is_ending, n_calls; /* whether each call takes a log of its own; calls under way */
    char *frame; /* of the allocator's outermost call under way, if calls may nest */
} self __attribute__((tls_model("initial-exec")));

/* ---- Time and order -------------------------------------------------------------------------- */

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
#endif
}

static inline uint64_t next_order(void)
{
    return __atomic_fetch_add(&state->order, 1, __ATOMIC_SEQ_CST);
}

static void lock(void)
{
    while (__atomic_exchange_n(&state->lock, 1, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void unlock(void)
{
    __atomic_store_n(&state->lock, 0, __ATOMIC_RELEASE);
}

/* ---- Writing events -------------------------------------------------------------------------- */

static void stop_recording(int error)
{
    state->process->stop_error = error;
    state->process->stopped = state->order + 1;
    __atomic_store_n(&state->off, 1, __ATOMIC_RELEASE);
}

static int append_events(int file, void *with)
{
    struct log *log = with;
    off_t end = sizeof *log + log->flushed * sizeof *log->events;
    int failed = write_all(file, log->events, sizeof log->events, end);
    if (failed)
        cut_back(file, end);
    return failed;
}

static int append_buffer(struct log *log)
{
    return with_file(log->name, O_WRONLY, append_events, log);
}

static struct log *log_of_another_file(void);

/* A log with room: this one, once its buffer is appended to its file. If the file may not be opened
 * any more (the program has another user now), another; the full buffer is in its file as it is. */
static struct log *log_with_room(struct log *log)
{
    if (append_buffer(log) == 0) {
        __atomic_store_n(&log->flushed, log->flushed + CAPACITY, __ATOMIC_RELEASE);
        memset(log->events, 0, sizeof log->events);
        log->count = 0;
        return log;
    }
    int error = errno;
    struct log *other = error == EACCES || error == EPERM ? log_of_another_file() : NULL;
    if (!other)
        stop_recording(error);
    return other;
}

/* The buffer is full: make room and give out a slot. Signals are blocked, because a handler may
 * allocate, and have made room already. NULL if the disk is full or the file is gone. */
static __attribute__((noinline)) struct event *slot_after_flush(struct log *log)
{
    int saved = errno;
    uint64_t signals = block_signals();
    if (self.log)
        log = self.log; /* a call under way may still know the log before */
    if (log->count >= CAPACITY)
        self.log = log = log_with_room(log);
    struct event *slot = log ? &log->events[log->count++] : NULL;
    restore_signals(signals);
    errno = saved;
    return slot;
}

/* Only the owner and its signal handlers take slots: one instruction without a lock prefix. */
static inline uint32_t take_slot(struct log *log)
{
    uint32_t index = 1;
#if defined(__x86_64__)
    __asm__ volatile("xaddl %0, %1" : "+r"(index), "+m"(log->count) : : "memory", "cc");
#else
    index = __atomic_fetch_add(&log->count, 1, __ATOMIC_RELAXED);
#endif
    return index;
}

struct written {
    struct event *event; /* NULL if it was not written */
    uint64_t order;
};

static inline struct written put(struct log *log, enum kind kind, unsigned detail,
                                 const void *address, uint64_t size, uint64_t entry, uint64_t took)
{
    uint32_t index = take_slot(log);
    struct event *event = LIKELY(index < CAPACITY) ? &log->events[index] : slot_after_flush(log);
    struct written written = {event, next_order()};
    if (UNLIKELY(!event))
        return written;
    if (UNLIKELY(took >> 40))
        took = (1ull << 40) - 1;
    event->address = (uint64_t)address | took >> 24 << 48;
    event->entry = entry;
    event->order = written.order << 24 | (took & 0xffffff);
    __atomic_store_n(&event->what, size | (uint64_t)kind << 48 | (uint64_t)detail << 56,
                     __ATOMIC_RELEASE);
    return written;
}

/* Whether an event is still in its place: a handler may have flushed the buffer meanwhile. */
static inline int is_there(struct written w)
{
    return w.event && w.event->order >> 24 == w.order;
}

/* Add to an event, written at a call's entry, how long the call took. */
static inline void put_ticks(struct written written, uint64_t took)
{
    if (is_there(written) && LIKELY(!(took >> 40))) {
        written.event->address |= took >> 24 << 48;
        written.event->order |= took & 0xffffff;
    }
}

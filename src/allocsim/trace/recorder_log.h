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
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if !defined(__LP64__)
#error "the recorder needs a 64-bit machine"
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- Formats: recorder_log.py reads these, keep both alike ---------------------------------- */

enum { LOG_VERSION = 1, CAPACITY = 4096, HEADER_BYTES = 4096, NAME_BYTES = 1024 };

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
    char path[NAME_BYTES];
    char padding[HEADER_BYTES - 32 - NAME_BYTES];
    struct event events[CAPACITY];
};

struct process {
    uint64_t version, pid, parent, start_ticks, start_faults, start_peak_kib;
    uint64_t ended;         /* 1: the figures below were taken at the process's end */
    uint64_t peak_kib;      /* VmHWM */
    uint64_t file_kib;      /* resident pages of files: code, most of all */
    uint64_t minor_faults, major_faults, cpu_ns;
    uint64_t stopped;       /* 0, or one more than the first order number that may be missing */
    uint64_t other_mappings; /* mmap calls left out: of files, or shared */
    uint64_t allocator_is_foreign;
    char program[NAME_BYTES];
    char command[HEADER_BYTES - 15 * 8 - NAME_BYTES]; /* arguments, each ended by a 0 byte */
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
    char prefix[NAME_BYTES]; /* of the paths of this process's files */
};

static struct state nowhere = {.off = 1};
static struct state *state = &nowhere;
static char folder[NAME_BYTES]; /* where all files go */
static pthread_key_t thread_end;

static __thread struct {
    struct log *log;
    uint32_t generation, thread;
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

/* ---- System calls that are no cancellation points and take no libc locks ---------------------- */

static int open_file(const char *path, int flags)
{
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static int write_all(int file, const void *data, size_t length, off_t offset)
{
    for (size_t done = 0; done < length;) {
        long n = syscall(SYS_pwrite64, file, (const char *)data + done, length - done, offset + done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        done += n;
    }
    return 0;
}

static uint64_t block_signals(void)
{
    uint64_t all = ~0ull, before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    return before;
}

static void restore_signals(uint64_t before)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
}

/* A file beyond the program's RLIMIT_FSIZE failed with EFBIG and left a signal that would end the
 * program once signals are unblocked: take it back. */
static void drop_size_signal(void)
{
    uint64_t only = 1ull << (SIGXFSZ - 1);
    struct timespec at_once = {0, 0};
    syscall(SYS_rt_sigtimedwait, &only, NULL, &at_once, sizeof only);
}

/* Map a new file of `length` zero bytes; its blocks are on disk already, so that a full disk shows
 * here and never as a SIGBUS. NULL with errno EEXIST if there is such a file. */
static void *map_new_file(const char *path, size_t length)
{
    int file = open_file(path, O_RDWR | O_CREAT | O_EXCL);
    if (file < 0)
        return NULL;
    void *mapped = MAP_FAILED;
    if (syscall(SYS_fallocate, file, 0, 0l, length) == 0)
        mapped = (void *)syscall(SYS_mmap, NULL, length, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_POPULATE, file, 0l);
    else
        drop_size_signal();
    syscall(SYS_close, file);
    return mapped == MAP_FAILED ? NULL : mapped;
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

static void stop_recording(void)
{
    state->process->stopped = state->order + 1;
    __atomic_store_n(&state->off, 1, __ATOMIC_RELEASE);
}

static int append_buffer(struct log *log)
{
    int file = open_file(log->path, O_WRONLY);
    if (file < 0)
        return -1;
    int failed = write_all(file, log->events, sizeof log->events,
                           sizeof *log + log->flushed * sizeof *log->events);
    syscall(SYS_close, file);
    if (failed)
        drop_size_signal();
    return failed;
}

/* The buffer is full: append it to the file and give out a slot of the empty one. Signals are
 * blocked, because a handler may allocate. NULL if the disk is full or the file is gone. */
static __attribute__((noinline)) struct event *slot_after_flush(struct log *log)
{
    struct event *slot = NULL;
    int saved = errno;
    uint64_t signals = block_signals();
    if (log->count >= CAPACITY && append_buffer(log) == 0) {
        __atomic_store_n(&log->flushed, log->flushed + CAPACITY, __ATOMIC_RELEASE);
        memset(log->events, 0, sizeof log->events);
        log->count = 0;
    }
    if (log->count < CAPACITY)
        slot = &log->events[log->count++];
    else
        stop_recording(), self.log = NULL;
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

/* ---- Processes and threads ------------------------------------------------------------------- */

static void read_text(const char *path, char *text, size_t size)
{
    int file = open_file(path, O_RDONLY);
    long n = file < 0 ? 0 : syscall(SYS_read, file, text, size - 1);
    text[n > 0 ? n : 0] = 0;
    if (file >= 0)
        syscall(SYS_close, file);
}

static void describe_process(struct process *process)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    process->pid = syscall(SYS_getpid);
    process->parent = getppid();
    process->start_ticks = ticks();
    process->start_faults = usage.ru_minflt;
    process->start_peak_kib = usage.ru_maxrss;
    long n = syscall(SYS_readlink, "/proc/self/exe", process->program, NAME_BYTES - 1);
    process->program[n > 0 ? n : 0] = 0;
    read_text("/proc/self/cmdline", process->command, sizeof process->command);
    process->version = LOG_VERSION;
}

/* Make the files of this process, or of this program if the process has run another before. */
static int start_process(void)
{
    int room = sizeof state->prefix - 32, tries = 0;
    do {
        snprintf(state->prefix, room, "%s/%ld.%d", folder, syscall(SYS_getpid), tries);
        char path[NAME_BYTES + 16];
        snprintf(path, sizeof path, "%s.process", state->prefix);
        state->process = map_new_file(path, sizeof *state->process);
    } while (!state->process && errno == EEXIST && ++tries < 100000);
    if (!state->process)
        return -1;
    describe_process(state->process);
    state->generation = self.generation + 1;
    return 0;
}

static struct log *new_log(void)
{
    char path[NAME_BYTES];
    snprintf(path, sizeof path, "%s.%u.log", state->prefix, state->logs);
    struct log *log = map_new_file(path, sizeof *log);
    if (!log)
        return NULL;
    state->logs++;
    memcpy(log->path, path, sizeof path);
    log->version = LOG_VERSION;
    return log;
}

static struct log *take_log(void)
{
    if (!state->generation && start_process() != 0)
        return NULL;
    struct log *log = state->spare;
    if (log)
        state->spare = log->spare;
    else
        log = new_log();
    if (log && self.generation != state->generation) {
        self.thread = state->threads++;
        self.generation = state->generation;
    }
    return log;
}

/* Give the calling thread a log: at its first call, and at the first call after a fork. */
static __attribute__((noinline)) struct log *acquire_log(void)
{
    if (state->off)
        return NULL;
    int saved = errno;
    uint64_t signals = block_signals();
    lock();
    self.log = take_log();
    if (self.log)
        put(self.log, THREAD, 0, (void *)(uintptr_t)self.thread, 0, ticks(), 0);
    else if (state->process)
        stop_recording();
    else
        state->off = 1;
    unlock();
    restore_signals(signals);
    if (self.log)
        pthread_setspecific(thread_end, self.log);
    errno = saved;
    return self.log;
}

static void release_log(void *unused)
{
    (void)unused;
    uint64_t signals = block_signals();
    struct log *log = self.log;
    self.log = NULL;
    if (log && self.generation == state->generation) {
        lock();
        log->spare = state->spare;
        state->spare = log;
        unlock();
    }
    restore_signals(signals);
}

/* The calling thread's log, or NULL if nothing is recorded. */
static inline struct log *own_log(void)
{
    if (LIKELY(self.log && self.generation == state->generation))
        return self.log;
    return acquire_log();
}

/* Start recording if `allocsim record` asks for it; a kernel that cannot wipe pages in a forked
 * child (before 4.14) records nothing. */
static void start_recording(void)
{
    const char *wanted = getenv("ALLOCSIM_RECORD_FOLDER");
    if (!wanted || strlen(wanted) >= sizeof folder - 64)
        return;
    strcpy(folder, wanted);
    void *page = (void *)syscall(SYS_mmap, NULL, sizeof *state, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0l);
    if (page == MAP_FAILED || syscall(SYS_madvise, page, sizeof *state, MADV_WIPEONFORK))
        return;
    if (pthread_key_create(&thread_end, release_log) == 0)
        state = page;
}

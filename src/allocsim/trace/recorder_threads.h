/* Who writes a log: processes, their threads, and the start of the recording. */
#include "recorder_log.h"

/* ---- Processes and threads ------------------------------------------------------------------- */

static void describe_process(struct process *process)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    process->pid = syscall(SYS_getpid);
    process->parent = getppid();
    process->start_ticks = ticks();
    process->start_faults = usage.ru_minflt;
    process->start_peak_kib = usage.ru_maxrss;
    memcpy(process->program, started.program, sizeof started.program);
    memcpy(process->environment, started.environment, sizeof started.environment);
    read_text("/proc/self/cmdline", process->command, sizeof process->command);
    process->version = LOG_VERSION;
}

/* Make the files of this process, or of this program if the process has run another before. */
static int start_process(void)
{
    char place[16], name[SHORT_NAME_BYTES];
    int tries = 0;
    place_for_files(place, sizeof place);
    do {
        snprintf(state->prefix, sizeof state->prefix, "%s%ld.%d", place, syscall(SYS_getpid), tries);
        snprintf(name, sizeof name, "%s.process", state->prefix);
        state->process = map_new_file(name, sizeof *state->process);
    } while (!state->process && errno == EEXIST && ++tries < 100000);
    if (!state->process)
        return -1;
    describe_process(state->process);
    state->generation = self.numbered + 1;
    return 0;
}

/* Name a file of this process. That of a user that the process did not start as lies in that user's
 * folder: `of.` and the process's prefix, where a slash becomes a dot. */
static void name_file(char *name, const char *kind)
{
    char place[16], *prefix = state->prefix;
    place_for_files(place, sizeof place);
    int is_home = strncmp(prefix, place, strlen(place)) == 0 && !strchr(prefix + strlen(place), '/');
    int start = is_home ? 0 : snprintf(name, SHORT_NAME_BYTES, "%sof.", place);
    snprintf(name + start, SHORT_NAME_BYTES - start, "%s.%s", prefix, kind);
    for (char *rest = name + strlen(place); !is_home && *rest; rest++)
        *rest = *rest == '/' ? '.' : *rest;
}

static struct log *new_log(void)
{
    char name[SHORT_NAME_BYTES], kind[24];
    snprintf(kind, sizeof kind, "%u.log", state->logs);
    name_file(name, kind);
    struct log *log = map_new_file(name, sizeof *log);
    if (!log)
        return NULL;
    state->logs++;
    memcpy(log->name, name, sizeof name);
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
    if (log && self.numbered != state->generation) {
        self.thread = state->threads++;
        self.numbered = state->generation;
    }
    self.generation = self.is_ending ? 0 : self.numbered;
    return log;
}

static void put_thread(struct log *log)
{
    put(log, THREAD, 0, (void *)(uintptr_t)self.thread, 0, ticks(), 0);
}

static struct log *log_of_another_file(void)
{
    lock();
    struct log *log = new_log();
    unlock();
    if (log)
        put_thread(log);
    return log;
}

/* Give the calling thread a log: at its first call, and at the first call after a fork. */
static __attribute__((noinline)) struct log *acquire_log(void)
{
    if (self.is_ending && self.n_calls++)
        return self.log;
    if (state->off)
        return NULL;
    int saved = errno;
    uint64_t signals = block_signals();
    lock();
    self.log = take_log();
    if (!self.log && state->process)
        stop_recording(errno);
    else if (!self.log)
        state->off = 1;
    unlock();
    if (self.log)
        put_thread(self.log);
    restore_signals(signals);
    if (self.log && !self.is_ending)
        pthread_setspecific(thread_end, self.log);
    errno = saved;
    return self.log;
}

static void release_log(void)
{
    uint64_t signals = block_signals();
    struct log *log = self.log;
    self.log = NULL;
    if (log && self.numbered == state->generation) {
        lock();
        log->spare = state->spare;
        state->spare = log;
        unlock();
    }
    restore_signals(signals);
}

/* The thread's keys are destroyed, this one among the first: what it frees afterwards (other keys'
 * values, the C library's buffers) takes a log for that call only. */
static void end_thread(void *unused)
{
    (void)unused;
    self.is_ending = 1;
    self.generation = 0;
    release_log();
}

static __attribute__((noinline)) void end_call_of_ending_thread(void)
{
    if (--self.n_calls == 0)
        release_log();
}

/* The calling thread's log, or NULL if nothing is recorded. */
static inline struct log *own_log(void)
{
    if (LIKELY(self.log && self.generation == state->generation))
        return self.log;
    return acquire_log();
}

/* ---- The start ------------------------------------------------------------------------------- */

/* The path that was executed, links and all: the name by which people know the program. */
static void note_program(void)
{
    const char *executed = (const char *)getauxval(AT_EXECFN);
    char *program = started.program;
    long n = 0;
    if (!executed || !executed[0] || strncmp(executed, "/dev/fd/", 8) == 0) {
        n = syscall(SYS_readlink, "/proc/self/exe", program, NAME_BYTES - 1);
        program[n > 0 ? n : 0] = 0;
        return;
    }
    if (executed[0] != '/')
        n = syscall(SYS_getcwd, program, NAME_BYTES);
    while (strncmp(executed, "./", 2) == 0)
        executed += 2;
    n = n > 1 ? n - 1 : 0; /* without the 0 byte */
    snprintf(program + n, NAME_BYTES - n, "%s%s", n > 1 ? "/" : "", executed);
}

/* Variables that set the allocator's parameters. */
static void note_environment(void)
{
    size_t used = 0;
    for (char **entry = environ; entry && *entry; entry++) {
        size_t length = strlen(*entry) + 1;
        int is_known = !strncmp(*entry, "MALLOC_", 7) || !strncmp(*entry, "GLIBC_TUNABLES=", 15);
        if (is_known && used + length <= sizeof started.environment) {
            memcpy(started.environment + used, *entry, length);
            used += length;
        }
    }
}

static void note_library(void)
{
    Dl_info found;
    if (dladdr(&started, &found) && strlen(found.dli_fname) < NAME_BYTES)
        strcpy(started.library, found.dli_fname);
}

/* Start recording if `allocsim record` asks for it; a kernel that cannot wipe pages in a forked
 * child (before 4.14) records nothing. */
static void start_recording(void)
{
    struct stat found;
    const char *wanted = getenv("ALLOCSIM_RECORD_FOLDER");
    if (!wanted || strlen(wanted) >= sizeof folder.path - 64)
        return;
    void *page = (void *)syscall(SYS_mmap, NULL, sizeof *state, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0l);
    if (page == MAP_FAILED || syscall(SYS_madvise, page, sizeof *state, MADV_WIPEONFORK))
        return;
    if (pthread_key_create(&thread_end, end_thread) != 0)
        return;
    strcpy(folder.path, wanted);
    folder.owner = stat(wanted, &found) == 0 ? found.st_uid : geteuid();
    note_program();
    note_environment();
    note_library();
    state = page;
}

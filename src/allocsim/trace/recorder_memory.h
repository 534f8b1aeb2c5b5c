/* What is resident: of a block or mapping at its end, and of the whole process at its exit. */

enum { PAGE = 4096, BIG_BYTES = 16384, PAGES_AT_ONCE = 1024, MOST_RUNS = 16 };
#define MOST_SCANNED_BYTES (16ull << 30) /* beyond it lies a reservation, hardly touched */

/* Call `use` with each run of resident pages in a range. Few pages are asked for at a time, because
 * a signal handler's stack may be small. */
static inline void each_run(uint64_t start, uint64_t length,
                            void (*use)(void *, uint64_t, uint64_t), void *to)
{
    int saved = errno;
    uint64_t end = start + (length < MOST_SCANNED_BYTES ? length : MOST_SCANNED_BYTES);
    uint64_t run = 0;
    for (uint64_t at = start & -PAGE; at < end;) {
        unsigned char pages[PAGES_AT_ONCE];
        uint64_t left = (end - at + PAGE - 1) / PAGE, n = left < PAGES_AT_ONCE ? left : PAGES_AT_ONCE;
        if (syscall(SYS_mincore, at, n * PAGE, pages) != 0)
            memset(pages, 0, n);
        for (uint64_t i = 0; i < n; i++, at += PAGE) {
            int resident = pages[i] & 1;
            if (resident && !run)
                run = at > start ? at : start;
            else if (!resident && run)
                use(to, run, at), run = 0;
        }
    }
    if (run)
        use(to, run, end);
    errno = saved;
}

static void add_bytes(void *sum, uint64_t start, uint64_t end)
{
    *(uint64_t *)sum += end - start;
}

/* Bytes of a block that lie in resident pages. */
static uint64_t resident_bytes(const void *block, uint64_t length)
{
    uint64_t sum = 0;
    each_run((uint64_t)block, length, add_bytes, &sum);
    return sum;
}

struct runs {
    struct log *log;
    uint64_t entry;
    unsigned count;
    uint64_t last_start, last_bytes; /* all from the last run on, as if they were one */
};

static void put_run(void *to, uint64_t start, uint64_t end)
{
    struct runs *runs = to;
    if (++runs->count < MOST_RUNS) {
        put(runs->log, RESIDENT, 0, (void *)start, end - start, runs->entry, 0);
    } else {
        runs->last_start = runs->last_start ? runs->last_start : start;
        runs->last_bytes += end - start;
    }
}

/* Log which parts of a range of mappings are resident, before the event about the range. */
static void put_resident(struct log *log, const void *start, uint64_t length, uint64_t entry)
{
    struct runs runs = {log, entry, 0, 0, 0};
    each_run((uint64_t)start, length, put_run, &runs);
    if (runs.last_bytes)
        put(log, RESIDENT, 0, (void *)runs.last_start, runs.last_bytes, entry, 0);
}

/* ---- At exit --------------------------------------------------------------------------------- */

struct output {
    int file;
    unsigned count;
    off_t offset;
    uint64_t ranges[256][2];
};

static void write_ranges(struct output *output)
{
    size_t length = output->count * sizeof *output->ranges;
    if (write_all(output->file, output->ranges, length, output->offset) == 0)
        output->offset += length;
    output->count = 0;
}

static void add_range(void *to, uint64_t start, uint64_t end)
{
    struct output *output = to;
    if (output->count == sizeof output->ranges / sizeof *output->ranges)
        write_ranges(output);
    output->ranges[output->count][0] = start;
    output->ranges[output->count++][1] = end;
}

/* A line of /proc/self/maps; only private anonymous memory counts: its inode is 0. */
static void add_mapping(struct output *output, const char *line)
{
    unsigned long start, end, inode;
    char rights[5];
    if (sscanf(line, "%lx-%lx %4s %*x %*s %lu", &start, &end, rights, &inode) == 4)
        if (inode == 0 && rights[3] == 'p' && line[0] != 'f')
            each_run(start, end - start, add_range, output);
}

struct lines {
    void (*use)(struct output *, const char *);
    struct output *output;
};

static int use_lines(int file, void *with)
{
    struct lines *lines = with;
    char text[4096], line[256];
    unsigned length = 0;
    long n;
    while ((n = syscall(SYS_read, file, text, sizeof text)) > 0)
        for (long i = 0; i < n; i++) {
            if (text[i] != '\n' && length < sizeof line - 1) {
                line[length++] = text[i];
            } else if (text[i] == '\n') {
                line[length] = 0;
                lines->use(lines->output, line);
                length = 0;
            }
        }
    return 0;
}

/* Call `use` with each line of a file of /proc, without allocating; long lines come cut. */
static int each_line(const char *path, void (*use)(struct output *, const char *),
                     struct output *output)
{
    struct lines lines = {use, output};
    return with_file(path, O_RDONLY, use_lines, &lines);
}

static void take_status(struct output *unused, const char *line)
{
    unsigned long kib;
    (void)unused;
    if (sscanf(line, "VmHWM: %lu", &kib) == 1)
        state->process->peak_kib = kib;
    else if (sscanf(line, "RssFile: %lu", &kib) == 1)
        state->process->file_kib = kib;
}

static uint64_t nanoseconds(struct timeval time)
{
    return time.tv_sec * 1000000000ull + time.tv_usec * 1000ull;
}

static void take_figures(struct process *process)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    process->minor_faults = usage.ru_minflt;
    process->major_faults = usage.ru_majflt;
    process->cpu_ns = nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
    if (each_line("/proc/self/status", take_status, NULL) != 0)
        if ((uint64_t)usage.ru_maxrss > process->start_peak_kib)
            process->peak_kib = usage.ru_maxrss; /* includes the program before, if there was one */
}

static int write_resident(int file, void *unused)
{
    static struct output output;
    (void)unused;
    output = (struct output){.file = file};
    int failed = each_line("/proc/self/maps", add_mapping, &output);
    write_ranges(&output);
    return failed;
}

/* The process ends: note its figures, and which pages of blocks that were never freed it used.
 * Not for a child of vfork, which has its parent's memory but not its number. */
static void end_process(void)
{
    struct process *process = state->process;
    if (!state->generation || process->pid != (uint64_t)syscall(SYS_getpid))
        return;
    char name[SHORT_NAME_BYTES];
    uint64_t signals = block_signals();
    name_file(name, "resident");
    take_figures(process);
    with_file(name, O_WRONLY | O_CREAT | O_TRUNC, write_resident, NULL);
    process->ended = 1;
    restore_signals(signals);
}

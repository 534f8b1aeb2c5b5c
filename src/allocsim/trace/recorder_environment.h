/* What a program is run with: the recorder in its environment, and a note that it was run.
 *
 * A program may clear its environment or set an LD_PRELOAD of its own: the recorder is added. If the
 * user that it runs as cannot read the recorder, the loader would complain on the program's standard
 * error: then it is taken out. Every program run is noted in one file, `programs`.
 *
 * All this may happen in a child of vfork, which has its parent's memory: nothing is stored there but
 * on the stack, and nothing is allocated.
 */

static const char FOLDER_VARIABLE[] = "ALLOCSIM_RECORD_FOLDER=", PRELOAD_VARIABLE[] = "LD_PRELOAD=";

/* ---- Notes of what is run ------------------------------------------------------------------------ */

struct note {
    char text[NAME_BYTES + 64];
    size_t length;
};

static int append_note(int file, void *with)
{
    struct note *note = with;
    return syscall(SYS_write, file, note->text, note->length) < 0 ? -1 : 0;
}

/* Note when (in ticks) process `pid` ran which program; NULL: it failed to. One write, so that notes of
 * several processes do not mix. */
static void note_program_run(long pid, uint64_t when, const char *program)
{
    char place[16], name[SHORT_NAME_BYTES];
    struct note note;
    uint64_t signals = block_signals();
    int saved = errno, length = snprintf(note.text, sizeof note.text, "%ld %llu %.*s", pid,
                                         (unsigned long long)when, NAME_BYTES - 1,
                                         program ? program : "");
    note.length = length + 1; /* with the 0 byte */
    place_for_files(place, sizeof place);
    snprintf(name, sizeof name, "%sprograms", place);
    with_file(name, O_WRONLY | O_CREAT | O_APPEND, append_note, &note);
    errno = saved;
    restore_signals(signals);
}

/* ---- Their environment --------------------------------------------------------------------------- */

/* What is to be preloaded: the recorder as it was, or the copy in the folder that other users can
 * read; NULL if there is none. `copy` has NAME_BYTES + 16. What this process may still read does not
 * count for other users: it may have rights that end with exec. */
static const char *readable_recorder(char *copy)
{
    snprintf(copy, NAME_BYTES + 16, "%s/recorder.so", folder.path);
    const char *recorder = geteuid() == folder.owner ? started.library : copy;
    return faccessat(AT_FDCWD, recorder, R_OK, AT_EACCESS) == 0 ? recorder : NULL;
}

/* The length of the first item of a list that blanks or colons part. */
static size_t item_length(const char *list)
{
    return strcspn(list, ": ");
}

static int is_item(const char *item, const char *name)
{
    return name && item_length(item) == strlen(name) && !strncmp(item, name, strlen(name));
}

/* Write the entry LD_PRELOAD: `recorder`, if any, and what `old` lists but the recorder. */
static void write_preload(char *entry, const char *recorder, const char *old)
{
    char *end = stpcpy(stpcpy(entry, PRELOAD_VARIABLE), recorder ? recorder : "");
    for (; *old; old += item_length(old) + (old[item_length(old)] != 0)) {
        int is_own = is_item(old, started.library) || is_item(old, recorder);
        if (is_own || !item_length(old))
            continue;
        *end = ':';
        end += end[-1] != '=';
        end = mempcpy(end, old, item_length(old));
        *end = 0;
    }
}

static int is_variable(const char *entry, const char *name_and_sign)
{
    return strncmp(entry, name_and_sign, strlen(name_and_sign)) == 0;
}

static const char *value_in(char *const *environment, const char *name_and_sign)
{
    for (; environment && *environment; environment++)
        if (is_variable(*environment, name_and_sign))
            return *environment + strlen(name_and_sign);
    return "";
}

static int is_recorded_in(char *const *environment, const char *recorder)
{
    return recorder && is_item(value_in(environment, PRELOAD_VARIABLE), recorder) &&
           strcmp(value_in(environment, FOLDER_VARIABLE), folder.path) == 0;
}

struct run { /* of a program, by one of the functions below */
    int (*go)(const struct run *, char *const *environment);
    const char *program;
    char *const *arguments;
    int file;
    pid_t *pid;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *attributes;
    spawn_function *spawn;
};

/* Run with the recorder in the environment; all that is added lies on the stack. */
static int run_in_environment(const struct run *run, char *const *environment)
{
    char copy[NAME_BYTES + 16], folder_entry[NAME_BYTES + 32];
    const char *recorder = readable_recorder(copy), *old = value_in(environment, PRELOAD_VARIABLE);
    if (is_recorded_in(environment, recorder))
        return run->go(run, environment);
    size_t n = 0;
    while (environment && environment[n])
        n++;
    char *preload = __builtin_alloca(strlen(old) + 2 * NAME_BYTES), *entries[n + 3];
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_variable(environment[i], PRELOAD_VARIABLE) &&
            !is_variable(environment[i], FOLDER_VARIABLE))
            entries[kept++] = environment[i];
    write_preload(preload, recorder, old);
    snprintf(folder_entry, sizeof folder_entry, "%s%s", FOLDER_VARIABLE, folder.path);
    if (preload[sizeof PRELOAD_VARIABLE - 1])
        entries[kept++] = preload;
    entries[kept++] = folder_entry;
    entries[kept] = NULL;
    return run->go(run, entries);
}

/* Programs that the program runs, and its changes of root and user: taken so that what it runs is
 * recorded too, and so that the recording says which programs it could not see.
 */
#include "recorder_environment.h"

/* ---- The functions that run programs --------------------------------------------------------------- */

/* Shells try each folder of the PATH: what is not there is not noted. */
static int may_run(const char *program)
{
    return !strchr(program, '/') || faccessat(AT_FDCWD, program, X_OK, AT_EACCESS) == 0;
}

/* Become another program; returns only if that failed. */
static int become(struct run run, char *const *environment)
{
    if (!ready() || !folder.path[0])
        return run.go(&run, environment);
    long pid = syscall(SYS_getpid);
    int is_noted = may_run(run.program);
    if (is_noted)
        note_program_run(pid, ticks(), run.program);
    int failed = run_in_environment(&run, environment);
    if (is_noted)
        note_program_run(pid, ticks(), NULL);
    return failed;
}

static int go_execve(const struct run *run, char *const *environment)
{
    return real.execve(run->program, run->arguments, environment);
}

static int go_execvpe(const struct run *run, char *const *environment)
{
    return real.execvpe(run->program, run->arguments, environment);
}

static int go_fexecve(const struct run *run, char *const *environment)
{
    return real.fexecve(run->file, run->arguments, environment);
}

static int go_spawn(const struct run *run, char *const *environment)
{
    return run->spawn(run->pid, run->program, run->actions, run->attributes, run->arguments,
                      environment);
}

TAKEN int execve(const char *path, char *const arguments[], char *const environment[])
{
    struct run run = {.go = go_execve, .program = path, .arguments = arguments};
    return become(run, environment);
}

TAKEN int execv(const char *path, char *const arguments[])
{
    return execve(path, arguments, environ);
}

TAKEN int execvpe(const char *file, char *const arguments[], char *const environment[])
{
    struct run run = {.go = go_execvpe, .program = file, .arguments = arguments};
    return become(run, environment);
}

TAKEN int execvp(const char *file, char *const arguments[])
{
    return execvpe(file, arguments, environ);
}

TAKEN int fexecve(int file, char *const arguments[], char *const environment[])
{
    char link[64], path[NAME_BYTES];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long n = syscall(SYS_readlink, link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    struct run run = {.go = go_fexecve, .program = path, .arguments = arguments, .file = file};
    return become(run, environment);
}

/* Collect the arguments of execl and its kin, from `first` up to NULL, into an array on the stack of
 * the caller; `rest` has been read up to that NULL afterwards. */
#define COLLECT(arguments, first, rest)                                                            \
    va_list rest;                                                                                  \
    int arguments##_count = 1;                                                                     \
    va_start(rest, first);                                                                         \
    while (va_arg(rest, char *))                                                                   \
        arguments##_count++;                                                                       \
    va_end(rest);                                                                                  \
    char *arguments[arguments##_count + 1];                                                        \
    arguments[0] = (char *)first;                                                                  \
    va_start(rest, first);                                                                         \
    for (int i = 1; i <= arguments##_count; i++)                                                   \
        arguments[i] = va_arg(rest, char *)

TAKEN int execl(const char *path, const char *first, ...)
{
    COLLECT(arguments, first, rest);
    va_end(rest);
    return execve(path, arguments, environ);
}

TAKEN int execlp(const char *file, const char *first, ...)
{
    COLLECT(arguments, first, rest);
    va_end(rest);
    return execvpe(file, arguments, environ);
}

TAKEN int execle(const char *path, const char *first, ...)
{
    COLLECT(arguments, first, rest);
    char *const *environment = va_arg(rest, char *const *);
    va_end(rest);
    return execve(path, arguments, environment);
}

/* Run another program beside this one. */
static int spawn(struct run run, spawn_function **function, char *const *environment)
{
    pid_t child = 0, *wanted = run.pid;
    int is_ready = ready();
    run.spawn = *function;
    if (!is_ready || !folder.path[0])
        return run.go(&run, environment);
    uint64_t when = ticks();
    run.pid = &child;
    int error = run_in_environment(&run, environment);
    if (error == 0)
        note_program_run(child, when, run.program);
    if (error == 0 && wanted)
        *wanted = child;
    return error;
}

TAKEN int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attributes, char *const arguments[],
                      char *const environment[])
{
    struct run run = {go_spawn, path, arguments, -1, pid, actions, attributes, NULL};
    return spawn(run, &real.posix_spawn, environment);
}

TAKEN int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[],
                       char *const environment[])
{
    struct run run = {go_spawn, file, arguments, -1, pid, actions, attributes, NULL};
    return spawn(run, &real.posix_spawnp, environment);
}

/* ---- Changes of root and user ---------------------------------------------------------------------- */

/* A child of vfork has descriptors of its own, but its parent's memory: it prepares nothing. */
static void before_change(uid_t user)
{
    int is_own = !state->generation || state->process->pid == (uint64_t)syscall(SYS_getpid);
    if (ready() && is_own)
        prepare_change(user);
}

TAKEN int chroot(const char *path)
{
    before_change(-1);
    return real.chroot(path);
}

TAKEN int setuid(uid_t user)
{
    before_change(user);
    return real.setuid(user);
}

TAKEN int seteuid(uid_t user)
{
    before_change(user);
    return real.seteuid(user);
}

TAKEN int setreuid(uid_t user, uid_t effective)
{
    before_change(effective);
    return real.setreuid(user, effective);
}

TAKEN int setresuid(uid_t user, uid_t effective, uid_t saved)
{
    before_change(effective);
    return real.setresuid(user, effective, saved);
}

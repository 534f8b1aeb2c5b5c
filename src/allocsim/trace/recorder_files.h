/* The recorder's files: opened for one use each and closed at once, because descriptors are the
 * program's; by system calls that are no cancellation points and take no libc locks.
 *
 * A program may run out of descriptors, or set itself a low limit. Then a child that shares the
 * memory but not the descriptors opens the file, while the calling thread waits for it.
 *
 * A program that is about to change its root or its user could not reach the folder by its path any
 * more: from then on it is held open, and the new user gets a folder inside.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if !defined(__LP64__)
#error "the recorder needs a 64-bit machine"
#endif

enum { NAME_BYTES = 1024, HELPER_STACK_BYTES = 65536, HELPER_CLOSES = 8 };

static struct {
    char path[NAME_BYTES]; /* empty: nothing is recorded */
    uid_t owner;
    int file; /* held open after a change of root or user; -1 before */
    dev_t device;
    ino_t inode;
} folder = {.file = -1};

/* ---- Opening ------------------------------------------------------------------------------------ */

/* Whether the descriptor of the folder is still that: the program may have closed it. */
static int folder_is_open(void)
{
    struct stat now;
    return folder.file >= 0 && fstat(folder.file, &now) == 0 && now.st_dev == folder.device &&
           now.st_ino == folder.inode;
}

/* Open a file of the folder, or one of /proc, whose name begins with a slash. */
static int open_file(const char *name, int flags)
{
    char path[2 * NAME_BYTES];
    flags |= O_CLOEXEC;
    if (name[0] == '/')
        return syscall(SYS_openat, AT_FDCWD, name, flags, 0);
    if (folder_is_open())
        return syscall(SYS_openat, folder.file, name, flags | O_NOFOLLOW, 0600);
    snprintf(path, sizeof path, "%s/%s", folder.path, name);
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_NOFOLLOW, 0600);
}

struct use {
    const char *name;
    int flags;
    int (*what)(int file, void *with); /* 0, or -1 and errno */
    void *with;
    int result, error;
};

static void open_and_use(struct use *use)
{
    int file = open_file(use->name, use->flags);
    use->result = file < 0 ? -1 : use->what(file, use->with);
    use->error = errno;
    if (file >= 0)
        syscall(SYS_close, file);
}

/* In the child: its limits and descriptors are its own. */
static int use_in_child(void *use)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (int file = 0; file < HELPER_CLOSES; file++)
        if (file != folder.file)
            syscall(SYS_close, file);
    open_and_use(use);
    return 0;
}

static void use_by_child(struct use *use)
{
    void *stack = (void *)syscall(SYS_mmap, NULL, HELPER_STACK_BYTES, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0l);
    if (stack == MAP_FAILED)
        return;
    int child = clone(use_in_child, (char *)stack + HELPER_STACK_BYTES, CLONE_VM | CLONE_VFORK, use);
    while (child > 0 && syscall(SYS_wait4, child, NULL, __WCLONE, NULL) < 0 && errno == EINTR)
        ;
    syscall(SYS_munmap, stack, HELPER_STACK_BYTES);
}

/* Open a file, do `what` to it and close it; 0, or -1 and errno. Signals are blocked. */
static int with_file(const char *name, int flags, int (*what)(int, void *), void *with)
{
    struct use use = {name, flags, what, with, -1, 0};
    open_and_use(&use);
    if (use.result != 0 && use.error == EMFILE)
        use_by_child(&use);
    errno = use.error;
    return use.result;
}

/* ---- Writing ------------------------------------------------------------------------------------ */

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
    int saved = errno;
    uint64_t only = 1ull << (SIGXFSZ - 1);
    struct timespec at_once = {0, 0};
    syscall(SYS_rt_sigtimedwait, &only, NULL, &at_once, sizeof only);
    errno = saved;
}

/* The file could not take more: give the room of what was begun to others, the traces above all. */
static void cut_back(int file, off_t length)
{
    int saved = errno;
    drop_size_signal();
    syscall(SYS_ftruncate, file, length);
    errno = saved;
}

/* Give the file `length` zero bytes that are on disk. Not every file system knows fallocate: zeros
 * that are written do the same. */
static int make_room(int file, size_t length)
{
    static const char zeros[4096];
    if (syscall(SYS_fallocate, file, 0, 0l, length) == 0)
        return 0;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO)
        return -1;
    for (size_t at = 0; at < length; at += sizeof zeros)
        if (write_all(file, zeros, sizeof zeros, at) != 0)
            return -1;
    return 0;
}

struct new_file {
    size_t length; /* a multiple of 4096 */
    void *mapped;
};

static int map_file(int file, void *with)
{
    struct new_file *new = with;
    if (make_room(file, new->length) != 0) {
        cut_back(file, 0);
        return -1;
    }
    new->mapped = (void *)syscall(SYS_mmap, NULL, new->length, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_POPULATE, file, 0l);
    return new->mapped == MAP_FAILED ? -1 : 0;
}

/* Map a new file of `length` zero bytes; its blocks are on disk already, so that a full disk shows
 * here and never as a SIGBUS. NULL with errno EEXIST if there is such a file; an empty file stays if
 * there was no room, as a sign that somebody wanted it. */
static void *map_new_file(const char *name, size_t length)
{
    struct new_file new = {length, NULL};
    int failed = with_file(name, O_RDWR | O_CREAT | O_EXCL, map_file, &new);
    return failed ? NULL : new.mapped;
}

struct text {
    char *bytes;
    size_t size;
};

static int read_into(int file, void *with)
{
    struct text *text = with;
    long n = syscall(SYS_read, file, text->bytes, text->size - 1);
    text->bytes[n > 0 ? n : 0] = 0;
    return 0;
}

static void read_text(const char *path, char *bytes, size_t size)
{
    struct text text = {bytes, size};
    bytes[0] = 0;
    with_file(path, O_RDONLY, read_into, &text);
}

/* ---- Before a change of root or user ------------------------------------------------------------- */

/* Where the files of the current user go, inside the folder. */
static void place_for_files(char *place, size_t size)
{
    uid_t user = geteuid();
    place[0] = 0;
    if (user != folder.owner)
        snprintf(place, size, "u%u/", user);
}

/* Hold the folder open, at a number that programs do not expect to be given next. */
static void hold_folder(void)
{
    struct rlimit limit;
    struct stat found;
    if (folder_is_open())
        return;
    int file = syscall(SYS_openat, AT_FDCWD, folder.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (file < 0 || fstat(file, &found) != 0)
        return;
    int most = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1024 ? limit.rlim_cur : 1024;
    folder.file = fcntl(file, F_DUPFD_CLOEXEC, most > 32 ? most - 24 : 0);
    if (folder.file >= 0)
        syscall(SYS_close, file);
    else
        folder.file = file;
    folder.device = found.st_dev;
    folder.inode = found.st_ino;
}

/* The process is about to change its root, or its user to `user` (-1: not the user). Only the
 * superuser can, and only then is anything done. */
static void prepare_change(uid_t user)
{
    char place[16];
    int saved = errno;
    if (folder.path[0] && geteuid() == 0) {
        hold_folder();
        snprintf(place, sizeof place, "u%u", user);
        if (user != (uid_t)-1 && user != folder.owner && folder_is_open() &&
            mkdirat(folder.file, place, 0700) == 0)
            fchownat(folder.file, place, user, -1, AT_SYMLINK_NOFOLLOW);
    }
    errno = saved;
}

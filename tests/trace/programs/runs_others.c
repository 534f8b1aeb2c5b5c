/* Runs a program by posix_spawn and one by vfork, then becomes a third. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int count, char **arguments)
{
    pid_t pid;
    free(malloc(5555));
    if (count != 2 || posix_spawn(&pid, arguments[1], NULL, NULL, arguments + 1, environ) != 0)
        return 1;
    if (vfork() == 0) {
        execv(arguments[1], arguments + 1);
        _exit(9);
    }
    if (vfork() == 0)
        _exit(0);
    while (wait(NULL) > 0) {
    }
    free(malloc(6666));
    execv(arguments[1], arguments + 1);
    return 2;
}

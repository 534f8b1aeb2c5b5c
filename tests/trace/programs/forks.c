/* Forks, by libc and behind its back; each child frees its parent's block and takes its own. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(void *parents, int size)
{
    free(parents);
    for (int i = 0; i < 5000; i++)
        free(malloc(size));
}

int main(void)
{
    void *block = malloc(1111);
    if (fork() == 0) {
        child(block, 2222);
        exit(0);
    }
    if (syscall(SYS_fork) == 0) {
        child(block, 3333);
        _exit(0);
    }
    while (wait(NULL) > 0) {
    }
    for (int i = 0; i < 5000; i++)
        free(malloc(4444));
    free(block);
    return 0;
}

/* The superuser's program: allocates, becomes nobody (in another root, with a second argument),
 * allocates as often as its argument says, and starts a thread and a child. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void allocate(size_t size, int n)
{
    for (int i = 0; i < n; i++) {
        void *volatile block = malloc(size);
        free(block);
    }
}

static void *work(void *unused)
{
    allocate(333, 100);
    return unused;
}

int main(int count, char **arguments)
{
    int n = atoi(arguments[1]);
    pthread_t thread;
    allocate(111, 100);
    if (count > 2 && (chroot(arguments[2]) || chdir("/")))
        return 2;
    if (setgid(65534) || setuid(65534))
        return 1;
    allocate(222, n);
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
    if (fork() == 0) {
        allocate(444, 100);
        _exit(0);
    }
    wait(NULL);
    return 4;
}

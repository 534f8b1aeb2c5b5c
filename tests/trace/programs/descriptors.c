/* Uses up all its descriptors; allocates meanwhile, in a new thread too; prints how many it had. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void *work(void *unused)
{
    for (int i = 0; i < 10000; i++) {
        void *volatile block = malloc(40);
        free(block);
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    struct rlimit limit = {64, 64};
    int n = 0;
    setrlimit(RLIMIT_NOFILE, &limit);
    while (open("/dev/null", O_RDONLY) >= 0)
        n++;
    pthread_create(&thread, NULL, work, NULL);
    work(NULL);
    pthread_join(thread, NULL);
    for (int file = 3; file < 64; file++)
        close(file);
    work(NULL);
    printf("%d\n", n);
    return 5;
}

/* Fifty threads, one after the other, for each of which libc frees a block after all else. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void *work(void *unused)
{
    free(malloc(333));
    strerror(12345); /* a buffer of the thread's own */
    return unused;
}

int main(void)
{
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
        pthread_join(thread, NULL);
    }
    return 0;
}

/* A hundred threads, one after the other. */
#include <pthread.h>
#include <stdlib.h>

static void *work(void *unused)
{
    free(malloc(333));
    return unused;
}

int main(void)
{
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
        pthread_join(thread, NULL);
    }
    return 0;
}

/* As many threads as its argument says, all at the same time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_barrier_t barrier;

static void *work(void *unused)
{
    void *block = malloc(333);
    pthread_barrier_wait(&barrier);
    free(block);
    return unused;
}

int main(int count, char **arguments)
{
    int n = atoi(arguments[1]);
    pthread_t threads[n];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_barrier_init(&barrier, NULL, n);
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], &small, work, NULL))
            return 1;
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("%d threads\n", n);
    return 0;
}

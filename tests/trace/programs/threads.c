/* Four threads pass blocks on: each frees what its neighbour allocated. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 20000, PLACES = 64 };

static _Atomic(void *) places[THREADS][PLACES];

static void *work(void *argument)
{
    long own = (long)argument, next = (own + 1) % THREADS;
    for (int i = 0; i < ROUNDS; i++) {
        free(atomic_exchange(&places[own][i % PLACES], malloc(16 + i % 200)));
        free(atomic_exchange(&places[next][i % PLACES], NULL));
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

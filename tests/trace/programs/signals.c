/* A handler allocates while the program does; some handlers never return. */
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

static volatile sig_atomic_t handled;
static volatile sig_atomic_t in_allocator = 1;
static sigjmp_buf start;

static void handle(int number)
{
    (void)number;
    handled++;
    if (in_allocator)
        return; /* glibc's malloc itself would not survive a second call */
    for (int i = 0; i < 100; i++)
        free(malloc(777));
    if (handled % 8 == 0)
        siglongjmp(start, 1);
}

int main(void)
{
    struct itimerval often = {{0, 200}, {0, 200}};
    signal(SIGALRM, handle);
    setitimer(ITIMER_REAL, &often, NULL);
    sigsetjmp(start, 1);
    while (handled < 200) {
        in_allocator = 1;
        free(malloc(88));
        in_allocator = 0;
        for (volatile int i = 0; i < 50; i++) {
        }
    }
    return 0;
}

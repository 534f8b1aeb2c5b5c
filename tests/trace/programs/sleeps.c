/* Thinks for 30 ms between two calls. */
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    void *block = malloc(2468);
    usleep(30000);
    free(block);
    return 0;
}

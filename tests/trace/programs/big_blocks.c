/* Blocks of 1 MiB of which different parts are written; the last two are never freed. */
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20 };

int main(void)
{
    char *freed = malloc(MIB), *grown = malloc(MIB), *kept = malloc(MIB), *cleared = calloc(1, MIB);
    memset(freed, 1, 300000);
    memset(grown, 1, 100000);
    grown = realloc(grown, 2 * MIB);
    memset(grown, 1, 500000);
    memset(kept, 1, 700000);
    free(freed);
    free(grown);
    return cleared[0];
}

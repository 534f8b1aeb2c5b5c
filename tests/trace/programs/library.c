/* A library that allocates while it is loaded and unloaded. */
#include <stdlib.h>

static void *block;

__attribute__((constructor)) static void load(void)
{
    block = malloc(1234);
}

__attribute__((destructor)) static void unload(void)
{
    free(block);
}

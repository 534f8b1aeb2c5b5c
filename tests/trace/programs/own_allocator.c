/* An allocator that maps each block, through functions that are taken too. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { HEADER = 64 };

void *malloc(size_t size)
{
    char *start = mmap(NULL, size + HEADER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    *(size_t *)start = size;
    return start + HEADER;
}

size_t malloc_usable_size(void *block)
{
    return block ? *(size_t *)((char *)block - HEADER) : 0;
}

void free(void *block)
{
    if (block)
        munmap((char *)block - HEADER, malloc_usable_size(block) + HEADER);
}

void *calloc(size_t n, size_t size)
{
    return malloc(n * size); /* by way of the dynamic linker, as the program's calls go */
}

void *realloc(void *block, size_t size)
{
    void *moved = malloc(size);
    size_t old = malloc_usable_size(block);
    if (moved && block)
        memcpy(moved, block, old < size ? old : size);
    free(block);
    return moved;
}

/* Makes the calls of a trace, which is compiled in, and tells what they leave.
 *
 * Prints three numbers: bytes live at the end, bytes resident before the first call and after the
 * last. The blocks that live at the end stay in a static table, as a real program's data would, so
 * a leak checker finds them reachable. Memory is read with plain system calls, which allocate
 * nothing.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct op {
    int call, object;
    long size, written, offset;
};

#include "ops.h"

char *blocks[N_OBJECTS];
static long sizes[N_OBJECTS];
static volatile char seen;

static long resident_bytes(void)
{
    char text[128] = "";
    int file = open("/proc/self/statm", O_RDONLY);
    if (file < 0 || read(file, text, sizeof text - 1) < 0)
        exit(1);
    close(file);
    return atol(strchr(text, ' ')) * sysconf(_SC_PAGESIZE);
}

static char *placed(const struct op *op)
{
    char *old = blocks[op->object];
    switch (op->call) {
    case OP_MALLOC:
        return malloc(op->size);
    case OP_CALLOC:
        return calloc(1, op->size);
    default:
        return realloc(old, op->size);
    }
}

static void run(const struct op *op)
{
    if (op->call == OP_FREE) {
        free(blocks[op->object]);
        blocks[op->object] = NULL;
        sizes[op->object] = 0;
    } else if (op->call == OP_TOUCH) {
        memset(blocks[op->object] + op->offset, 1, op->size);
    } else if (op->call == OP_READ) {
        for (long i = 0; i < op->size; i++)
            seen = blocks[op->object][op->offset + i];
    } else {
        blocks[op->object] = placed(op);
        sizes[op->object] = op->size;
        if (op->size > 0 && blocks[op->object] == NULL)
            exit(1);
        memset(blocks[op->object], 1, op->written);
    }
}

int main(void)
{
    long before = resident_bytes(), live = 0;
    for (unsigned long i = 0; i < sizeof ops / sizeof *ops; i++)
        run(&ops[i]);
    for (long i = 0; i < N_OBJECTS; i++)
        live += sizes[i];
    long after = resident_bytes();
    printf("%ld %ld %ld\n", live, before, after);
    return 0;
}

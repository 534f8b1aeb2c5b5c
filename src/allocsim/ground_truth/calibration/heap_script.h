/* Runs a script of malloc, calloc, free and writes on the C library that the program is linked with.
 *
 * The same script runs on the model, whose counts describe it (heap_scripts.py). `null` runs it
 * without an allocator: what the loop itself takes.
 */
#ifndef ALLOCSIM_CALIBRATION_HEAP_SCRIPT_H
#define ALLOCSIM_CALIBRATION_HEAP_SCRIPT_H

#include <fcntl.h>
#include <sys/stat.h>

#include "../program_writes.h"
#include "system_calls.h"

enum step_kind { STEP_MALLOC, STEP_CALLOC, STEP_FREE, STEP_WRITE, STEP_BEGIN, STEP_END };

struct step {
    int64_t size;
    int32_t slot;
    int32_t kind;
};

static struct {
    const struct step *steps;
    uint64_t n;
    void **blocks;
} script;

static void *allocate_nothing(size_t size) { return (void *)size; }
static void *allocate_zeros(size_t size) { return calloc(1, size); }
static void free_nothing(void *block) { __asm__ volatile("" : : "r"(block)); }
static void write_nothing(void *block, size_t size) { (void)block, (void)size; }
static void write_block(void *block, size_t size) { write_every_byte((uintptr_t)block, (int64_t)size); }

/* Called through these, the allocator and its null are reached alike, and no pair is left out. */
static void *(*volatile allocate)(size_t) = malloc;
static void *(*volatile allocate_zeroed)(size_t) = allocate_zeros;
static void (*volatile release)(void *) = free;
static void (*volatile fill)(void *, size_t) = write_block;

static void *populated(uint64_t bytes, int file) {
    int flags = MAP_PRIVATE | MAP_POPULATE | (file < 0 ? MAP_ANONYMOUS : 0);
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, file, 0);
    if (start == MAP_FAILED) fail("mmap of a script");
    return start;
}

static void load_script(const char *path) {
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about)) fail(path);
    script.steps = populated((uint64_t)about.st_size, file);
    script.n = (uint64_t)about.st_size / sizeof *script.steps;
    script.blocks = populated(script.n * sizeof *script.blocks, -1);
}

/* One repetition is one call. */
static void run_script(void) {
    void *(*get)(size_t) = allocate, *(*get_zeroed)(size_t) = allocate_zeroed;
    void (*give)(void *) = release, (*write)(void *, size_t) = fill;
    uint64_t calls = 0;
    for (uint64_t i = 0; i < script.n; i++) {
        const struct step *step = &script.steps[i];
        switch (step->kind) {
        case STEP_MALLOC: script.blocks[step->slot] = get((size_t)step->size), calls++; break;
        case STEP_CALLOC: script.blocks[step->slot] = get_zeroed((size_t)step->size), calls++; break;
        case STEP_WRITE: write(script.blocks[step->slot], (size_t)step->size); break;
        case STEP_FREE: give(script.blocks[step->slot]), calls++; break;
        case STEP_BEGIN: calls = 0, begin(); break;
        default: end(calls);
        }
    }
}

static void run_null_script(void) {
    allocate = allocate_zeroed = allocate_nothing;
    fill = write_nothing;
    release = free_nothing;
    run_script();
}

#endif

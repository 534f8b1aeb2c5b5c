/* Touches the program's, libraries' and stack's pages once, so that later faults are the heap's. */
#ifndef ALLOCSIM_PREFAULT_H
#define ALLOCSIM_PREFAULT_H

#include "files.h"

enum {
    STACK_BYTES_USED = 65536,
    /* Larger anonymous mappings are some allocator's reserve, not a library's variables. */
    LARGEST_VARIABLES_BYTES = 4 << 20,
};

static void touch_pages(uintptr_t start, uintptr_t end, int writable) {
    for (uintptr_t page = start; page < end; page += PAGE_BYTES) {
        if (writable)
            __asm__ volatile("lock orb $0, %0" : "+m"(*(char *)page)); /* writes what is there */
        else
            (void)*(volatile char *)page;
    }
}

static uintptr_t parse_hex(const char **text) {
    uintptr_t value = 0;
    for (;; ++*text) {
        char c = **text;
        if (c >= '0' && c <= '9') value = value * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f') value = value * 16 + (uintptr_t)(c - 'a' + 10);
        else return value;
    }
}

/* What stands after the n-th run of blanks of the line. */
static const char *field(const char *line, int n) {
    while (n--) {
        while (*line && *line != ' ' && *line != '\n') line++;
        while (*line == ' ') line++;
    }
    return line;
}

/* Whether a mapping, by its line of /proc/self/maps, is touched: files, variables, stack, vdso. */
static int wanted(const char *line, uintptr_t start, uintptr_t end) {
    const char *name = field(line, 5);
    if (*field(line, 1) != 'r' || start == FAR_ADDRESS) return 0;
    if (*name == '/') return 1;
    if (*name == '[') return (name[1] == 's') | (name[1] == 'v' && name[2] == 'd');
    return end - start <= LARGEST_VARIABLES_BYTES;
}

static void touch_mapping(const char *line) {
    const char *at = line;
    uintptr_t start = parse_hex(&at);
    at++;
    uintptr_t end = parse_hex(&at);
    if (wanted(line, start, end)) touch_pages(start, end, field(line, 1)[1] == 'w');
}

/* Pages of the calling thread's stack below its present frame. */
static __attribute__((noinline)) void prefault_stack(void) {
    char frames[STACK_BYTES_USED];
    touch_pages((uintptr_t)frames, (uintptr_t)frames + sizeof frames, 1);
}

/* Uses the batch as its buffer: to be called before the first op is read. */
static void prefault_program(void) {
    prefault_stack();
    char *text = (char *)far.batch;
    int maps = (int)checked(RAW(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY), "/proc/self/maps");
    text[read_all(maps, text, sizeof(struct op) * BATCH_OPS - 1)] = 0;
    RAW(SYS_close, maps);
    for (const char *line = text; *line; line++) {
        touch_mapping(line);
        while (*line != '\n') line++;
    }
}

#endif

/* The single values among the results: lines of name and value. */
#ifndef ALLOCSIM_SUMMARY_H
#define ALLOCSIM_SUMMARY_H

#include <stdlib.h>

#include "affinity.h"
#include "counters.h"
#include "files.h"

/* As <malloc.h> declares it since glibc 2.33; other libraries may lack it. */
struct mallinfo2_fields {
    size_t value[10];
};
extern struct mallinfo2_fields allocsim_mallinfo2(void) __asm__("mallinfo2") __attribute__((weak));
extern const char *gnu_get_libc_version(void) __attribute__((weak));

static char *append_line(char *end, const char *name, uint64_t value) {
    end = append_text(end, name);
    *end++ = ' ';
    end = append_number(end, value);
    *end++ = '\n';
    return end;
}

static char *append_mallinfo2(char *end) {
    static const char *const names[10] = {"arena", "ordblks", "smblks", "hblks", "hblkhd",
                                          "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"};
    if (!allocsim_mallinfo2) return end;
    struct mallinfo2_fields info = allocsim_mallinfo2();
    for (int i = 0; i < 10; i++) {
        end = append_text(end, "mallinfo2.");
        end = append_line(end, names[i], info.value[i]);
    }
    return end;
}

static char *append_summary(char *end, uint64_t ops, uint64_t start_brk) {
    end = append_line(end, "ops", ops);
    end = append_line(end, "cpu_ns", spent.cpu_ns);
    end = append_line(end, "wall_ns", spent.wall_ns);
    end = append_line(end, "minor_faults", spent.minor_faults);
    end = append_line(end, "major_faults", spent.major_faults);
    end = append_line(end, "start_brk", start_brk);
    end = append_line(end, "end_brk", (uint64_t)RAW(SYS_brk, 0));
    end = append_line(end, "cpus", pretended_cpus);
    end = append_line(end, "far_bytes", far.length);
    end = append_line(end, "malloc", (uint64_t)&malloc);
    end = append_text(end, "libc ");
    end = append_text(end, gnu_get_libc_version ? gnu_get_libc_version() : "unknown");
    *end++ = '\n';
    return append_mallinfo2(end);
}

static void write_summary(uint64_t ops, uint64_t start_brk) {
    int file = create_file("summary");
    char *end = append_summary(far.text, ops, start_brk);
    write_all(file, far.text, (uint64_t)(end - far.text));
}

#endif

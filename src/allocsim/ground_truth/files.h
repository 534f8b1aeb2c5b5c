/* Text and files by raw system calls: no stdio, no buffers outside far memory. */
#ifndef ALLOCSIM_FILES_H
#define ALLOCSIM_FILES_H

#include <fcntl.h>

#include "far_memory.h"

static int output_folder; /* descriptor of the folder that takes all results */

static void leave(int status) {
    for (;;) RAW(SYS_exit_group, status);
}

static uint64_t length_of(const char *text) {
    uint64_t n = 0;
    while (text[n]) n++;
    return n;
}

static int same_text(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static char *append_text(char *end, const char *text) {
    while (*text) *end++ = *text++;
    return end;
}

static char *append_number(char *end, uint64_t value) {
    char digits[20];
    int n = 0;
    do digits[n++] = (char)('0' + value % 10); while (value /= 10);
    while (n) *end++ = digits[--n];
    return end;
}

/* The number in decimal at the start of `text`. */
static uint64_t parse_number(const char *text) {
    uint64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

static void say(const char *text) { RAW(SYS_write, 2, text, length_of(text)); }

/* Exit statuses that replay.py tells apart. */
enum { STATUS_FAILED = 2, STATUS_NOT_PERMITTED = 3, STATUS_CRASHED = 4 };

/* End with "text: errno N" on standard error. */
static void fail(int status, const char *text, long error) {
    char number[24];
    *append_number(number, (uint64_t)(error < 0 ? -error : error)) = 0;
    say(text);
    say(": errno ");
    say(number);
    say("\n");
    leave(status);
}

static long checked(long result, const char *what) {
    if (is_error(result)) fail(STATUS_FAILED, what, result);
    return result;
}

static int create_file(const char *name) {
    return (int)checked(RAW(SYS_openat, output_folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0600), name);
}

static void write_all(int file, const void *data, uint64_t bytes) {
    const char *at = data;
    while (bytes) {
        long n = checked(RAW(SYS_write, file, at, bytes), "write of results");
        at += n;
        bytes -= (uint64_t)n;
    }
}

/* Read until `bytes` are there or the file ends; the number read. */
static uint64_t read_all(int file, void *data, uint64_t bytes) {
    uint64_t got = 0;
    while (got < bytes) {
        long n = checked(RAW(SYS_read, file, (char *)data + got, bytes - got), "read");
        if (n == 0) break;
        got += (uint64_t)n;
    }
    return got;
}

/* Copy a file of /proc into the results. */
static void save_copy(const char *path, const char *name) {
    int from = (int)checked(RAW(SYS_openat, AT_FDCWD, path, O_RDONLY), path);
    int to = create_file(name);
    uint64_t n;
    while ((n = read_all(from, far.text, TEXT_BYTES))) write_all(to, far.text, n);
    RAW(SYS_close, from);
    RAW(SYS_close, to);
}

#endif

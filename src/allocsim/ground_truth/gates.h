/* Words that threads sleep on: a gate lets one thread pass each time it is opened. */
#ifndef ALLOCSIM_GATES_H
#define ALLOCSIM_GATES_H

#include <linux/futex.h>

#include "far_memory.h"

static void open_gate(uint64_t gate) {
    __atomic_store_n(&far.gates[gate].open, 1, __ATOMIC_RELEASE);
    RAW(SYS_futex, &far.gates[gate].open, FUTEX_WAKE_PRIVATE, 1);
}

static void pass_gate(uint64_t gate) {
    int32_t *word = &far.gates[gate].open;
    while (!__atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE))
        RAW(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0);
}

#endif

// SPDX-License-Identifier: Apache-2.0
/* The state in which the first vCPU starts, as a boot loader leaves it. */
#pragma once

#include <stdint.h>

enum cpu_entry_mode {
    CPU_ENTRY_LONG,      /* 64-bit, paging on with LAYOUT_PAGE_TABLES; @argument in RSI
                            (Linux/x86 64-bit boot protocol) */
    CPU_ENTRY_PROTECTED, /* 32-bit, flat segments, paging off; @argument in EBX (PVH) */
    CPU_ENTRY_ARM64,     /* EL1, MMU off, interrupts masked; @argument in X0
                            (Linux: Documentation/arm64/booting) */
};

struct cpu_entry {
    enum cpu_entry_mode mode;
    uint64_t address;  /* where execution starts */
    uint64_t argument; /* the guest address of boot parameters, start info or device tree */
};

// SPDX-License-Identifier: Apache-2.0
/* Puts a kernel into guest RAM, as a boot loader would, and says how to enter it.
 *
 * Images are outside data: every field is checked before it is used, and a file that is not what
 * it should be is refused by a sentence that says what it is instead. Nothing here knows KVM. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boot/board.h"
#include "cpu/entry.h"
#include "mem/guest_mem.h"

struct boot_config {
    const char *kernel; /* path */
    const char *initrd; /* path, or NULL */
    const char *cmdline;
    const struct board *board; /* the machine that the kernel is told of */
};

/* Loads kernel and initrd and writes the boot parameters. Logs what is wrong with an image.
 * Returns 0 or -errno; guest RAM is then in no particular state. */
int boot_load(struct guest_mem *mem, const struct boot_config *in, struct cpu_entry *ret);

// SPDX-License-Identifier: Apache-2.0
/* Puts a kernel into guest RAM, as a boot loader would, and says how to enter it.
 *
 * Images are outside data: every field is checked before it is used, and a file that is not what
 * it should be is refused by a sentence that says what it is instead. Nothing here knows KVM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/board.h"
#include "boot/file_cache.h"
#include "cpu/entry.h"
#include "mem/guest_mem.h"

/* The files of a boot, open. A machine that is started anew boots from the same ones, whatever has
 * become of their names: moved, deleted, replaced. What is written into the files themselves is
 * booted, as they are neither locked nor copied. */
struct boot_files {
    const char *kernel, *initrd; /* paths, for messages; the caller's, who keeps them */
    int kernel_fd, initrd_fd;    /* owned; -1: none */
    int unpacked_fd;             /* the kernel as boot_files_unpack() found it; as the others */
};

/* Opens both (@initrd may be NULL), and logs what is wrong with one. Returns 0 or -errno. */
int boot_files_open(const char *kernel, const char *initrd, struct boot_files *ret);
/* Lets the guest's kernel be unpacked here, and kept in @cache, rather than in the guest at each
 * start. If that fails, or if there is nothing to unpack, the image is started as it is. */
void boot_files_unpack(struct boot_files *files, const struct file_cache *cache);
/* Closes those that are open, and makes them -1. */
void boot_files_close(struct boot_files *files);

struct boot_config {
    const struct boot_files *files;
    const char *cmdline;
    const struct board *board; /* the machine that the kernel is told of */
    bool has_fdt;              /* by a device tree, too, where that is not the only way */
    int fdt_fd;                /* a copy of the device tree is written to it; -1: no copy */
};

/* Whether kernels of this architecture are told of their machine by a device tree alone. */
extern const bool boot_needs_fdt;

/* Loads kernel and initrd and writes the boot parameters. Logs what is wrong with an image. Any
 * number of times for the same files. Returns 0 or -errno; guest RAM is then in no particular
 * state. */
int boot_load(struct guest_mem *mem, const struct boot_config *in, struct cpu_entry *ret);

// SPDX-License-Identifier: Apache-2.0
/* The guest's RAM, as the host sees it.
 *
 * The only module that turns a guest address into a host pointer.
 * Regions are added while the machine is built and never change after that, so lookups take no
 * lock. The guest may rewrite its RAM at any moment: copy a value out before you check it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpa_t; /* guest physical address, in bytes */
struct guest_mem;       /* opaque: guest_mem.c alone knows the layout */

/* Where the pages come from. Both are taken lazily: RAM that the guest never touches costs
 * nothing. */
enum guest_mem_backing {
    GUEST_MEM_PRIVATE, /* anonymous pages of this process; huge pages advised */
    GUEST_MEM_SHARED,  /* a memfd, which another process can map too */
};

struct guest_mem_region {
    gpa_t gpa;
    uint64_t size; /* bytes, whole host pages */
    uint8_t *host;
    int fd;             /* the memfd, or -1 */
    uint64_t fd_offset; /* where in it the region starts */
};

int guest_mem_create(enum guest_mem_backing backing, struct guest_mem **ret);
/* Unmaps all of it. NULL is fine. */
void guest_mem_destroy(struct guest_mem *mem);

/* Adds @size bytes of zeroed RAM at @gpa, both whole host pages.
 * Returns 0, -EINVAL if they are not or the range wraps around, -EEXIST if it overlaps a region,
 * -ENOSPC if there are too many regions, -errno if the host has no room for the mapping. */
int guest_mem_add(struct guest_mem *mem, gpa_t gpa, uint64_t size);

/* The regions in ascending order, for whoever maps them into a VM. */
size_t guest_mem_region_count(const struct guest_mem *mem);
const struct guest_mem_region *guest_mem_region(const struct guest_mem *mem, size_t index);

/* Where the last region ends; 0 if there is none. */
gpa_t guest_mem_end(const struct guest_mem *mem);

/* Finds @len bytes of guest RAM at @gpa.
 *
 * Returns a host pointer, or NULL if @len is 0 or the range is not inside one region. The memory
 * stays ours: do not free it, and do not keep the pointer past guest_mem_destroy(). Any thread may
 * call this. */
void *guest_mem_at(const struct guest_mem *mem, gpa_t gpa, uint64_t len);

/* Copy @len bytes out of or into guest RAM. Return 0, or -EFAULT if the range is not inside one
 * region. A length of 0 copies nothing and succeeds. */
int guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *buf, uint64_t len);
int guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *buf, uint64_t len);

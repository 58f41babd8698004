// SPDX-License-Identifier: Apache-2.0
/* The guest's RAM: a handful of mmap()ed regions, searched in order. */
#include "mem/guest_mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/fd.h"

enum { MAX_REGIONS = 8 };
/* A huge page that is larger is not worth it: a guest that touches a byte would take all of it. */
enum { HUGE_PAGE_MAX = 32 << 20 };

struct guest_mem {
    enum guest_mem_backing backing;
    int memfd;           /* of GUEST_MEM_SHARED, else -1 */
    uint64_t memfd_size; /* what the regions take of it so far */
    size_t count;
    struct guest_mem_region regions[MAX_REGIONS]; /* ascending */
};

int guest_mem_create(enum guest_mem_backing backing, struct guest_mem **ret)
{
    AUTO_FREE struct guest_mem *mem = calloc(1, sizeof(*mem));

    if (!mem)
        return -ENOMEM;
    mem->backing = backing;
    mem->memfd = -1;
    if (backing == GUEST_MEM_SHARED) {
        mem->memfd = memfd_create("guest-ram", MFD_CLOEXEC);
        if (mem->memfd < 0)
            return -errno;
    }
    *ret = take_pointer(mem);
    return 0;
}

void guest_mem_destroy(struct guest_mem *mem)
{
    if (!mem)
        return;
    for (size_t i = 0; i < mem->count; i++)
        (void)munmap(mem->regions[i].host, mem->regions[i].size);
    fd_close(&mem->memfd);
    free(mem);
}

static int check_range(const struct guest_mem *mem, gpa_t gpa, uint64_t size)
{
    uint64_t page_mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;

    if (size == 0 || (gpa & page_mask) || (size & page_mask) || gpa + size < gpa)
        return -EINVAL;
    for (size_t i = 0; i < mem->count; i++) {
        const struct guest_mem_region *region = &mem->regions[i];
        if (gpa < region->gpa + region->size && region->gpa < gpa + size)
            return -EEXIST;
    }
    return mem->count == MAX_REGIONS ? -ENOSPC : 0;
}

/* What a page of page-table entries, of 8 bytes each, stands for: 2 MiB where pages have 4 KiB, on
 * arm64 also 32 MiB for 16 KiB, or 512 MiB for 64 KiB. */
static uint64_t huge_page_size(void)
{
    const uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);

    return page_size * (page_size / sizeof(uint64_t));
}

/* Finds free address space for @size bytes that starts at a multiple of a huge page, which is also
 * where guest regions start: only if both do can KVM map the guest's huge pages as such. */
static void *reserve_aligned(uint64_t size)
{
    const uint64_t align = huge_page_size();
    uint8_t *space =
        mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return MAP_FAILED;

    uint64_t before = -(uintptr_t)space % align;
    if (before > 0)
        (void)munmap(space, before);
    (void)munmap(space + before + size, align - before);
    return space + before;
}

/* Maps the region's pages. MAP_NORESERVE: a guest is given more than it will ever touch. */
static int map_region(struct guest_mem *mem, struct guest_mem_region *region)
{
    int flags =
        MAP_FIXED | MAP_NORESERVE | (mem->memfd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);

    if (mem->memfd >= 0 && ftruncate(mem->memfd, (off_t)(mem->memfd_size + region->size)) < 0)
        return -errno;
    void *space = reserve_aligned(region->size);
    if (space == MAP_FAILED)
        return -errno;
    void *host = mmap(space, region->size, PROT_READ | PROT_WRITE, flags, mem->memfd,
                      (off_t)mem->memfd_size);
    if (host == MAP_FAILED) {
        int err = -errno;
        (void)munmap(space, region->size);
        return err;
    }
    /* Both are wishes that a kernel may not know. */
    if (huge_page_size() <= HUGE_PAGE_MAX)
        (void)madvise(host, region->size, MADV_HUGEPAGE);
    (void)madvise(host, region->size, MADV_DONTDUMP);
    region->host = host;
    return 0;
}

int guest_mem_add(struct guest_mem *mem, gpa_t gpa, uint64_t size)
{
    int err = check_range(mem, gpa, size);
    struct guest_mem_region region = {
        .gpa = gpa, .size = size, .fd = mem->memfd, .fd_offset = mem->memfd_size
    };

    if (!err)
        err = map_region(mem, &region);
    if (err)
        return err;

    size_t at = mem->count++;
    for (; at > 0 && mem->regions[at - 1].gpa > gpa; at--)
        mem->regions[at] = mem->regions[at - 1];
    mem->regions[at] = region;
    if (mem->memfd >= 0)
        mem->memfd_size += size;
    return 0;
}

size_t guest_mem_region_count(const struct guest_mem *mem)
{
    return mem->count;
}

gpa_t guest_mem_end(const struct guest_mem *mem)
{
    const struct guest_mem_region *last = mem->count ? &mem->regions[mem->count - 1] : NULL;

    return last ? last->gpa + last->size : 0;
}

const struct guest_mem_region *guest_mem_region(const struct guest_mem *mem, size_t index)
{
    return &mem->regions[index];
}

void *guest_mem_at(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
    for (size_t i = 0; i < mem->count; i++) {
        const struct guest_mem_region *region = &mem->regions[i];
        uint64_t offset = gpa - region->gpa;

        if (gpa >= region->gpa && offset < region->size)
            return len > 0 && len <= region->size - offset ? region->host + offset : NULL;
    }
    return NULL;
}

int guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *buf, uint64_t len)
{
    const void *host = guest_mem_at(mem, gpa, len);

    if (len > 0 && !host)
        return -EFAULT;
    if (len > 0)
        memcpy(buf, host, len);
    return 0;
}

int guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *buf, uint64_t len)
{
    void *host = guest_mem_at(mem, gpa, len);

    if (len > 0 && !host)
        return -EFAULT;
    if (len > 0)
        memcpy(host, buf, len);
    return 0;
}

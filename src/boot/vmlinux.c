// SPDX-License-Identifier: Apache-2.0
/* The kernel that a bzImage carries, loaded without the program that would unpack it in the guest.
 *
 * What was packed is an ELF file whose segments have physical addresses and, if the kernel can be
 * moved, tables behind it which tell where it has addresses of its own (Linux: arch/x86/tools/
 * relocs.c). As that program does (arch/x86/boot/compressed/{misc,kaslr}.c) we move it by a random
 * distance, in physical and in virtual memory each, and tell it that we did: then it places the
 * rest of its address space at random, too. The word `nokaslr` keeps it where it was linked to.
 * What that program does besides has no use here: memory that is encrypted, and page tables of five
 * levels, for more memory than a machine of ours has.
 *
 * What is in any way other than expected is not loaded, without a word: the guest then unpacks its
 * kernel itself, as ever. */
#include "image.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "mem/layout.h"

enum {
    SEGMENTS_MAX = 16,     /* Linux has five */
    TABLES_MAX = 16 << 20, /* bytes; Linux has about one MiB */
    PAGE_SIZE_4K = 4096,
};

/* Where the first 2 GiB of physical memory are in virtual memory, as far as it is linked, and how
 * much of that a kernel that can be moved uses. */
#define KERNEL_MAP UINT64_C(0xffffffff80000000)
#define KERNEL_MAP_SIZE (1 * GIB)

/* The tables are lists of virtual addresses, as 32 bits with a sign, each behind a 0. From Linux
 * 6.15 on there is none of the second kind. */
enum table { TABLE_64, TABLE_INVERSE_32, TABLE_32, TABLE_COUNT };

struct list {
    const int32_t *words;
    size_t count;
};

struct vmlinux {
    int fd;
    Elf64_Ehdr header;
    Elf64_Phdr segments[SEGMENTS_MAX]; /* those that are loaded, in ascending order */
    unsigned segment_count;
    struct boot_range linked; /* all of them */
    int32_t *words;           /* of all tables; NULL: it cannot be moved */
    struct list tables[TABLE_COUNT];
};

/* --- what is in the file --- */

static bool read_at(const struct vmlinux *kernel, uint64_t offset, void *buf, size_t len)
{
    return offset <= INT64_MAX && fd_pread_full(kernel->fd, buf, len, (off_t)offset) == 0;
}

static bool read_header(struct vmlinux *kernel)
{
    const Elf64_Ehdr *header = &kernel->header;

    return read_at(kernel, 0, &kernel->header, sizeof(kernel->header)) &&
           memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
           header->e_machine == EM_X86_64 && header->e_phnum <= SEGMENTS_MAX &&
           header->e_phentsize == sizeof(Elf64_Phdr) &&
           read_at(kernel, header->e_phoff, kernel->segments,
                   header->e_phnum * sizeof(kernel->segments[0]));
}

/* Whether the segments follow each other, in the file before the section headers, and within @room
 * bytes of memory. */
static bool sort_out_segments(struct vmlinux *kernel, uint64_t room)
{
    const uint64_t headers = kernel->header.e_shoff;
    struct boot_range *linked = &kernel->linked;

    for (unsigned i = 0; i < kernel->header.e_phnum; i++) {
        const Elf64_Phdr segment = kernel->segments[i];
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0)
            continue;
        if (kernel->segment_count == 0)
            linked->start = segment.p_paddr;
        if (segment.p_paddr < linked->start + linked->size || segment.p_memsz > room ||
            segment.p_paddr - linked->start > room - segment.p_memsz ||
            segment.p_filesz > segment.p_memsz || segment.p_filesz > headers ||
            segment.p_offset > headers - segment.p_filesz)
            return false;
        linked->size = segment.p_paddr - linked->start + segment.p_memsz;
        kernel->segments[kernel->segment_count++] = segment;
    }
    return kernel->header.e_entry - linked->start < linked->size;
}

/* Whether the words are tables, which are then in @kernel. */
static bool sort_out_tables(struct vmlinux *kernel, size_t count)
{
    struct list found[TABLE_COUNT]; /* from the end */
    size_t lists = 0;

    while (count > 0) {
        size_t end = count;
        while (count > 0 && kernel->words[count - 1] != 0)
            count--;
        if (count == 0 || lists == TABLE_COUNT)
            return false; /* something without a 0 in front */
        found[lists++] = (struct list){ kernel->words + count, end - count };
        count--;
    }
    if (lists < 2)
        return false;
    kernel->tables[TABLE_32] = found[0];
    kernel->tables[TABLE_64] = found[lists - 1];
    if (lists == TABLE_COUNT)
        kernel->tables[TABLE_INVERSE_32] = found[1];
    return true;
}

/* Whether the tables could be read, or there are none: they begin where the ELF file ends, with its
 * section headers. */
static bool read_tables(struct vmlinux *kernel)
{
    const Elf64_Ehdr *header = &kernel->header;
    uint64_t begin = header->e_shoff + (uint64_t)header->e_shnum * header->e_shentsize;
    struct stat st;

    if (fstat(kernel->fd, &st) || header->e_shoff > INT64_MAX || begin > (uint64_t)st.st_size)
        return false;
    uint64_t size = (uint64_t)st.st_size - begin;
    if (size > TABLES_MAX || size % sizeof(*kernel->words))
        return false;
    if (size == 0)
        return true;
    kernel->words = malloc(size);
    return kernel->words && read_at(kernel, begin, kernel->words, size) &&
           sort_out_tables(kernel, size / sizeof(*kernel->words));
}

/* --- where it goes --- */

/* How far it is from where it was linked to, in both kinds of memory; bytes. */
struct distance {
    bool is_random;
    uint64_t physical, virtual;
};

/* Whether @word is one of the kernel command line. */
static bool has_word(const char *cmdline, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = cmdline; *at; at += strcspn(at, " \n")) {
        at += strspn(at, " \n");
        if (strcspn(at, " \n") == len && !memcmp(at, word, len))
            return true;
    }
    return false;
}

/* A random multiple of @align from 0 to @max. */
static bool choose(uint64_t align, uint64_t max, uint64_t *ret)
{
    uint64_t random;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return false;
    *ret = random % (max / align + 1) * align;
    return true;
}

/* The initrd goes as high as possible: below it there must be room. */
static uint64_t room_above(const struct boot_job *job, const struct setup_header *header,
                           const struct boot_range *span)
{
    const gpa_t ceiling = (gpa_t)header->initrd_addr_max + 1;
    const gpa_t low_end = memory_low_end(job->board->ram_size);
    const gpa_t end = ceiling < low_end ? ceiling : low_end;
    const uint64_t taken = span->start + span->size + job->initrd.size + PAGE_SIZE_4K;

    return taken < end ? end - taken : 0;
}

static bool choose_distance(const struct boot_job *job, const struct vmlinux *kernel,
                            const struct boot_range *span, const struct setup_header *header,
                            struct distance *ret)
{
    const uint64_t align = header->kernel_alignment;
    const uint64_t taken = kernel->linked.start + span->size;

    *ret = (struct distance){ 0 };
    if (!kernel->words || !header->relocatable_kernel || has_word(job->cmdline, "nokaslr"))
        return true;
    ret->is_random = true;
    return taken <= KERNEL_MAP_SIZE &&
           choose(align, room_above(job, header, span), &ret->physical) &&
           choose(align, KERNEL_MAP_SIZE - taken, &ret->virtual);
}

/* --- moving --- */

static void add_64(uint8_t *place, uint64_t distance)
{
    uint64_t value;

    memcpy(&value, place, sizeof(value));
    value += distance;
    memcpy(place, &value, sizeof(value));
}

static void add_32(uint8_t *place, uint64_t distance)
{
    uint32_t value;

    memcpy(&value, place, sizeof(value));
    value += (uint32_t)distance;
    memcpy(place, &value, sizeof(value));
}

/* Adds @distance to what is at the list's addresses, as long as they are the kernel's. */
static bool move_words(const struct vmlinux *kernel, uint8_t *memory, const struct list *list,
                       void (*add)(uint8_t *place, uint64_t distance), uint64_t distance)
{
    const uint64_t start = KERNEL_MAP + kernel->linked.start;
    const uint64_t last = kernel->linked.size - sizeof(uint64_t);

    for (size_t i = 0; i < list->count; i++) {
        const uint64_t offset = (uint64_t)(int64_t)list->words[i] - start;
        if (offset > last)
            return false;
        add(memory + offset, distance);
    }
    return true;
}

static bool move(const struct vmlinux *kernel, uint8_t *memory, uint64_t distance)
{
    const struct list *tables = kernel->tables;

    return kernel->linked.size >= sizeof(uint64_t) &&
           move_words(kernel, memory, &tables[TABLE_64], add_64, distance) &&
           move_words(kernel, memory, &tables[TABLE_INVERSE_32], add_32, -distance) &&
           move_words(kernel, memory, &tables[TABLE_32], add_32, distance);
}

/* Holes of the file are left out: the memory is zero. Linux's segments have its bss in them. */
static bool load_segment(const struct vmlinux *kernel, const Elf64_Phdr *segment, uint8_t *memory)
{
    const uint64_t offset = segment->p_offset, size = segment->p_filesz;
    bool is_read = offset <= INT64_MAX && size <= INT64_MAX - offset;

    for (uint64_t at = offset; is_read && at < offset + size;) {
        off_t data = lseek(kernel->fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* there is nothing but a hole any more */
        off_t hole = lseek(kernel->fd, data, SEEK_HOLE);
        at = (uint64_t)hole < offset + size ? (uint64_t)hole : offset + size;
        is_read = data >= 0 && hole > data &&
                  ((uint64_t)data >= at ||
                   read_at(kernel, (uint64_t)data, memory + ((uint64_t)data - offset),
                           at - (uint64_t)data));
    }
    return is_read;
}

static bool load_segments(const struct vmlinux *kernel, uint8_t *memory)
{
    bool is_read = true;

    for (unsigned i = 0; is_read && i < kernel->segment_count; i++) {
        const Elf64_Phdr *segment = &kernel->segments[i];
        is_read = load_segment(kernel, segment, memory + (segment->p_paddr - kernel->linked.start));
    }
    return is_read;
}

static bool load(const struct boot_job *job, const struct vmlinux *kernel, struct boot_range *span,
                 struct setup_header *header, gpa_t *entry)
{
    struct distance distance;
    const struct boot_range *linked = &kernel->linked;

    if (linked->start != span->start || !choose_distance(job, kernel, span, header, &distance))
        return false;
    uint8_t *memory = guest_mem_at(job->mem, linked->start + distance.physical, linked->size);
    if (!memory || !load_segments(kernel, memory))
        return false;
    if (distance.is_random) {
        if (!move(kernel, memory, distance.virtual))
            return false;
        header->loadflags |= KASLR_FLAG;
    }
    span->start += distance.physical;
    *entry = kernel->header.e_entry + distance.physical;
    return true;
}

bool vmlinux_load(const struct boot_job *job, struct boot_range *span, struct setup_header *header,
                  gpa_t *entry)
{
    struct vmlinux kernel = { .fd = job->unpacked_fd };
    bool is_loaded = read_header(&kernel) && sort_out_segments(&kernel, span->size) &&
                     read_tables(&kernel) && load(job, &kernel, span, header, entry);

    free(kernel.words);
    return is_loaded;
}

// SPDX-License-Identifier: Apache-2.0
/* What the loaders share: the files of one boot, and the steps that every kind of kernel needs.
 *
 * A loader knows one image format. It checks the image, reads it straight into guest RAM (there
 * is never a copy of it on the heap), has the initrd, the command line and the memory map put
 * beside it, and says where the first CPU starts. All functions here log what is wrong, in the
 * user's words, and return 0 or -errno. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot/boot.h"
#include "cpu/entry.h"
#include "mem/guest_mem.h"

/* Enough for every header that identifies an image. */
enum { BOOT_HEAD_SIZE = 1024 };

/* What Linux takes when no header says so: COMMAND_LINE_SIZE without its NUL, and on x86 the
 * highest address that its setup header has always named for an initrd. */
enum { BOOT_CMDLINE_MAX_DEFAULT = 2047, BOOT_INITRD_MAX_DEFAULT = 0x7fffffff };

/* A regular file that the user named, open and not empty. */
struct boot_file {
    const char *role;             /* "kernel" or "initrd", for messages */
    const char *path;             /* likewise */
    int fd;                       /* -1: there is none */
    uint64_t size;                /* bytes, as it was when looked at */
    uint8_t head[BOOT_HEAD_SIZE]; /* how it starts; zeroes behind its end */
};

/* One boot. */
struct boot_job {
    struct guest_mem *mem;
    const char *cmdline;
    const struct board *board;
    bool has_fdt; /* as in struct boot_config, as the next */
    int fdt_fd;
    struct boot_file kernel, initrd;
    int unpacked_fd; /* as in struct boot_files */
};

/* Bytes of guest RAM; size 0: none. */
struct boot_range {
    gpa_t start;
    uint64_t size;
};

struct boot_loader {
    const char *name;
    bool (*recognises)(const struct boot_file *file); /* by file->head and file->size */
    int (*load)(const struct boot_job *job, struct cpu_entry *ret);
    /* Unpacks what the image has packed, without a word, to a file that load() can do with; NULL:
     * load() does that itself. Returns 0 or -errno. */
    int (*unpack)(const struct boot_file *file, int *ret);
};

extern const struct boot_loader arm64_image_loader;
extern const struct boot_loader bzimage_loader;
extern const struct boot_loader elf_loader;

/* How a file starts that is no kernel for this machine. */
struct foreign_signature {
    unsigned offset;
    unsigned len;
    const char *bytes;
    const char *what; /* it is, and the way out */
};

/* What differs by architecture, in loaders_<architecture>.c: every kind of kernel that can be
 * booted, up to a NULL; what else is told from others, before what every architecture tells, up to
 * one of no length; and which files can be booted. */
extern const struct boot_loader *const boot_loaders[];
extern const struct foreign_signature boot_foreign_signatures[];
extern const char boot_bootable_files[];

/* Opens a file for @role, and looks at it. The strings must outlive *@ret. */
int boot_file_open(const char *role, const char *path, struct boot_file *ret);
/* The same for a descriptor that is open, and stays the caller's. */
int boot_file_examine(const char *role, const char *path, int fd, struct boot_file *ret);
void boot_file_close(struct boot_file *file);

/* Reads @len bytes at @offset; a file that ends before that is called cut off. */
int boot_file_read(const struct boot_file *file, uint64_t offset, void *buf, size_t len);
/* Reads @len bytes at @offset into guest RAM. */
int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t len,
                   const struct boot_job *job, gpa_t gpa);

/* Says why @file cannot be used. Returns -ENOEXEC. */
int boot_refuse(const struct boot_file *file, const char *why);

/* Refuses a kernel that no loader recognises, by what it looks like. Returns -ENOEXEC. */
int foreign_refuse(const struct boot_file *kernel);

/* Where an initrd may lie. */
struct initrd_limits {
    gpa_t floor;            /* the kernel's end */
    gpa_t end;              /* of the RAM that the kernel lies in */
    gpa_t ceiling;          /* of what the kernel can reach of it, were there more; exclusive */
    struct boot_range next; /* if there is no room; size 0: nothing */
};

/* Places the initrd as high as @limits and RAM allow, and loads it. No initrd: an empty range. */
int initrd_load(const struct boot_job *job, const struct initrd_limits *limits,
                struct boot_range *ret);

/* Checks the command line's length; @max: bytes that the kernel takes, without NUL. A kernel cuts a
 * longer one off without a word. */
int cmdline_check(const struct boot_job *job, uint64_t max);

/* Writes the device tree to @gpa, where there is room for @room bytes, and a copy for whoever wants
 * one. Gives its length in *@ret. */
int boot_write_fdt(const struct boot_job *job, const struct boot_range *initrd, gpa_t gpa,
                   size_t room, size_t *ret);

/* --- of a PC --- */

/* Checks that the kernel can have @span, which must lie in RAM between 1 MiB and the 32-bit
 * hole: there it meets nothing of ours. */
int kernel_check_span(const struct boot_job *job, const struct boot_range *span);

/* Checks the command line and writes it to LAYOUT_CMDLINE. */
int cmdline_write(const struct boot_job *job, uint64_t max);

/* The memory map, in ascending order. The types are those of e820 and of PVH. */
enum memory_type { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3 };
struct memory_range {
    gpa_t start;
    uint64_t size;
    enum memory_type type;
};
enum { MEMORY_MAP_MAX = 8 };
size_t memory_map_fill(uint64_t ram_size, struct memory_range map[MEMORY_MAP_MAX]);
/* Where RAM below the 32-bit hole ends. */
gpa_t memory_low_end(uint64_t ram_size);
/* What is above the hole. */
struct boot_range memory_high(uint64_t ram_size);

struct setup_header;
/* Loads the kernel that was packed in a bzImage, from @job's unpacked_fd. It gets @span or, if it
 * can be moved, another place of that size, which is then in *@span, and told so in @header; the
 * initrd still has room above. Returns whether all this was possible: if not, the image is to be
 * loaded as it is. */
bool vmlinux_load(const struct boot_job *job, struct boot_range *span, struct setup_header *header,
                  gpa_t *entry);
/* Writes Linux's zero page with a copy of @header, of which the loader's fields are filled in, and
 * the device tree, if there is to be one. */
int zero_page_write(const struct boot_job *job, const struct setup_header *header,
                    const struct boot_range *initrd);
/* Writes the start info of the PVH entry. */
int pvh_write(const struct boot_job *job, const struct boot_range *initrd);

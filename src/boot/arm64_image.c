// SPDX-License-Identifier: Apache-2.0
/* arm64's Image (Linux: Documentation/arch/arm64/booting.rst).
 *
 * From the start of RAM up there are the kernel with what its header asks for behind it, the device
 * tree in 2 MiB of its own, and at the end of RAM the initrd. */
#include "image.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "boot/fdt.h"
#include "host/log.h"
#include "mem/layout.h"

enum { HEADER_MAGIC = 0x644d5241 }; /* "ARM\x64" */
enum { FLAG_BIG_ENDIAN = 1 };
#define KERNEL_ALIGN (2 * MIB)
#define FDT_PLACE_ALIGN (2 * MIB) /* no kernel has to map more than one block of it */
#define INITRD_WINDOW_ALIGN GIB
#define INITRD_WINDOW_SIZE (32 * GIB)

struct image_header {
    uint32_t code[2];
    uint64_t text_offset;
    uint64_t image_size;
    uint64_t flags;
    uint64_t reserved[3];
    uint32_t magic;
    uint32_t pe_offset;
};
static_assert(sizeof(struct image_header) == 64, "as in booting.rst");

struct placement {
    struct boot_range kernel;
    gpa_t fdt;
};

static gpa_t align_up(gpa_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

static struct image_header header_of(const struct boot_file *file)
{
    struct image_header header;

    memcpy(&header, file->head, sizeof(header));
    return header;
}

static bool arm64_image_recognises(const struct boot_file *file)
{
    return header_of(file).magic == HEADER_MAGIC;
}

static int refuse(const struct boot_file *file, const char *why)
{
    log_error("kernel '%s': %s", file->path, why);
    return -ENOEXEC;
}

static int check_header(const struct boot_file *file, const struct image_header *header)
{
    if (header->image_size == 0)
        return refuse(file, "too old: its header does not say how much memory it needs (that of "
                            "Linux 3.17 or newer does)");
    if (header->flags & FLAG_BIG_ENDIAN)
        return refuse(file, "a big-endian kernel; take a little-endian one");
    return 0;
}

static int refuse_small_ram(const struct boot_job *job, uint64_t needed)
{
    log_error(
        "kernel '%s': needs %ju MiB of RAM to start, the guest has %ju MiB; give it more with "
        "--memory",
        job->kernel.path, (uintmax_t)((needed + MIB - 1) / MIB),
        (uintmax_t)(job->board->ram_size / MIB));
    return -ENOMEM;
}

/* @size: of the image without what the kernel adds to it. */
static int choose_places(const struct boot_job *job, const struct image_header *header,
                         uint64_t size, struct placement *ret)
{
    const struct guest_mem_region *ram = guest_mem_region(job->mem, 0);
    const uint64_t max = 1 * GIB * GIB; /* so that sums of two do not wrap around */
    struct placement places;

    if (header->image_size > size)
        size = header->image_size;
    if (header->text_offset > max || size > max)
        return refuse(&job->kernel, "broken: its header asks for more memory than there can be");
    places.kernel.start = align_up(ram->gpa, KERNEL_ALIGN) + header->text_offset;
    places.kernel.size = size;
    places.fdt = align_up(places.kernel.start + size, FDT_PLACE_ALIGN);
    if (places.fdt + FDT_SIZE_MAX > ram->gpa + ram->size)
        return refuse_small_ram(job, places.fdt + FDT_SIZE_MAX - ram->gpa);
    *ret = places;
    return 0;
}

static int write_fdt(const struct boot_job *job, gpa_t gpa, const struct boot_range *initrd)
{
    const struct fdt_params params = {
        .board = job->board,
        .mem = job->mem,
        .cmdline = job->cmdline,
        .initrd_start = initrd->start,
        .initrd_size = initrd->size,
    };
    void *place = guest_mem_at(job->mem, gpa, FDT_SIZE_MAX);
    int len = place ? fdt_build(&params, place, FDT_SIZE_MAX) : -EFAULT;

    return len < 0 ? log_errno(len, "device tree for %u CPUs", job->board->cpu_count) : 0;
}

static int load_parts(const struct boot_job *job, const struct placement *places)
{
    const struct initrd_limits limits = {
        .floor = places->fdt + FDT_SIZE_MAX,
        .ceiling = (places->kernel.start & ~(INITRD_WINDOW_ALIGN - 1)) + INITRD_WINDOW_SIZE,
    };
    struct boot_range initrd;
    int err = cmdline_check(job, BOOT_CMDLINE_MAX_DEFAULT);

    if (!err)
        err = boot_file_load(&job->kernel, 0, job->kernel.size, job, places->kernel.start);
    if (!err)
        err = initrd_load(job, &limits, &initrd);
    return err ? err : write_fdt(job, places->fdt, &initrd);
}

static int arm64_image_load(const struct boot_job *job, struct cpu_entry *ret)
{
    const struct image_header header = header_of(&job->kernel);
    struct placement places;
    int err = check_header(&job->kernel, &header);

    if (!err)
        err = choose_places(job, &header, job->kernel.size, &places);
    if (!err)
        err = load_parts(job, &places);
    if (err)
        return err;
    *ret = (struct cpu_entry){
        .mode = CPU_ENTRY_ARM64,
        .address = places.kernel.start,
        .argument = places.fdt,
    };
    return 0;
}

const struct boot_loader arm64_image_loader = { "arm64 Image", arm64_image_recognises,
                                                arm64_image_load };

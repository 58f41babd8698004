// SPDX-License-Identifier: Apache-2.0
/* arm64's Image (Linux: Documentation/arch/arm64/booting.rst), which has no code to unpack itself:
 * as it is, compressed, or as an EFI zboot image, an EFI program with a compressed Image inside
 * (Linux: drivers/firmware/efi/libstub/zboot-header.S).
 *
 * A compressed one is unpacked to where it most probably belongs; what its header says is known
 * only then.
 *
 * From the start of RAM up there are the kernel with what its header asks for behind it, the device
 * tree in 2 MiB of its own, and at the end of RAM the initrd. */
#include "image.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "boot/fdt.h"
#include "boot/unpack.h"
#include "host/log.h"
#include "mem/layout.h"

enum { HEADER_MAGIC = 0x644d5241 }; /* "ARM\x64" */
enum { FLAG_BIG_ENDIAN = 1, FLAG_PAGES_SHIFT = 1 };
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

/* How an EFI zboot image begins. */
struct zboot_header {
    char mz[4];
    char magic[4]; /* "zimg" */
    uint32_t payload_offset;
    uint32_t payload_size;
    uint32_t reserved[2];
    char compression[32]; /* its name */
};
static_assert(offsetof(struct zboot_header, compression) == 24, "as in zboot-header.S");

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

static bool is_plain(const struct boot_file *file)
{
    return header_of(file).magic == HEADER_MAGIC;
}

static bool is_zboot(const struct boot_file *file)
{
    return memcmp(file->head, "MZ", 2) == 0 && memcmp(file->head + 4, "zimg", 4) == 0;
}

static bool arm64_image_recognises(const struct boot_file *file)
{
    enum unpack_format format;

    return is_plain(file) || is_zboot(file) || unpack_recognise(file->head, &format);
}

static int refuse_cut_off(const struct boot_file *file)
{
    log_error("kernel '%s': cut off: it has %ju bytes, and more belong to it; get it anew",
              file->path, (uintmax_t)file->size);
    return -ENOEXEC;
}

/* A kernel finds by itself that the CPU does not have its pages, and then stops without a word. */
static int check_pages(const struct boot_job *job, uint64_t flags)
{
    static const unsigned sizes[] = { 0, 4 << 10, 16 << 10, 64 << 10 };
    const unsigned size = sizes[flags >> FLAG_PAGES_SHIFT & 3];
    const uint64_t offered = job->board->page_sizes;

    if (!size || !offered || offered & size)
        return 0;
    log_error("kernel '%s': built for pages of %u KiB, which this host's CPU does not have; take "
              "one with pages of %u KiB",
              job->kernel.path, size >> 10, (unsigned)(offered & -offered) >> 10);
    return -ENOEXEC;
}

static int check_header(const struct boot_job *job, const struct image_header *header)
{
    const struct boot_file *file = &job->kernel;

    if (header->image_size == 0)
        return boot_refuse(file,
                           "too old: its header does not say how much memory it needs (that of "
                           "Linux 3.17 or newer does)");
    if (header->flags & FLAG_BIG_ENDIAN)
        return boot_refuse(file, "a big-endian kernel; take a little-endian one");
    return check_pages(job, header->flags);
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
    const struct board *board = job->board;
    const uint64_t max = 1 * GIB * GIB; /* so that sums of two do not wrap around */
    struct placement places;

    if (header->image_size > size)
        size = header->image_size;
    if (header->text_offset > max || size > max)
        return boot_refuse(&job->kernel,
                           "broken: its header asks for more memory than there can be");
    places.kernel.start = align_up(board->ram_base, KERNEL_ALIGN) + header->text_offset;
    places.kernel.size = size;
    places.fdt = align_up(places.kernel.start + size, FDT_PLACE_ALIGN);
    if (places.fdt + FDT_SIZE_MAX > board->ram_base + board->ram_size)
        return refuse_small_ram(job, places.fdt + FDT_SIZE_MAX - board->ram_base);
    *ret = places;
    return 0;
}

/* --- the kernel --- */

static int load_plain(const struct boot_job *job, struct placement *places)
{
    const struct image_header header = header_of(&job->kernel);
    int err = check_header(job, &header);

    if (!err)
        err = choose_places(job, &header, job->kernel.size, places);
    if (err)
        return err;
    return boot_file_load(&job->kernel, 0, job->kernel.size, job, places->kernel.start);
}

/* The format is told by the payload itself; its name in the header is for firmware and for us to
 * say which one is not known. */
static int find_zboot_payload(const struct boot_file *file, enum unpack_format *format,
                              struct unpack_input *ret)
{
    struct zboot_header header;
    uint8_t magic[4];

    memcpy(&header, file->head, sizeof(header));
    header.compression[sizeof(header.compression) - 1] = '\0';
    if (header.payload_offset > file->size ||
        header.payload_size > file->size - header.payload_offset ||
        header.payload_size < sizeof(magic))
        return refuse_cut_off(file);
    int err = boot_file_read(file, header.payload_offset, magic, sizeof(magic));
    if (err)
        return err;
    if (!unpack_recognise(magic, format)) {
        log_error("kernel '%s': an EFI zboot image compressed with '%s', and only gzip, xz, "
                  "zstd and lz4 can be unpacked; take the Image it was made from",
                  file->path, header.compression);
        return -ENOEXEC;
    }
    *ret = (struct unpack_input){ file->fd, header.payload_offset, header.payload_size };
    return 0;
}

static int find_packed(const struct boot_file *file, enum unpack_format *format,
                       struct unpack_input *ret)
{
    if (is_zboot(file))
        return find_zboot_payload(file, format, ret);
    *ret = (struct unpack_input){ file->fd, 0, file->size };
    return unpack_recognise(file->head, format) ? 0 : -ENOEXEC;
}

static int refuse_unpacking(const struct boot_job *job, int err, uint64_t capacity)
{
    const char *path = job->kernel.path;

    switch (err) {
    case -EFBIG:
        if (capacity > UNPACK_MAX)
            return boot_refuse(&job->kernel, "unpacks to more than 1 GiB, so it is no kernel");
        log_error("kernel '%s': unpacks to more than the guest's memory, %ju MiB; give it more "
                  "with --memory",
                  path, (uintmax_t)(job->board->ram_size / MIB));
        return -ENOMEM;
    case -ENODATA:
        return refuse_cut_off(&job->kernel);
    case -EBADMSG:
        return boot_refuse(&job->kernel, "damaged: it cannot be unpacked; get it anew");
    default:
        return log_errno(err, "kernel '%s': unpack", path);
    }
}

static int unpack_kernel(const struct boot_job *job, void *start, uint64_t capacity, size_t *ret)
{
    struct unpack_input input;
    enum unpack_format format;
    int err = find_packed(&job->kernel, &format, &input);

    if (err)
        return err;
    err = unpack(format, &input, start, capacity, ret);
    return err ? refuse_unpacking(job, err, capacity) : 0;
}

static int load_packed(const struct boot_job *job, struct placement *places)
{
    const gpa_t ram_base = job->board->ram_base, ram_end = ram_base + job->board->ram_size;
    const gpa_t start = align_up(ram_base, KERNEL_ALIGN);
    struct image_header header = { 0 };
    size_t size;

    uint8_t *host = start < ram_end ? guest_mem_at(job->mem, start, ram_end - start) : NULL;
    if (!host)
        return refuse_small_ram(job, start + KERNEL_ALIGN - ram_base);
    int err = unpack_kernel(job, host, ram_end - start, &size);
    if (err)
        return err;
    if (size >= sizeof(header))
        memcpy(&header, host, sizeof(header));
    if (header.magic != HEADER_MAGIC)
        return boot_refuse(&job->kernel, "compressed, and what is inside is no arm64 Image");
    err = check_header(job, &header);
    if (!err)
        err = choose_places(job, &header, size, places);
    if (!err && places->kernel.start != start)
        memmove(host + (places->kernel.start - start), host, size);
    return err;
}

/* --- all of it --- */

static int load_rest(const struct boot_job *job, const struct placement *places)
{
    const struct initrd_limits limits = {
        .floor = places->fdt + FDT_SIZE_MAX,
        .end = job->board->ram_base + job->board->ram_size,
        .ceiling = (places->kernel.start & ~(INITRD_WINDOW_ALIGN - 1)) + INITRD_WINDOW_SIZE,
    };
    struct boot_range initrd;
    size_t len;
    int err = initrd_load(job, &limits, &initrd);

    return err ? err : boot_write_fdt(job, &initrd, places->fdt, FDT_SIZE_MAX, &len);
}

static int arm64_image_load(const struct boot_job *job, struct cpu_entry *ret)
{
    struct placement places = { 0 };
    int err = cmdline_check(job, BOOT_CMDLINE_MAX_DEFAULT);

    if (!err)
        err = is_plain(&job->kernel) ? load_plain(job, &places) : load_packed(job, &places);
    if (!err)
        err = load_rest(job, &places);
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

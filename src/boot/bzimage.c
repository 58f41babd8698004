// SPDX-License-Identifier: Apache-2.0
/* bzImage, entered at its 64-bit entry point (Documentation/arch/x86/boot.rst).
 *
 * The file is a boot sector, real-mode code that we have no use for, and a 64-bit program which
 * unpacks the kernel in place. That program goes to the address that the header prefers: from a
 * lower one it would move itself there anyway. While it unpacks it needs init_size bytes.
 *
 * A kernel that was unpacked before is loaded without that program (vmlinux.c). */
#include "image.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/unpack.h"
#include "host/fd.h"
#include "host/log.h"
#include "mem/layout.h"

enum {
    HEADER_OFFSET = 0x1f1, /* of struct setup_header in the file */
    HEADER_JUMP_END =
        0x202, /* what the short jump at 0x200 counts from: it leads behind the header */
    BOOT_FLAG = 0xaa55,
    HEADER_MAGIC = 0x53726448, /* "HdrS" */
    VERSION_MIN = 0x20c,       /* the first with xloadflags */
    SECTOR_SIZE = 512,
    SETUP_SECTORS_DEFAULT = 4, /* what 0 stands for */
    PARAGRAPH_SIZE = 16,
    ENTRY_64_OFFSET = 0x200,
};

struct bzimage {
    struct setup_header header;
    uint64_t code_offset, code_size; /* of the 64-bit program in the file */
    struct boot_range span;          /* of guest RAM that it occupies while it unpacks */
    gpa_t entry;
};

static bool bzimage_recognises(const struct boot_file *file)
{
    struct setup_header header;

    memcpy(&header, file->head + HEADER_OFFSET, sizeof(header));
    return header.boot_flag == BOOT_FLAG && header.header == HEADER_MAGIC;
}

/* Takes over as much of the header as the image has. */
static int read_header(const struct boot_file *file, struct setup_header *ret)
{
    struct setup_header header = { 0 };
    size_t len = HEADER_JUMP_END + file->head[HEADER_JUMP_END - 1] - HEADER_OFFSET;

    if (len > sizeof(header))
        len = sizeof(header);
    if (len > offsetof(struct setup_header, version) + sizeof(header.version)) {
        int err = boot_file_read(file, HEADER_OFFSET, &header, len);
        if (err)
            return err;
    }
    if (header.version < VERSION_MIN)
        return boot_refuse(file,
                           "too old for the 64-bit boot protocol (it takes Linux 3.8 or newer)");
    if (len < offsetof(struct setup_header, handover_offset))
        return boot_refuse(file, "broken: its setup header is shorter than its version says");
    *ret = header;
    return 0;
}

static int check_header(const struct boot_file *file, const struct setup_header *header)
{
    const uint32_t align = header->kernel_alignment;

    if (!(header->xloadflags & XLF_KERNEL_64))
        return boot_refuse(file, "a 32-bit kernel; take one built for x86-64");
    if (!(header->loadflags & LOADED_HIGH))
        return boot_refuse(file, "a zImage, made to be loaded below 1 MiB; take a bzImage");
    if (header->relocatable_kernel && (align == 0 || (align & (align - 1))))
        return boot_refuse(file, "broken: its alignment is not a power of two");
    if (header->syssize == 0 || header->init_size == 0)
        return boot_refuse(file, "broken: its header says that it holds no code");
    return 0;
}

/* Finds the 64-bit program in the file, which ends at *@end. What may follow it, such as a
 * signature, is left out. Returns whether it is there to its end. */
static bool locate_code(const struct boot_file *file, struct bzimage *image, uint64_t *end)
{
    const unsigned setup_sectors =
        image->header.setup_sects ? image->header.setup_sects : SETUP_SECTORS_DEFAULT;
    const uint64_t size = (uint64_t)image->header.syssize * PARAGRAPH_SIZE;
    const uint64_t offset = (uint64_t)(setup_sectors + 1) * SECTOR_SIZE;

    *end = offset + size;
    if (file->size < *end - (PARAGRAPH_SIZE - 1))
        return false;
    image->code_offset = offset;
    image->code_size = file->size - offset < size ? file->size - offset : size;
    return true;
}

static int find_code(const struct boot_file *file, struct bzimage *image)
{
    uint64_t end;

    if (locate_code(file, image, &end))
        return 0;
    log_error("kernel '%s': cut off: it has %ju bytes, and %ju belong to it; get it anew",
              file->path, (uintmax_t)file->size, (uintmax_t)end);
    return -ENOEXEC;
}

static int choose_place(const struct boot_job *job, struct bzimage *image)
{
    const struct setup_header *header = &image->header;
    gpa_t start = header->pref_address;

    if (header->relocatable_kernel) {
        if (start < LAYOUT_KERNEL_BASE)
            start = LAYOUT_KERNEL_BASE;
        if (start <= LAYOUT_RAM_LOW_MAX) /* or it is refused below, and must not wrap around */
            start = (start + header->kernel_alignment - 1) & ~((gpa_t)header->kernel_alignment - 1);
    }
    image->span.start = start;
    image->span.size = header->init_size > image->code_size ? header->init_size : image->code_size;
    return kernel_check_span(job, &image->span);
}

static int inspect(const struct boot_job *job, struct bzimage *image)
{
    int err = read_header(&job->kernel, &image->header);

    if (!err)
        err = check_header(&job->kernel, &image->header);
    if (!err)
        err = find_code(&job->kernel, image);
    if (!err)
        err = choose_place(job, image);
    return err;
}

/* The kernel in it if that was unpacked, or the program that unpacks it. */
static int load_code(const struct boot_job *job, struct bzimage *image)
{
    if (job->unpacked_fd >= 0 && vmlinux_load(job, &image->span, &image->header, &image->entry))
        return 0;
    image->entry = image->span.start + ENTRY_64_OFFSET;
    return boot_file_load(&job->kernel, image->code_offset, image->code_size, job,
                          image->span.start);
}

static int load_parts(const struct boot_job *job, struct bzimage *image)
{
    int err = cmdline_write(job, image->header.cmdline_size);

    if (!err)
        err = load_code(job, image);
    const gpa_t initrd_end = (gpa_t)image->header.initrd_addr_max + 1;
    struct initrd_limits limits = {
        .floor = image->span.start + image->span.size,
        .end = memory_low_end(job->board->ram_size),
        .ceiling = initrd_end < LAYOUT_RAM_LOW_MAX ? initrd_end : LAYOUT_RAM_LOW_MAX,
    };
    struct boot_range initrd;

    if (image->header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G)
        limits.next = memory_high(job->board->ram_size);
    if (!err)
        err = initrd_load(job, &limits, &initrd);
    return err ? err : zero_page_write(job, &image->header, &initrd);
}

static int bzimage_load(const struct boot_job *job, struct cpu_entry *ret)
{
    struct bzimage image = { 0 };
    int err = inspect(job, &image);

    if (!err)
        err = load_parts(job, &image);
    if (err)
        return err;
    *ret = (struct cpu_entry){
        .mode = CPU_ENTRY_LONG,
        .address = image.entry,
        .argument = LAYOUT_BOOT_PARAMS,
    };
    return 0;
}

/* --- what is packed in it --- */

/* Finds the packed kernel in the file. Behind it stands how many bytes it becomes, which is a part
 * of gzip's format and not of the others'. */
static int find_payload(const struct boot_file *file, struct unpack_input *in,
                        enum unpack_format *format, uint32_t *unpacked_size)
{
    struct bzimage image = { 0 };
    struct setup_header header;
    uint8_t magic[4];
    uint64_t end;

    memcpy(&header, file->head + HEADER_OFFSET, sizeof(header));
    image.header = header;
    if (header.version < VERSION_MIN || header.syssize == 0 || !locate_code(file, &image, &end) ||
        header.payload_offset > image.code_size || header.payload_length < 2 * sizeof(magic) ||
        header.payload_length > image.code_size - header.payload_offset)
        return -ENOEXEC;
    *in = (struct unpack_input){ file->fd, image.code_offset + header.payload_offset,
                                 header.payload_length };
    int err = fd_pread_full(file->fd, magic, sizeof(magic), (off_t)in->offset);
    if (!err)
        err = fd_pread_full(file->fd, unpacked_size, sizeof(*unpacked_size),
                            (off_t)(in->offset + in->size - sizeof(*unpacked_size)));
    if (!err && !unpack_recognise(magic, format))
        err = -ENOEXEC;
    if (!err && *format != UNPACK_GZIP)
        in->size -= sizeof(*unpacked_size);
    return err;
}

static int unpack_to(int fd, enum unpack_format format, const struct unpack_input *in, size_t size)
{
    size_t len = 0;

    if (size == 0 || size > UNPACK_MAX || ftruncate(fd, (off_t)size))
        return -ENOEXEC;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    int err = unpack(format, in, memory, size, &len);
    (void)munmap(memory, size);
    return !err && len != size ? -ENOEXEC : err;
}

static int bzimage_unpack(const struct boot_file *file, int *ret)
{
    struct unpack_input in;
    enum unpack_format format;
    uint32_t size;
    int err = find_payload(file, &in, &format, &size);

    if (err)
        return err;
    AUTO_CLOSE int fd = memfd_create("hutch-kernel", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    err = unpack_to(fd, format, &in, size);
    if (!err)
        *ret = take_fd(&fd);
    return err;
}

const struct boot_loader bzimage_loader = { "bzImage", bzimage_recognises, bzimage_load,
                                            bzimage_unpack };

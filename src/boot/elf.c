// SPDX-License-Identifier: Apache-2.0
/* vmlinux and other ELF kernels, loaded to their segments' physical addresses.
 *
 * One that carries Xen's PVH note is entered there; another at its 64-bit entry, which must be a
 * physical address as well (Linux's is), with Linux's zero page. Segments may not overlap, so
 * what lies between a segment's file bytes and its size in memory is RAM that nobody has written
 * to yet, and is zero as it must be. */
#include "image.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "host/log.h"
#include "mem/layout.h"

enum {
    SEGMENTS_MAX = 64,      /* Linux has five */
    NOTES_MAX = 1024,       /* how many we look through */
    NOTE_PHYS32_ENTRY = 18, /* XEN_ELFNOTE_PHYS32_ENTRY */
    HEADER_MAGIC = 0x53726448,
    BOOT_FLAG = 0xaa55,
    BOOT_VERSION = 0x20c,
};

struct elf_image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[SEGMENTS_MAX];
    unsigned segment_count;
    struct boot_range span; /* from the lowest to the highest byte of all segments */
    bool has_pvh_entry;
    uint64_t entry; /* physical */
};

static bool elf_recognises(const struct boot_file *file)
{
    return memcmp(file->head, ELFMAG, SELFMAG) == 0;
}

static int read_header(const struct boot_file *file, Elf64_Ehdr *header)
{
    if (file->size > EI_CLASS && file->head[EI_CLASS] == ELFCLASS32)
        return boot_refuse(file, "a 32-bit ELF file; take a kernel built for x86-64");
    int err = boot_file_read(file, 0, header, sizeof(*header));
    if (err)
        return err;
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_X86_64)
        return boot_refuse(file,
                           "an ELF file of another kind of machine; take one built for x86-64");
    if (header->e_type == ET_REL)
        return boot_refuse(file, "an ELF object file (a kernel module?), not a linked kernel");
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return boot_refuse(file, "an ELF file that is no program");
    if (header->e_phnum == 0 || header->e_phnum > SEGMENTS_MAX ||
        header->e_phentsize != sizeof(Elf64_Phdr))
        return boot_refuse(file, "broken: its ELF program headers make no sense");
    return 0;
}

/* Reads the program headers, and sorts what is to be loaded to the front. */
static int read_segments(const struct boot_file *file, struct elf_image *elf)
{
    Elf64_Phdr *all = elf->segments;
    int err = boot_file_read(file, elf->header.e_phoff, all, elf->header.e_phnum * sizeof(*all));

    if (err)
        return err;
    for (unsigned i = 0; i < elf->header.e_phnum; i++) {
        if (all[i].p_type != PT_LOAD || all[i].p_memsz == 0)
            continue;
        Elf64_Phdr segment = all[i];
        all[i] = all[elf->segment_count];
        all[elf->segment_count++] = segment;
    }
    return elf->segment_count ? 0 : boot_refuse(file, "an ELF file with nothing to load");
}

static int check_segment(const struct boot_job *job, const Elf64_Phdr *segment)
{
    const struct boot_range range = { segment->p_paddr, segment->p_memsz };

    if (segment->p_filesz > segment->p_memsz)
        return boot_refuse(&job->kernel,
                           "broken: a segment has more bytes in the file than in memory");
    if (segment->p_offset > job->kernel.size ||
        segment->p_filesz > job->kernel.size - segment->p_offset) {
        log_error("kernel '%s': cut off: it has %ju bytes, and a segment lies behind them; get it "
                  "anew",
                  job->kernel.path, (uintmax_t)job->kernel.size);
        return -ENOEXEC;
    }
    return kernel_check_span(job, &range);
}

static bool overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
    return a->p_paddr < b->p_paddr + b->p_memsz && b->p_paddr < a->p_paddr + a->p_memsz;
}

/* After this every segment lies in RAM, apart from all others. */
static int check_segments(const struct boot_job *job, struct elf_image *elf)
{
    gpa_t start = UINT64_MAX, end = 0;

    for (unsigned i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        int err = check_segment(job, segment);
        if (err)
            return err;
        for (unsigned j = 0; j < i; j++)
            if (overlap(segment, &elf->segments[j]))
                return boot_refuse(&job->kernel, "broken: its ELF segments overlap in memory");
        start = segment->p_paddr < start ? segment->p_paddr : start;
        end = segment->p_paddr + segment->p_memsz > end ? segment->p_paddr + segment->p_memsz : end;
    }
    elf->span = (struct boot_range){ start, end - start };
    return 0;
}

static uint64_t note_padded(uint64_t size, uint64_t align)
{
    return (size + align - 1) & ~(align - 1);
}

/* Is the note at @offset of the file the PVH entry? If so, takes it. */
static int read_note(const struct boot_file *file, const Elf64_Nhdr *note, uint64_t offset,
                     uint64_t align, struct elf_image *elf)
{
    char name[4];
    uint64_t entry = 0;

    if (note->n_type != NOTE_PHYS32_ENTRY || note->n_namesz != sizeof(name) ||
        (note->n_descsz != sizeof(uint32_t) && note->n_descsz != sizeof(uint64_t)))
        return 0;
    int err = boot_file_read(file, offset + sizeof(*note), name, sizeof(name));
    if (err || memcmp(name, "Xen", sizeof(name)) != 0)
        return err;
    err = boot_file_read(file, offset + note_padded(sizeof(*note) + sizeof(name), align), &entry,
                         note->n_descsz);
    if (err)
        return err;
    elf->has_pvh_entry = true;
    elf->entry = entry;
    return 0;
}

/* Looks through the notes of one segment, each a header, a name and a content (ELF gABI, 5.2.2:
 * all three are padded to the segment's alignment). */
static int find_note(const struct boot_file *file, const Elf64_Phdr *segment, struct elf_image *elf)
{
    const uint64_t align = segment->p_align == 8 ? 8 : 4;
    uint64_t position = 0;
    Elf64_Nhdr note;

    if (segment->p_offset > file->size || segment->p_filesz > file->size - segment->p_offset)
        return boot_refuse(file, "cut off: its notes lie behind its end; get it anew");
    for (unsigned i = 0; i < NOTES_MAX && !elf->has_pvh_entry; i++) {
        if (position > segment->p_filesz || segment->p_filesz - position < sizeof(note))
            break;
        int err = boot_file_read(file, segment->p_offset + position, &note, sizeof(note));
        if (!err)
            err = read_note(file, &note, segment->p_offset + position, align, elf);
        if (err)
            return err;
        position += note_padded(sizeof(note) + note.n_namesz, align);
        position += note_padded(note.n_descsz, align);
    }
    return 0;
}

static bool is_loaded(const struct elf_image *elf, uint64_t address)
{
    for (unsigned i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (address >= segment->p_paddr && address - segment->p_paddr < segment->p_filesz)
            return true;
    }
    return false;
}

/* Looks for a PVH entry. There, a kernel cannot be handed a device tree. */
static int find_pvh_entry(const struct boot_job *job, struct elf_image *elf)
{
    int err = 0;

    for (unsigned i = elf->segment_count; !err && i < elf->header.e_phnum; i++) {
        if (elf->segments[i].p_type == PT_NOTE && !job->has_fdt)
            err = find_note(&job->kernel, &elf->segments[i], elf);
    }
    return err;
}

static int find_entry(const struct boot_job *job, struct elf_image *elf)
{
    const struct boot_file *file = &job->kernel;

    elf->entry = elf->header.e_entry;
    int err = find_pvh_entry(job, elf);
    if (err)
        return err;
    if (elf->header.e_type == ET_DYN && !elf->has_pvh_entry)
        return boot_refuse(file, "a relocatable ELF program without a PVH entry, not a kernel");
    if (!is_loaded(elf, elf->entry)) {
        log_error("kernel '%s': its entry 0x%jx is no physical address of its own; a kernel needs "
                  "a PVH note or a physical entry point",
                  file->path, (uintmax_t)elf->entry);
        return -ENOEXEC;
    }
    return 0;
}

static int inspect(const struct boot_job *job, struct elf_image *elf)
{
    int err = read_header(&job->kernel, &elf->header);

    if (!err)
        err = read_segments(&job->kernel, elf);
    if (!err)
        err = check_segments(job, elf);
    if (!err)
        err = find_entry(job, elf);
    return err;
}

static int load_parts(const struct boot_job *job, const struct elf_image *elf,
                      struct boot_range *initrd)
{
    const struct initrd_limits limits = {
        .floor = elf->span.start + elf->span.size,
        .end = memory_low_end(job->board->ram_size),
        .ceiling = (gpa_t)BOOT_INITRD_MAX_DEFAULT + 1,
    };
    int err = cmdline_write(job, BOOT_CMDLINE_MAX_DEFAULT);

    for (unsigned i = 0; !err && i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        err = boot_file_load(&job->kernel, segment->p_offset, segment->p_filesz, job,
                             segment->p_paddr);
    }
    return err ? err : initrd_load(job, &limits, initrd);
}

/* For the 64-bit entry: an ELF file has no setup header, so it is made up of what a kernel reads
 * of it at run time. */
static int write_zero_page(const struct boot_job *job, const struct boot_range *initrd)
{
    const struct setup_header header = {
        .boot_flag = BOOT_FLAG,
        .header = HEADER_MAGIC,
        .version = BOOT_VERSION,
        .loadflags = LOADED_HIGH,
        .cmdline_size = BOOT_CMDLINE_MAX_DEFAULT,
        .initrd_addr_max = BOOT_INITRD_MAX_DEFAULT,
    };

    return zero_page_write(job, &header, initrd);
}

static int elf_load(const struct boot_job *job, struct cpu_entry *ret)
{
    struct elf_image elf = { 0 };
    struct boot_range initrd;
    int err = inspect(job, &elf);

    if (!err)
        err = load_parts(job, &elf, &initrd);
    if (!err)
        err = elf.has_pvh_entry ? pvh_write(job, &initrd) : write_zero_page(job, &initrd);
    if (err)
        return err;
    *ret = (struct cpu_entry){
        .mode = elf.has_pvh_entry ? CPU_ENTRY_PROTECTED : CPU_ENTRY_LONG,
        .address = elf.entry,
        .argument = elf.has_pvh_entry ? LAYOUT_PVH_START_INFO : LAYOUT_BOOT_PARAMS,
    };
    return 0;
}

const struct boot_loader elf_loader = { "ELF", elf_recognises, elf_load };

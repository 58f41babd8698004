// SPDX-License-Identifier: Apache-2.0
/* Small kernel images for tests: files in a folder of their own, guest RAM without KVM, and the
 * words that boot_load() had for what it refused.
 *
 *   struct fixture fixture;
 *   fixture_init(&fixture, 64 * MIB);
 *   struct test_bzimage image = bzimage_make();       // a good one, for the test to spoil
 *   image.header->version = 0x200;
 *   fixture_write(&fixture, "kernel", image.bytes, sizeof(image.bytes));
 *   assert_int_equal(fixture_boot(&fixture, "", NULL), -ENOEXEC);
 *   assert_said(&fixture, "too old");
 *   fixture_fini(&fixture);
 *
 * Included after cmocka.h. */
#pragma once

#include <asm/bootparam.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/boot.h"
#include "mem/layout.h"

struct fixture {
    struct guest_mem *mem;
    uint64_t ram_size;
    char folder[32], kernel[64], initrd[64];
    char said[4096]; /* to stderr, by the last fixture_boot() */
    struct cpu_entry entry;
};

static void fixture_init(struct fixture *fixture, uint64_t ram_size)
{
    *fixture = (struct fixture){ .ram_size = ram_size, .folder = "/tmp/hutch-boot.XXXXXX" };
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->kernel, sizeof(fixture->kernel), "%s/kernel", fixture->folder);
    (void)snprintf(fixture->initrd, sizeof(fixture->initrd), "%s/initrd", fixture->folder);
    assert_int_equal(guest_mem_create(GUEST_MEM_PRIVATE, &fixture->mem), 0);
    assert_int_equal(layout_add_ram(fixture->mem, ram_size), 0);
}

static void fixture_fini(struct fixture *fixture)
{
    (void)unlink(fixture->kernel);
    (void)unlink(fixture->initrd);
    assert_int_equal(rmdir(fixture->folder), 0);
    guest_mem_destroy(fixture->mem);
}

static void write_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    assert_int_equal(close(fd), 0);
}

/* A file of @size bytes of which only the last is written, as 'z'. */
static inline void write_sparse_file(const char *path, uint64_t size)
{
    write_file(path, "", 0);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "z", 1, (off_t)size - 1), 1);
    assert_int_equal(close(fd), 0);
}

/* Boots fixture->kernel (and fixture->initrd, if @has_initrd), keeping what is said. */
static int fixture_boot(struct fixture *fixture, const char *cmdline, bool has_initrd)
{
    const struct board board = { .ram_size = fixture->ram_size };
    struct boot_files files;
    struct boot_config config = {
        .files = &files,
        .cmdline = cmdline,
        .board = &board,
    };
    int words = memfd_create("stderr", MFD_CLOEXEC), real = dup(STDERR_FILENO);

    assert_true(words >= 0 && real >= 0);
    assert_true(dup2(words, STDERR_FILENO) >= 0);
    int err = boot_files_open(fixture->kernel, has_initrd ? fixture->initrd : NULL, &files);
    if (!err) {
        err = boot_load(fixture->mem, &config, &fixture->entry);
        boot_files_close(&files);
    }
    assert_true(dup2(real, STDERR_FILENO) >= 0);
    ssize_t len = pread(words, fixture->said, sizeof(fixture->said) - 1, 0);
    assert_true(len >= 0);
    fixture->said[len] = '\0';
    (void)close(words);
    (void)close(real);
    return err;
}

/* It was refused by one line that starts with "hutch: " and holds @words. */
#define assert_said(fixture, words) assert_said_at(fixture, words, __FILE__, __LINE__)
static void assert_said_at(const struct fixture *fixture, const char *words, const char *file,
                           int line)
{
    const char *end = strchr(fixture->said, '\n');

    if (strncmp(fixture->said, "hutch: ", 7) == 0 && end && end[1] == '\0' &&
        strstr(fixture->said, words))
        return;
    print_error("said: %s", fixture->said);
    _fail(file, line);
}

/* --- a bzImage with 64 paragraphs of code, which are all 'c' --- */

enum { BZIMAGE_SETUP_SIZE = 1024, BZIMAGE_CODE_SIZE = 1024 };
enum { BZIMAGE_PLACE = 16 << 20, BZIMAGE_INIT_SIZE = 4 << 20 };

struct test_bzimage {
    union {
        uint8_t bytes[BZIMAGE_SETUP_SIZE + BZIMAGE_CODE_SIZE];
        struct {
            uint8_t before[0x1f1];
            struct setup_header header;
        } __attribute__((packed));
    };
};

static inline struct test_bzimage bzimage_make(void)
{
    struct test_bzimage image = { .bytes = { 0 } };

    memset(image.bytes + BZIMAGE_SETUP_SIZE, 'c', BZIMAGE_CODE_SIZE);
    image.header = (struct setup_header){
        .setup_sects = 1,
        .syssize = BZIMAGE_CODE_SIZE / 16,
        .boot_flag = 0xaa55,
        .jump = 0x6aeb,
        .header = 0x53726448,
        .version = 0x20f,
        .loadflags = LOADED_HIGH,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = 2 << 20,
        .relocatable_kernel = 1,
        .xloadflags = XLF_KERNEL_64,
        .cmdline_size = 2047,
        .pref_address = BZIMAGE_PLACE,
        .init_size = BZIMAGE_INIT_SIZE,
    };
    return image;
}

/* --- an ELF kernel of one segment at 1 MiB, with room for a note --- */

enum { ELF_PLACE = 1 << 20, ELF_CODE_OFFSET = 0x200, ELF_CODE_SIZE = 0x100, ELF_BSS_SIZE = 0x1000 };

struct test_note {
    Elf64_Nhdr header;
    char name[4];
    uint32_t entry;
};

struct test_elf {
    union {
        uint8_t bytes[ELF_CODE_OFFSET + ELF_CODE_SIZE];
        struct {
            Elf64_Ehdr header;
            Elf64_Phdr segments[2]; /* the code, and the note, which header.e_phnum leaves out */
            struct test_note note;
        };
    };
};

static inline struct test_elf elf_make(void)
{
    struct test_elf elf = { .bytes = { 0 } };

    memset(elf.bytes + ELF_CODE_OFFSET, 'e', ELF_CODE_SIZE);
    elf.header = (Elf64_Ehdr){
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = ELF_PLACE + 0x10,
        .e_phoff = offsetof(struct test_elf, segments),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 1,
    };
    elf.segments[0] = (Elf64_Phdr){
        .p_type = PT_LOAD,
        .p_offset = ELF_CODE_OFFSET,
        .p_vaddr = UINT64_C(0xffffffff81000000),
        .p_paddr = ELF_PLACE,
        .p_filesz = ELF_CODE_SIZE,
        .p_memsz = ELF_CODE_SIZE + ELF_BSS_SIZE,
    };
    return elf;
}

static inline void elf_add_pvh_note(struct test_elf *elf, uint32_t entry)
{
    elf->header.e_phnum = 2;
    elf->segments[1] = (Elf64_Phdr){
        .p_type = PT_NOTE,
        .p_offset = offsetof(struct test_elf, note),
        .p_filesz = sizeof(struct test_note),
        .p_align = 4,
    };
    elf->note = (struct test_note){ { 4, 4, 18 }, "Xen", entry };
}

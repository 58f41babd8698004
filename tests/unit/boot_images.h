// SPDX-License-Identifier: Apache-2.0
/* Small kernel images of a PC, good ones, for tests to spoil. Included after cmocka.h. */
#pragma once

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

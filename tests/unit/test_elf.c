// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "boot_fixture.h"
#include "boot_images.h"

/* Boots what is in @elf. */
static int boot(struct fixture *fixture, const struct test_elf *elf)
{
    write_file(fixture->kernel, elf->bytes, sizeof(elf->bytes));
    return fixture_boot(fixture, "ro quiet", false);
}

static uint64_t guest_u64(const struct fixture *fixture, gpa_t gpa)
{
    uint64_t value;

    assert_int_equal(guest_mem_read(fixture->mem, gpa, &value, sizeof(value)), 0);
    return value;
}

static void a_kernel_without_a_note_starts_at_its_64_bit_entry(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);

    assert_int_equal(boot(&fixture, &elf), 0);

    assert_int_equal(fixture.entry.mode, CPU_ENTRY_LONG);
    assert_int_equal(fixture.entry.address, ELF_PLACE + 0x10);
    assert_int_equal(fixture.entry.argument, LAYOUT_BOOT_PARAMS);
    const struct boot_params *params = guest_mem_at(fixture.mem, LAYOUT_BOOT_PARAMS, 4096);
    assert_int_equal(params->hdr.header, 0x53726448);
    assert_int_equal(params->hdr.type_of_loader, 0xff);
    assert_int_equal(params->e820_entries, 7);
    fixture_fini(&fixture);
}

static void segments_lie_at_their_physical_addresses_with_zeroes_behind(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);

    assert_int_equal(boot(&fixture, &elf), 0);

    const uint8_t *code = guest_mem_at(fixture.mem, ELF_PLACE, ELF_CODE_SIZE + ELF_BSS_SIZE);
    assert_memory_equal(code, elf.bytes + ELF_CODE_OFFSET, ELF_CODE_SIZE);
    for (size_t i = 0; i < ELF_BSS_SIZE; i++)
        assert_int_equal(code[ELF_CODE_SIZE + i], 0);
    fixture_fini(&fixture);
}

static void a_kernel_with_a_pvh_note_starts_there(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    elf_add_pvh_note(&elf, ELF_PLACE + 0x20);

    assert_int_equal(boot(&fixture, &elf), 0);

    assert_int_equal(fixture.entry.mode, CPU_ENTRY_PROTECTED);
    assert_int_equal(fixture.entry.address, ELF_PLACE + 0x20);
    assert_int_equal(fixture.entry.argument, LAYOUT_PVH_START_INFO);
    fixture_fini(&fixture);
}

static void a_note_is_found_behind_others(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    elf_add_pvh_note(&elf, ELF_PLACE + 0x20);
    struct test_note note = elf.note;
    elf.note = (struct test_note){ { 4, 4, 1 }, "GNU", 0 };
    memcpy(elf.bytes + offsetof(struct test_elf, note) + sizeof(note), &note, sizeof(note));
    elf.segments[1].p_filesz += sizeof(note);

    assert_int_equal(boot(&fixture, &elf), 0);

    assert_int_equal(fixture.entry.address, ELF_PLACE + 0x20);
    fixture_fini(&fixture);
}

static void the_start_info_tells_of_memory_modules_and_tables(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    const gpa_t info = LAYOUT_PVH_START_INFO;
    const uint64_t entry_size = 24; /* of the memory map */
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    elf_add_pvh_note(&elf, ELF_PLACE);
    write_file(fixture.kernel, elf.bytes, sizeof(elf.bytes));
    write_file(fixture.initrd, "initrd", 6);

    assert_int_equal(fixture_boot(&fixture, "ro quiet", true), 0);

    assert_int_equal(guest_u64(&fixture, info), UINT64_C(1) << 32 | 0x336ec578);
    assert_int_equal(guest_u64(&fixture, info + 8), UINT64_C(1) << 32); /* one module */
    gpa_t module = guest_u64(&fixture, info + 16),
          ram = guest_u64(&fixture, info + 40) + 4 * entry_size;
    assert_string_equal(guest_mem_at(fixture.mem, guest_u64(&fixture, info + 24), 9), "ro quiet");
    assert_int_equal(guest_u64(&fixture, info + 32), LAYOUT_ACPI_BASE);
    assert_int_equal(guest_u64(&fixture, info + 48), 7); /* entries of the map */
    assert_int_equal(guest_u64(&fixture, ram), 0x100000);
    assert_int_equal(guest_u64(&fixture, ram + 8), 63 * MIB);
    assert_int_equal(guest_u64(&fixture, ram + 16), 1);
    assert_int_equal(guest_u64(&fixture, module), 64 * MIB - 4096);
    assert_int_equal(guest_u64(&fixture, module + 8), 6);
    assert_memory_equal(guest_mem_at(fixture.mem, 64 * MIB - 4096, 6), "initrd", 6);
    fixture_fini(&fixture);
}

static void the_start_info_is_told_when_there_is_no_module(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    elf_add_pvh_note(&elf, ELF_PLACE);

    assert_int_equal(boot(&fixture, &elf), 0);

    assert_int_equal(guest_u64(&fixture, LAYOUT_PVH_START_INFO + 8), 0);
    fixture_fini(&fixture);
}

static void a_relocatable_program_with_a_pvh_note_is_taken(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    elf.header.e_type = ET_DYN;
    elf_add_pvh_note(&elf, ELF_PLACE);

    assert_int_equal(boot(&fixture, &elf), 0);

    fixture_fini(&fixture);
}

static void make_32_bit(struct test_elf *elf)
{
    elf->header.e_ident[EI_CLASS] = ELFCLASS32;
}

static void make_arm64(struct test_elf *elf)
{
    elf->header.e_machine = EM_AARCH64;
}

static void make_big_endian(struct test_elf *elf)
{
    elf->header.e_ident[EI_DATA] = ELFDATA2MSB;
}

static void make_object(struct test_elf *elf)
{
    elf->header.e_type = ET_REL;
}

static void make_core(struct test_elf *elf)
{
    elf->header.e_type = ET_CORE;
}

static void make_dynamic(struct test_elf *elf)
{
    elf->header.e_type = ET_DYN;
}

static void make_segmentless(struct test_elf *elf)
{
    elf->header.e_phnum = 0;
}

static void make_crowded(struct test_elf *elf)
{
    elf->header.e_phnum = UINT16_MAX;
}

static void make_odd_segments(struct test_elf *elf)
{
    elf->header.e_phentsize = 32;
}

static void make_remote_segments(struct test_elf *elf)
{
    elf->header.e_phoff = UINT64_MAX - 8;
}

static void make_nothing_to_load(struct test_elf *elf)
{
    elf->segments[0].p_type = PT_NULL;
}

static void make_file_part_larger(struct test_elf *elf)
{
    elf->segments[0].p_memsz = ELF_CODE_SIZE - 1;
}

static void make_segment_behind_the_end(struct test_elf *elf)
{
    elf->segments[0].p_offset += 1;
}

static void make_segment_wrap_around(struct test_elf *elf)
{
    elf->segments[0].p_offset = UINT64_MAX;
}

static void make_low(struct test_elf *elf)
{
    elf->segments[0].p_paddr = LAYOUT_BOOT_PARAMS;
}

static void make_large(struct test_elf *elf)
{
    elf->segments[0].p_memsz = 63 * MIB + 1;
}

static void make_huge(struct test_elf *elf)
{
    elf->segments[0].p_memsz = UINT64_MAX;
}

static void make_remote(struct test_elf *elf)
{
    elf->segments[0].p_paddr = UINT64_MAX - 0xfff;
}

static void make_overlap(struct test_elf *elf)
{
    elf->header.e_phnum = 2;
    elf->segments[1] = elf->segments[0];
    elf->segments[1].p_paddr += elf->segments[0].p_memsz - 1;
}

static void make_virtual_entry(struct test_elf *elf)
{
    elf->header.e_entry = elf->segments[0].p_vaddr;
}

static void make_entry_in_the_bss(struct test_elf *elf)
{
    elf->header.e_entry = ELF_PLACE + ELF_CODE_SIZE;
}

static void make_pvh_entry_outside(struct test_elf *elf)
{
    elf_add_pvh_note(elf, 0x1000);
}

static void make_notes_behind_the_end(struct test_elf *elf)
{
    elf_add_pvh_note(elf, ELF_PLACE);
    elf->segments[1].p_offset = sizeof(elf->bytes) - 4;
}

static void files_that_cannot_be_booted_are_refused_with_the_reason(void **state)
{
    static const struct {
        void (*spoil)(struct test_elf *);
        int err;
        const char *words;
    } cases[] = {
        { make_32_bit, -ENOEXEC, "a 32-bit ELF file" },
        { make_arm64, -ENOEXEC, "another kind of machine" },
        { make_big_endian, -ENOEXEC, "another kind of machine" },
        { make_object, -ENOEXEC, "object file" },
        { make_core, -ENOEXEC, "no program" },
        { make_dynamic, -ENOEXEC, "without a PVH entry" },
        { make_segmentless, -ENOEXEC, "program headers make no sense" },
        { make_crowded, -ENOEXEC, "program headers make no sense" },
        { make_odd_segments, -ENOEXEC, "program headers make no sense" },
        { make_remote_segments, -ENOEXEC, "cut off" },
        { make_nothing_to_load, -ENOEXEC, "nothing to load" },
        { make_file_part_larger, -ENOEXEC, "more bytes in the file" },
        { make_segment_behind_the_end, -ENOEXEC, "cut off" },
        { make_segment_wrap_around, -ENOEXEC, "cut off" },
        { make_low, -ENOEXEC, "link it to 1 MiB or above" },
        { make_large, -ENOMEM, "needs 65 MiB of RAM to start, the guest has 64 MiB" },
        { make_huge, -ENOEXEC, "no machine of ours has RAM" },
        { make_remote, -ENOEXEC, "no machine of ours has RAM" },
        { make_overlap, -ENOEXEC, "overlap" },
        { make_virtual_entry, -ENOEXEC, "no physical address of its own" },
        { make_entry_in_the_bss, -ENOEXEC, "no physical address of its own" },
        { make_pvh_entry_outside, -ENOEXEC, "no physical address of its own" },
        { make_notes_behind_the_end, -ENOEXEC, "cut off" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        struct test_elf elf = elf_make();
        fixture_init(&fixture, 64 * MIB);
        cases[i].spoil(&elf);
        assert_int_equal(boot(&fixture, &elf), cases[i].err);
        assert_said(&fixture, cases[i].words);
        fixture_fini(&fixture);
    }
}

static void a_file_cut_off_anywhere_is_refused(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);

    for (size_t len = 4; len < sizeof(elf.bytes); len++) {
        write_file(fixture.kernel, elf.bytes, len);
        assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);
        assert_said(&fixture, "cut off");
    }
    fixture_fini(&fixture);
}

static void notes_without_end_are_not_followed(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    elf_add_pvh_note(&elf, ELF_PLACE);
    elf.note.header.n_namesz = UINT32_MAX;
    elf.note.header.n_descsz = UINT32_MAX;

    assert_int_equal(boot(&fixture, &elf), 0);

    assert_int_equal(fixture.entry.mode, CPU_ENTRY_LONG);
    fixture_fini(&fixture);
}

static void with_a_device_tree_the_64_bit_entry_is_taken(void **state)
{
    struct fixture fixture;
    struct test_elf elf = elf_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    fixture.has_fdt = true;
    elf_add_pvh_note(&elf, ELF_PLACE + 0x20);
    write_file(fixture.kernel, elf.bytes, sizeof(elf.bytes));

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    assert_int_equal(fixture.entry.mode, CPU_ENTRY_LONG);
    const struct boot_params *params = guest_mem_at(fixture.mem, fixture.entry.argument, 4096);
    assert_int_equal(params->hdr.setup_data, LAYOUT_SETUP_DATA);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_without_a_note_starts_at_its_64_bit_entry),
        cmocka_unit_test(segments_lie_at_their_physical_addresses_with_zeroes_behind),
        cmocka_unit_test(a_kernel_with_a_pvh_note_starts_there),
        cmocka_unit_test(a_note_is_found_behind_others),
        cmocka_unit_test(the_start_info_tells_of_memory_modules_and_tables),
        cmocka_unit_test(the_start_info_is_told_when_there_is_no_module),
        cmocka_unit_test(a_relocatable_program_with_a_pvh_note_is_taken),
        cmocka_unit_test(files_that_cannot_be_booted_are_refused_with_the_reason),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
        cmocka_unit_test(notes_without_end_are_not_followed),
        cmocka_unit_test(with_a_device_tree_the_64_bit_entry_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

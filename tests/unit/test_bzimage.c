// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libfdt.h>

#include "boot_fixture.h"
#include "boot_images.h"

static void write_image(struct fixture *fixture, const struct test_bzimage *image)
{
    write_file(fixture->kernel, image->bytes, sizeof(image->bytes));
}

static const struct boot_params *zero_page(const struct fixture *fixture)
{
    const struct boot_params *params =
        guest_mem_at(fixture->mem, LAYOUT_BOOT_PARAMS, sizeof(struct boot_params));
    assert_non_null(params);
    return params;
}

/* Boots a good image with an initrd of @initrd_size bytes, and gives where that went. */
static uint64_t boot_with_initrd(struct fixture *fixture, const struct test_bzimage *image,
                                 uint64_t initrd_size)
{
    write_image(fixture, image);
    write_sparse_file(fixture->initrd, initrd_size);
    assert_int_equal(fixture_boot(fixture, "", true), 0);

    const struct boot_params *params = zero_page(fixture);
    uint64_t start = params->hdr.ramdisk_image | (uint64_t)params->ext_ramdisk_image << 32;
    assert_int_equal(params->hdr.ramdisk_size, initrd_size);
    const char *last = guest_mem_at(fixture->mem, start + initrd_size - 1, 1);
    assert_non_null(last);
    assert_int_equal(*last, 'z');
    return start;
}

static void the_code_lies_at_the_address_that_the_image_prefers(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    const void *code = guest_mem_at(fixture.mem, BZIMAGE_PLACE, BZIMAGE_CODE_SIZE);
    assert_memory_equal(code, image.bytes + BZIMAGE_SETUP_SIZE, BZIMAGE_CODE_SIZE);
    assert_int_equal(fixture.entry.mode, CPU_ENTRY_LONG);
    assert_int_equal(fixture.entry.address, BZIMAGE_PLACE + 0x200);
    assert_int_equal(fixture.entry.argument, LAYOUT_BOOT_PARAMS);
    fixture_fini(&fixture);
}

static void what_follows_the_code_is_not_loaded(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    image.header.syssize -= 1;
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    const uint8_t *code = guest_mem_at(fixture.mem, BZIMAGE_PLACE, BZIMAGE_CODE_SIZE);
    assert_int_equal(code[BZIMAGE_CODE_SIZE - 17], 'c');
    assert_int_equal(code[BZIMAGE_CODE_SIZE - 16], 0);
    fixture_fini(&fixture);
}

static void the_last_paragraph_may_be_cut(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_file(fixture.kernel, image.bytes, sizeof(image.bytes) - 15);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    fixture_fini(&fixture);
}

static void a_relocatable_image_is_aligned_above_the_first_mib(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    image.header.pref_address = 0x1000;
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    assert_int_equal(fixture.entry.address, (2 << 20) + 0x200);
    fixture_fini(&fixture);
}

static void the_zero_page_has_the_header_and_what_the_loader_adds(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    image.before[0x1ef] = 0xff; /* the sentinel must not come along */
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "console=ttyS0", false), 0);

    const struct boot_params *params = zero_page(&fixture);
    assert_int_equal(params->sentinel, 0);
    assert_int_equal(params->hdr.version, 0x20f);
    assert_int_equal(params->hdr.init_size, BZIMAGE_INIT_SIZE);
    assert_int_equal(params->hdr.type_of_loader, 0xff);
    assert_int_equal(params->acpi_rsdp_addr, LAYOUT_ACPI_BASE);
    assert_int_equal(params->hdr.ramdisk_size, 0);
    assert_string_equal(guest_mem_at(fixture.mem, params->hdr.cmd_line_ptr, 14), "console=ttyS0");
    fixture_fini(&fixture);
}

static void assert_e820(const struct boot_e820_entry *entry, uint64_t start, uint64_t end,
                        uint32_t type)
{
    assert_int_equal(entry->addr, start);
    assert_int_equal(entry->addr + entry->size, end);
    assert_int_equal(entry->type, type);
}

static void the_memory_map_goes_around_the_32_bit_hole(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 5 * GIB);
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    const struct boot_params *params = zero_page(&fixture);
    const struct boot_e820_entry *map = params->e820_table;
    assert_int_equal(params->e820_entries, 8);
    assert_e820(&map[0], 0, 0x9fc00, 1);
    assert_e820(&map[1], 0x9fc00, 0xe0000, 2);
    assert_e820(&map[2], 0xe0000, 0xfe000, 3);
    assert_e820(&map[3], 0xfe000, 0x100000, 2);
    assert_e820(&map[4], 0x100000, 3 * GIB, 1);
    assert_e820(&map[5], LAYOUT_ECAM_BASE, LAYOUT_ECAM_BASE + LAYOUT_ECAM_SIZE, 2);
    assert_e820(&map[6], LAYOUT_KVM_IDENTITY_MAP, LAYOUT_KVM_IDENTITY_MAP + 16 * KIB, 2);
    assert_e820(&map[7], 4 * GIB, 6 * GIB, 1);
    fixture_fini(&fixture);
}

static void a_small_machine_has_no_memory_above_4_gib(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    const struct boot_params *params = zero_page(&fixture);
    assert_int_equal(params->e820_entries, 7);
    assert_e820(&params->e820_table[4], 0x100000, 64 * MIB, 1);
    fixture_fini(&fixture);
}

static void the_initrd_lies_at_the_end_of_ram(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);

    assert_int_equal(boot_with_initrd(&fixture, &image, 5000), 64 * MIB - 8192);

    fixture_fini(&fixture);
}

static void the_initrd_lies_below_the_limit_of_the_kernel(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    image.header.initrd_addr_max = (32 << 20) - 1;

    assert_int_equal(boot_with_initrd(&fixture, &image, 4096), 32 * MIB - 4096);

    fixture_fini(&fixture);
}

static void an_initrd_without_room_below_goes_above_4_gib_if_the_kernel_takes_it(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 4 * GIB);
    image.header.initrd_addr_max = (24 << 20) - 1;
    image.header.xloadflags |= XLF_CAN_BE_LOADED_ABOVE_4G;

    assert_int_equal(boot_with_initrd(&fixture, &image, 8 * MIB), 5 * GIB - 8 * MIB);

    fixture_fini(&fixture);
}

static void an_initrd_that_just_fits_is_taken(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);

    assert_int_equal(boot_with_initrd(&fixture, &image, 44 * MIB),
                     BZIMAGE_PLACE + BZIMAGE_INIT_SIZE);

    fixture_fini(&fixture);
}

static void an_initrd_that_does_not_fit_is_refused_with_what_is_needed(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_image(&fixture, &image);
    write_sparse_file(fixture.initrd, 44 * MIB + 1);

    assert_int_equal(fixture_boot(&fixture, "", true), -ENOMEM);

    assert_said(&fixture, "need 65 MiB of RAM to start, the guest has 64 MiB");
    fixture_fini(&fixture);
}

static void an_initrd_above_the_limit_of_the_kernel_is_refused(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 4 * GIB);
    image.header.initrd_addr_max = (24 << 20) - 1;
    write_image(&fixture, &image);
    write_sparse_file(fixture.initrd, 8 * MIB);

    assert_int_equal(fixture_boot(&fixture, "", true), -ENOMEM);

    assert_said(&fixture, "0x17fffff");
    fixture_fini(&fixture);
}

static void the_longest_command_line_is_taken_and_a_longer_one_refused(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    char cmdline[101] = { 0 };
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    image.header.cmdline_size = 99;
    write_image(&fixture, &image);

    memset(cmdline, 'x', 99);
    assert_int_equal(fixture_boot(&fixture, cmdline, false), 0);
    cmdline[99] = 'x';
    assert_int_equal(fixture_boot(&fixture, cmdline, false), -E2BIG);

    assert_said(&fixture, "100 bytes");
    assert_said(&fixture, "takes 99");
    fixture_fini(&fixture);
}

/* Spoils a good image with @spoil, and looks for @words in the refusal. */
static void assert_refused(void (*spoil)(struct test_bzimage *), int err, const char *words)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();

    fixture_init(&fixture, 64 * MIB);
    spoil(&image);
    write_image(&fixture, &image);
    assert_int_equal(fixture_boot(&fixture, "", false), err);
    assert_said(&fixture, words);
    fixture_fini(&fixture);
}

static void make_old(struct test_bzimage *image)
{
    image->header.version = 0x20b;
}

static void make_32_bit(struct test_bzimage *image)
{
    image->header.xloadflags = 0;
}

static void make_zimage(struct test_bzimage *image)
{
    image->header.loadflags = 0;
}

static void make_header_short(struct test_bzimage *image)
{
    image->header.jump = 0x20eb;
}

static void make_header_tiny(struct test_bzimage *image)
{
    image->header.jump = 0x00eb;
}

static void make_codeless(struct test_bzimage *image)
{
    image->header.syssize = 0;
}

static void make_misaligned(struct test_bzimage *image)
{
    image->header.kernel_alignment = 3 << 20;
}

static void make_unaligned(struct test_bzimage *image)
{
    image->header.kernel_alignment = 0;
}

static void make_large(struct test_bzimage *image)
{
    image->header.init_size = (49 << 20) - 1000;
}

static void make_huge(struct test_bzimage *image)
{
    image->header.init_size = UINT32_MAX;
}

static void make_remote(struct test_bzimage *image)
{
    image->header.pref_address = UINT64_MAX;
}

static void make_fixed_low(struct test_bzimage *image)
{
    image->header.relocatable_kernel = 0;
    image->header.pref_address = 0x10000;
}

static void make_much_code(struct test_bzimage *image)
{
    image->header.syssize = UINT32_MAX;
}

static void images_that_cannot_be_booted_are_refused_with_the_reason(void **state)
{
    static const struct {
        void (*spoil)(struct test_bzimage *);
        int err;
        const char *words;
    } cases[] = {
        { make_old, -ENOEXEC, "too old" },
        { make_32_bit, -ENOEXEC, "a 32-bit kernel" },
        { make_zimage, -ENOEXEC, "a zImage" },
        { make_header_short, -ENOEXEC, "setup header is shorter" },
        { make_header_tiny, -ENOEXEC, "too old" },
        { make_codeless, -ENOEXEC, "holds no code" },
        { make_misaligned, -ENOEXEC, "not a power of two" },
        { make_unaligned, -ENOEXEC, "not a power of two" },
        { make_large, -ENOMEM, "needs 65 MiB of RAM to start, the guest has 64 MiB" },
        { make_huge, -ENOEXEC, "no machine of ours has RAM" },
        { make_remote, -ENOEXEC, "no machine of ours has RAM" },
        { make_fixed_low, -ENOEXEC, "link it to 1 MiB or above" },
        { make_much_code, -ENOEXEC, "cut off" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(cases[i].spoil, cases[i].err, cases[i].words);
}

static void an_image_cut_off_anywhere_is_refused(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);

    for (size_t len = 1; len < sizeof(image.bytes) - 15; len += len < 0x200 ? 37 : 1) {
        write_file(fixture.kernel, image.bytes, len);
        assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);
        assert_said(&fixture, len < 0x206 ? "kernel" : "cut off");
    }
    fixture_fini(&fixture);
}

static void the_device_tree_is_in_the_list_of_setup_data(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    fixture.has_fdt = true;
    write_file(fixture.kernel, image.bytes, sizeof(image.bytes));

    assert_int_equal(fixture_boot(&fixture, "quiet", false), 0);

    const struct boot_params *params = guest_mem_at(fixture.mem, fixture.entry.argument, 4096);
    const struct setup_data *data = guest_mem_at(fixture.mem, params->hdr.setup_data, 4096);
    assert_int_equal(data->type, SETUP_DTB);
    assert_int_equal(data->next, 0);
    assert_int_equal(fdt_check_full(data->data, data->len), 0);
    assert_string_equal(
        fdt_getprop(data->data, fdt_path_offset(data->data, "/chosen"), "bootargs", NULL), "quiet");
    fixture_fini(&fixture);
}

static void no_device_tree_is_no_setup_data(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    image.header.setup_data = 0x12345;
    write_file(fixture.kernel, image.bytes, sizeof(image.bytes));

    assert_int_equal(fixture_boot(&fixture, "quiet", false), 0);

    const struct boot_params *params = guest_mem_at(fixture.mem, fixture.entry.argument, 4096);
    assert_int_equal(params->hdr.setup_data, 0);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_code_lies_at_the_address_that_the_image_prefers),
        cmocka_unit_test(what_follows_the_code_is_not_loaded),
        cmocka_unit_test(the_last_paragraph_may_be_cut),
        cmocka_unit_test(a_relocatable_image_is_aligned_above_the_first_mib),
        cmocka_unit_test(the_zero_page_has_the_header_and_what_the_loader_adds),
        cmocka_unit_test(the_memory_map_goes_around_the_32_bit_hole),
        cmocka_unit_test(a_small_machine_has_no_memory_above_4_gib),
        cmocka_unit_test(the_initrd_lies_at_the_end_of_ram),
        cmocka_unit_test(the_initrd_lies_below_the_limit_of_the_kernel),
        cmocka_unit_test(an_initrd_without_room_below_goes_above_4_gib_if_the_kernel_takes_it),
        cmocka_unit_test(an_initrd_that_just_fits_is_taken),
        cmocka_unit_test(an_initrd_that_does_not_fit_is_refused_with_what_is_needed),
        cmocka_unit_test(an_initrd_above_the_limit_of_the_kernel_is_refused),
        cmocka_unit_test(the_longest_command_line_is_taken_and_a_longer_one_refused),
        cmocka_unit_test(images_that_cannot_be_booted_are_refused_with_the_reason),
        cmocka_unit_test(an_image_cut_off_anywhere_is_refused),
        cmocka_unit_test(the_device_tree_is_in_the_list_of_setup_data),
        cmocka_unit_test(no_device_tree_is_no_setup_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

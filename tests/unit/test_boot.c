// SPDX-License-Identifier: Apache-2.0
/* What people give as a kernel or an initrd, and the sentence they get for it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "boot_fixture.h"
#include "boot_images.h"

struct foreign_file {
    size_t offset; /* of the bytes; zeroes before them */
    const char *bytes;
    size_t len;
    size_t size; /* of the file */
    const char *words;
};

#define BYTES(text) text, sizeof(text) - 1

static void files_that_are_no_kernel_are_refused_by_what_they_are(void **state)
{
    static const struct foreign_file cases[] = {
        { 0, BYTES("\x1f\x8b\x08"), 100, "compressed with gzip; unpack it with gunzip" },
        { 0,
          BYTES("\xfd"
                "7zXZ\0"),
          100, "compressed with xz" },
        { 0, BYTES("\x28\xb5\x2f\xfd"), 100, "compressed with zstd" },
        { 0, BYTES("BZh9"), 100, "compressed with bzip2" },
        { 0, BYTES("\x02\x21\x4c\x18"), 100, "compressed with lz4" },
        { 0, BYTES("\x04\x22\x4d\x18"), 100, "compressed with lz4" },
        { 0, BYTES("\x5d\0\0\x80"), 100, "compressed with lzma" },
        { 0, BYTES("\x89LZO"), 100, "compressed with lzop" },
        { 56, BYTES("ARM\x64"), 100, "an arm64 kernel" },
        { 4, BYTES("zimg"), 100, "an EFI zboot image" },
        { 0, BYTES("#!/bin/sh\n"), 10, "a script" },
        { 0, BYTES("vmlinuz\n"), 8, "a text file" },
        { 0, BYTES("QFI\xfb"), 100, "a qcow2 disk image; give it with --disk" },
        { 0, BYTES("070701"), 100, "a cpio archive, so probably an initrd" },
        { 0, BYTES("!<arch>\n"), 100, "a Debian package" },
        { 257, BYTES("ustar"), 1000, "a tar archive" },
        { 0, BYTES("MZ"), 100, "an EFI program" },
        { 510, BYTES("\x55\xaa"), 512, "a disk image or a boot sector" },
        { 0, BYTES("\0"), 1, "nothing that can be booted" },
        { 0,
          BYTES("\x7f"
                "EL"),
          3, "nothing that can be booted" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct foreign_file *file = &cases[i];
        struct fixture fixture;
        uint8_t bytes[1024] = { 0 };
        fixture_init(&fixture, 64 * MIB);
        memcpy(bytes + file->offset, file->bytes, file->len);
        write_file(fixture.kernel, bytes, file->size);
        assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);
        assert_said(&fixture, file->words);
        fixture_fini(&fixture);
    }
}

static void a_missing_kernel_is_named(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 64 * MIB);

    assert_int_equal(fixture_boot(&fixture, "", false), -ENOENT);

    assert_said(&fixture, fixture.kernel);
    assert_said(&fixture, "no such file");
    fixture_fini(&fixture);
}

static void an_empty_kernel_is_refused(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_file(fixture.kernel, "", 0);

    assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);

    assert_said(&fixture, "is empty");
    fixture_fini(&fixture);
}

static void a_directory_is_refused(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    assert_int_equal(mkdir(fixture.kernel, 0700), 0);

    assert_int_equal(fixture_boot(&fixture, "", false), -EISDIR);

    assert_said(&fixture, "a directory");
    assert_int_equal(rmdir(fixture.kernel), 0);
    fixture_fini(&fixture);
}

static void a_fifo_does_not_hold_us_up(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    assert_int_equal(mkfifo(fixture.kernel, 0600), 0);

    assert_int_equal(fixture_boot(&fixture, "", false), -EINVAL);

    assert_said(&fixture, "not a regular file");
    fixture_fini(&fixture);
}

static void a_kernel_for_root_only_is_refused_with_the_way_out(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_file(fixture.kernel, image.bytes, sizeof(image.bytes));
    assert_int_equal(chmod(fixture.kernel, 0), 0);
    assert_int_equal(chmod(fixture.folder, 0755), 0);
    bool is_root = geteuid() == 0;
    if (is_root)
        assert_int_equal(seteuid(65534), 0);

    int err = fixture_boot(&fixture, "", false);

    if (is_root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(err, -EACCES);
    assert_said(&fixture, "sudo install -m 644");
    fixture_fini(&fixture);
}

static void what_is_wrong_with_an_initrd_is_told_as_such(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_file(fixture.kernel, image.bytes, sizeof(image.bytes));

    assert_int_equal(fixture_boot(&fixture, "", true), -ENOENT);
    assert_said(&fixture, "initrd '/tmp/");
    write_file(fixture.initrd, "", 0);
    assert_int_equal(fixture_boot(&fixture, "", true), -ENOEXEC);
    assert_said(&fixture, "is empty");
    fixture_fini(&fixture);
}

static void no_descriptor_is_left_open(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_file(fixture.initrd, "initrd", 6);
    int before = dup(STDERR_FILENO);
    (void)close(before);

    write_file(fixture.kernel, image.bytes, sizeof(image.bytes));
    assert_int_equal(fixture_boot(&fixture, "", true), 0);
    write_file(fixture.kernel, "text", 4);
    assert_int_equal(fixture_boot(&fixture, "", true), -ENOEXEC);

    int after = dup(STDERR_FILENO);
    (void)close(after);
    assert_int_equal(after, before);
    fixture_fini(&fixture);
}

static void files_that_were_opened_are_booted_whatever_becomes_of_their_names(void **state)
{
    struct fixture fixture;
    struct test_bzimage image = bzimage_make();
    struct boot_files files;
    char moved[80];
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    write_file(fixture.kernel, image.bytes, sizeof(image.bytes));
    write_file(fixture.initrd, "initrd", 6);
    assert_int_equal(boot_files_open(fixture.kernel, fixture.initrd, &files), 0);
    const struct board board = { .ram_size = fixture.ram_size };
    const struct boot_config config = { &files, "", &board };

    assert_int_equal(unlink(fixture.initrd), 0);
    (void)snprintf(moved, sizeof(moved), "%s/other", fixture.folder);
    write_file(moved, "not a kernel", 12);
    assert_int_equal(rename(moved, fixture.kernel), 0);

    for (int boots = 0; boots < 2; boots++) {
        void *initrd = guest_mem_at(fixture.mem, 64 * MIB - 4096, 6);

        memset(initrd, 0, 6);
        assert_int_equal(boot_load(fixture.mem, &config, &fixture.entry), 0);
        assert_memory_equal(initrd, "initrd", 6);
    }
    boot_files_close(&files);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_no_kernel_are_refused_by_what_they_are),
        cmocka_unit_test(a_missing_kernel_is_named),
        cmocka_unit_test(an_empty_kernel_is_refused),
        cmocka_unit_test(a_directory_is_refused),
        cmocka_unit_test(a_fifo_does_not_hold_us_up),
        cmocka_unit_test(a_kernel_for_root_only_is_refused_with_the_way_out),
        cmocka_unit_test(what_is_wrong_with_an_initrd_is_told_as_such),
        cmocka_unit_test(no_descriptor_is_left_open),
        cmocka_unit_test(files_that_were_opened_are_booted_whatever_becomes_of_their_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

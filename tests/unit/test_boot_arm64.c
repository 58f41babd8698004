// SPDX-License-Identifier: Apache-2.0
/* What people give as a kernel to an arm64 machine, and the sentence they get for it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "boot_fixture.h"

#define BYTES(text) text, sizeof(text) - 1

static void files_that_are_no_kernel_are_refused_by_what_they_are(void **state)
{
    static const struct {
        size_t offset; /* of the bytes; zeroes before them */
        const char *bytes;
        size_t len;
        size_t size; /* of the file */
        const char *words;
    } cases[] = {
        { 0x202, BYTES("HdrS"), 1024, "an x86 kernel; this machine is arm64" },
        { 0,
          BYTES("\x7f"
                "ELF"),
          100, "an ELF file; take the Image" },
        { 0, BYTES("BZh9"), 100, "compressed with bzip2" },
        { 0, BYTES("\x04\x22\x4d\x18"), 100, "compressed with lz4" },
        { 0, BYTES("MZ"), 100, "an EFI program" },
        { 0, BYTES("vmlinuz\n"), 8, "a text file" },
        { 0, BYTES("\0"), 1, "nothing that can be booted; an arm64 Image" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        uint8_t bytes[1024] = { 0 };
        fixture_init(&fixture, 64 * MIB);
        memcpy(bytes + cases[i].offset, cases[i].bytes, cases[i].len);
        write_file(fixture.kernel, bytes, cases[i].size);
        assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);
        assert_said(&fixture, cases[i].words);
        fixture_fini(&fixture);
    }
}

static void an_image_is_taken(void **state)
{
    const uint64_t header[8] = { 0, 0, 2 * MIB, 0, 0, 0, 0, 0x644d5241 };
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 64 * MIB);
    fixture.ram_base = LAYOUT_RAM_BASE;
    write_file(fixture.kernel, header, sizeof(header));

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    assert_int_equal(fixture.entry.mode, CPU_ENTRY_ARM64);
    assert_int_equal(fixture.entry.address, LAYOUT_RAM_BASE);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_no_kernel_are_refused_by_what_they_are),
        cmocka_unit_test(an_image_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* Where in a disk image the root is found, and what becomes of the machine then. */
#include "../../src/machine/root_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"

enum { SECTOR = 512, DISK_SIZE = 1 << 20 };

struct fixture {
    struct config config;
    char folder[32];
    int fd;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;

    *f = (struct fixture){ .folder = "/tmp/hutch-image.XXXXXX" };
    *state = f;
    if (!scratch_make(f->folder) || config_init(&f->config) ||
        asprintf(&f->config.root_path, "%s/disk", f->folder) < 0)
        return -1;
    f->fd = open(f->config.root_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return f->fd < 0 || ftruncate(f->fd, DISK_SIZE);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    config_fini(&f->config);
    scratch_remove(f->folder);
    return close(f->fd);
}

static void put(const struct fixture *f, uint64_t offset, const void *data, size_t len)
{
    assert_int_equal(pwrite(f->fd, data, len, (off_t)offset), len);
}

static void put_number(const struct fixture *f, uint64_t offset, uint64_t number, size_t len)
{
    put(f, offset, &number, len); /* this test runs on little-endian machines */
}

static void put_ext4(const struct fixture *f, uint64_t start)
{
    put_number(f, start + 1024 + 56, 0xef53, 2);
}

static void put_mbr_entry(const struct fixture *f, unsigned number, uint8_t type, uint32_t first,
                          uint32_t count)
{
    uint64_t entry = 446 + (number - 1) * UINT64_C(16);

    put(f, 510, "\x55\xaa", 2);
    put_number(f, entry + 4, type, 1);
    put_number(f, entry + 8, first, 4);
    put_number(f, entry + 12, count, 4);
}

static void put_gpt(const struct fixture *f, uint32_t count, uint32_t entry_size)
{
    put_mbr_entry(f, 1, 0xee, 1, 0xffffffff);
    put(f, SECTOR, "EFI PART", 8);
    put_number(f, SECTOR + 72, 2, 8);
    put_number(f, SECTOR + 80, count, 4);
    put_number(f, SECTOR + 84, entry_size, 4);
}

static void put_gpt_entry(const struct fixture *f, unsigned number, uint64_t first, uint64_t last)
{
    uint64_t entry = UINT64_C(2) * SECTOR + (number - 1) * UINT64_C(128);

    put_number(f, entry + 32, first, 8);
    put_number(f, entry + 40, last, 8);
}

static void expect_root(struct fixture *f, const char *type, unsigned partition)
{
    assert_int_equal(root_image_take(&f->config), 0);
    if (type)
        assert_string_equal(f->config.root_type, type);
    else
        assert_null(f->config.root_type);
    assert_int_equal(f->config.root_partition, partition);
}

static void a_file_system_without_partitions_is_the_root(void **state)
{
    struct fixture *f = *state;

    put(f, 0, "XFSB", 4);
    expect_root(f, "xfs", 0);
}

static void of_an_mbr_the_largest_with_a_file_system_is_taken(void **state)
{
    struct fixture *f = *state;

    put_mbr_entry(f, 1, 0x83, 16, 64);
    put_mbr_entry(f, 2, 0x83, 128, 128);
    put_mbr_entry(f, 3, 0x83, 512, 1024); /* swap, say */
    put_ext4(f, UINT64_C(16) * SECTOR);
    put_ext4(f, UINT64_C(128) * SECTOR);
    expect_root(f, "ext4", 2);
}

static void a_gpt_is_read_where_the_mbr_says_so(void **state)
{
    struct fixture *f = *state;

    put_gpt(f, 128, 128);
    put_gpt_entry(f, 1, 64, 127);
    put_gpt_entry(f, 15, 128, 1023);
    put_ext4(f, UINT64_C(128) * SECTOR);
    expect_root(f, "ext4", 15);
}

static void a_table_that_makes_no_sense_has_no_root(void **state)
{
    struct fixture *f = *state;

    put_gpt(f, 0xffffffff, 128);
    put_gpt_entry(f, 1, UINT64_MAX - 1, UINT64_MAX);
    put_gpt_entry(f, 2, 100, 99);
    put_gpt_entry(f, 3, 0, UINT64_MAX);
    put_number(f, SECTOR + 72, UINT64_MAX, 8);
    expect_root(f, NULL, 0);
}

static void entries_of_a_strange_size_are_not_read(void **state)
{
    struct fixture *f = *state;

    put_gpt(f, 128, 1);
    put_gpt_entry(f, 1, 128, 1023);
    put_ext4(f, UINT64_C(128) * SECTOR);
    expect_root(f, NULL, 0);
}

static void without_a_command_the_image_boots_by_itself(void **state)
{
    struct fixture *f = *state;

    put_ext4(f, 0);
    f->config.append = strdup("quiet");
    expect_root(f, "ext4", 0);

    assert_true(f->config.initrd_auto);
    assert_string_equal(f->config.append, "root=/dev/vda rw rootfstype=ext4 quiet");
    assert_false(f->config.disks[0].read_only);
}

static void with_a_command_it_is_only_read_and_comes_first(void **state)
{
    struct fixture *f = *state;
    char *command[] = { NULL };

    put_ext4(f, 0);
    f->config.command = command;
    f->config.disks[f->config.disk_count++].path = strdup("other");
    expect_root(f, "ext4", 0);

    assert_true(f->config.disks[0].read_only);
    assert_string_equal(f->config.disks[0].path, f->config.root_path);
    assert_string_equal(f->config.disks[1].path, "other");
    assert_null(f->config.append);
    assert_false(f->config.initrd_auto);
}

#define IMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IMAGE_TEST(a_file_system_without_partitions_is_the_root),
        IMAGE_TEST(of_an_mbr_the_largest_with_a_file_system_is_taken),
        IMAGE_TEST(a_gpt_is_read_where_the_mbr_says_so),
        IMAGE_TEST(a_table_that_makes_no_sense_has_no_root),
        IMAGE_TEST(entries_of_a_strange_size_are_not_read),
        IMAGE_TEST(without_a_command_the_image_boots_by_itself),
        IMAGE_TEST(with_a_command_it_is_only_read_and_comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

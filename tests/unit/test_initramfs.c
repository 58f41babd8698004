// SPDX-License-Identifier: Apache-2.0
/* Archives made in memory, read back as the kernel does: header by header. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/initramfs.h"
#include "boot/modules.h"
#include "host/fd.h"
#include "scratch.h"

enum { HEADER_LEN = 110, ENTRY_MAX = 16 };

struct entry {
    char name[64];
    unsigned inode, mode, size, major, minor;
    const uint8_t *data;
};

struct archive {
    uint8_t *bytes;
    size_t len, at;
    struct entry entries[ENTRY_MAX];
    size_t count;
};

static struct initramfs *create(int base)
{
    struct initramfs *initramfs = NULL;

    assert_int_equal(initramfs_create(base, &initramfs), 0);
    return initramfs;
}

/* A field of eight hexadecimal digits, counted from 0 behind the magic number. */
static unsigned field(const uint8_t *header, unsigned number)
{
    char text[9] = { 0 };

    memcpy(text, header + 6 + 8 * (size_t)number, 8);
    return (unsigned)strtoul(text, NULL, 16);
}

static size_t align(size_t at)
{
    return (at + 3) & ~(size_t)3;
}

/* Reads one entry; false at the trailer. */
static bool read_entry(struct archive *archive)
{
    const uint8_t *header = archive->bytes + archive->at;
    struct entry *entry = &archive->entries[archive->count];

    assert_int_equal(archive->at % 4, 0);
    assert_true(archive->at + HEADER_LEN < archive->len);
    assert_memory_equal(header, "070701", 6);
    unsigned name_size = field(header, 11);
    assert_true(name_size > 0 && name_size <= sizeof(entry->name));
    memcpy(entry->name, header + HEADER_LEN, name_size);
    assert_int_equal(entry->name[name_size - 1], '\0');
    entry->inode = field(header, 0);
    entry->mode = field(header, 1);
    entry->size = field(header, 6);
    entry->major = field(header, 9);
    entry->minor = field(header, 10);
    size_t data = align(archive->at + HEADER_LEN + name_size);
    assert_true(data + entry->size <= archive->len);
    entry->data = archive->bytes + data;
    archive->at = align(data + entry->size);
    return strcmp(entry->name, "TRAILER!!!") != 0;
}

/* Ends the archive and reads it, from @skip on. */
static void finish(struct initramfs *initramfs, size_t skip, struct archive *archive)
{
    int fd = -1;
    struct stat st;

    assert_int_equal(initramfs_finish(initramfs, &fd), 0);
    initramfs_destroy(initramfs);
    assert_int_equal(fstat(fd, &st), 0);
    *archive = (struct archive){ .bytes = malloc((size_t)st.st_size), .len = (size_t)st.st_size };
    assert_non_null(archive->bytes);
    assert_int_equal(fd_pread_full(fd, archive->bytes, archive->len, 0), 0);
    archive->at = skip;
    while (read_entry(archive))
        assert_true(++archive->count < ENTRY_MAX);
    assert_int_equal(archive->at, archive->len);
    fd_close(&fd);
}

static void folders_files_links_and_the_console_are_there(void **state)
{
    struct initramfs *initramfs = create(-1);
    struct archive archive;
    (void)state;

    assert_int_equal(initramfs_add_console(initramfs), 0);
    assert_int_equal(initramfs_add_folder(initramfs, "bin", 0750), 0);
    assert_int_equal(initramfs_add_file(initramfs, "init", 0755, "hello", 5), 0);
    assert_int_equal(initramfs_add_file(initramfs, "empty", 0600, NULL, 0), 0);
    assert_int_equal(initramfs_add_link(initramfs, "bin/sh", "/init"), 0);
    finish(initramfs, 0, &archive);

    const struct entry *entries = archive.entries;
    assert_int_equal(archive.count, 6);
    assert_string_equal(entries[0].name, "dev");
    assert_int_equal(entries[0].mode, S_IFDIR | 0755);
    assert_string_equal(entries[1].name, "dev/console");
    assert_int_equal(entries[1].mode, S_IFCHR | 0600);
    assert_int_equal(entries[1].major, 5);
    assert_int_equal(entries[1].minor, 1);
    assert_int_equal(entries[2].mode, S_IFDIR | 0750);
    assert_int_equal(entries[3].mode, S_IFREG | 0755);
    assert_int_equal(entries[3].size, 5);
    assert_memory_equal(entries[3].data, "hello", 5);
    assert_int_equal(entries[4].size, 0);
    assert_int_equal(entries[5].mode, S_IFLNK | 0777);
    assert_int_equal(entries[5].size, 5);
    assert_memory_equal(entries[5].data, "/init", 5);
    free(archive.bytes);
}

/* The kernel takes files of one number for links to each other. */
static void every_file_has_a_number_of_its_own(void **state)
{
    struct initramfs *initramfs = create(-1);
    struct archive archive;
    (void)state;
    assert_int_equal(initramfs_add_file(initramfs, "a", 0600, "1", 1), 0);
    assert_int_equal(initramfs_add_file(initramfs, "b", 0600, "2", 1), 0);

    finish(initramfs, 0, &archive);

    assert_int_not_equal(archive.entries[0].inode, archive.entries[1].inode);
    free(archive.bytes);
}

static void names_and_data_of_any_length_keep_it_aligned(void **state)
{
    struct initramfs *initramfs = create(-1);
    struct archive archive;
    (void)state;

    for (size_t len = 1; len < 10; len++)
        assert_int_equal(
            initramfs_add_file(initramfs, &"namenamen"[9 - len], 0600, "datadata", len - 1), 0);
    finish(initramfs, 0, &archive);

    assert_int_equal(archive.count, 9);
    free(archive.bytes);
}

static void the_users_initrd_comes_first_as_it_is(void **state)
{
    int base = memfd_create("base", MFD_CLOEXEC);
    struct archive archive;
    (void)state;
    assert_true(base >= 0);
    assert_int_equal(fd_write_full(base, "\x1f\x8bzipped", 9), 0);
    struct initramfs *initramfs = create(base);
    assert_int_equal(initramfs_add_file(initramfs, "a", 0600, "1", 1), 0);

    finish(initramfs, 12, &archive);

    assert_memory_equal(archive.bytes, "\x1f\x8bzipped\0\0\0", 12);
    assert_int_equal(archive.count, 1);
    fd_close(&base);
    free(archive.bytes);
}

static void an_initrd_that_is_no_file_is_refused(void **state)
{
    struct initramfs *initramfs;
    AUTO_CLOSE int base = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)state;

    assert_int_equal(initramfs_create(base, &initramfs), -EINVAL);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void modules_are_there_with_their_order(void **state)
{
    char folder[] = "/tmp/hutch-initramfs.XXXXXX";
    struct initramfs *initramfs = create(-1);
    struct modules *modules;
    struct archive archive;
    (void)state;
    assert_non_null(scratch_make(folder));
    write_file(folder, "modules.dep", "one-a.ko: two.ko\ntwo.ko:\n");
    write_file(folder, "one-a.ko", "1");
    write_file(folder, "two.ko", "22");
    assert_int_equal(modules_open(folder, &modules), 0);
    assert_int_equal(modules_want(modules, "one_a"), MODULE_PLANNED);

    assert_int_equal(initramfs_add_modules(initramfs, modules), 0);
    finish(initramfs, 0, &archive);

    assert_int_equal(archive.count, 4);
    assert_string_equal(archive.entries[1].name, "modules/two.ko");
    assert_memory_equal(archive.entries[1].data, "22", 2);
    assert_string_equal(archive.entries[2].name, "modules/one-a.ko");
    assert_string_equal(archive.entries[3].name, "modules/order");
    assert_int_equal(archive.entries[3].size, 16);
    assert_memory_equal(archive.entries[3].data, "two.ko\none-a.ko\n", 16);
    modules_close(modules);
    free(archive.bytes);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_files_links_and_the_console_are_there),
        cmocka_unit_test(every_file_has_a_number_of_its_own),
        cmocka_unit_test(names_and_data_of_any_length_keep_it_aligned),
        cmocka_unit_test(the_users_initrd_comes_first_as_it_is),
        cmocka_unit_test(an_initrd_that_is_no_file_is_refused),
        cmocka_unit_test(modules_are_there_with_their_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

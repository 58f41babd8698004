// SPDX-License-Identifier: Apache-2.0
/* A boot for tests: files in a folder of their own, guest RAM without KVM, and the words that
 * boot_load() had for what it refused.
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

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/boot.h"
#include "boot/image.h"
#include "mem/layout.h"
#include "scratch.h"

struct fixture {
    struct guest_mem *mem;
    bool has_fdt;
    int fdt_fd;
    const struct boot_loader *loader; /* NULL: the one of this architecture for the file */
    uint64_t ram_base, ram_size;
    uint64_t page_sizes; /* of the CPUs; 0: not known */
    char folder[32], kernel[64], initrd[64];
    char said[4096]; /* to stderr, by the last fixture_boot() */
    struct cpu_entry entry;
    int unpacked_fd; /* the kernel that was in the image; -1: it was not unpacked */
};

static void fixture_prepare(struct fixture *fixture, uint64_t ram_size)
{
    *fixture = (struct fixture){
        .ram_size = ram_size, .fdt_fd = -1, .unpacked_fd = -1, .folder = "/tmp/hutch-boot.XXXXXX"
    };
    assert_non_null(scratch_make(fixture->folder));
    (void)snprintf(fixture->kernel, sizeof(fixture->kernel), "%s/kernel", fixture->folder);
    (void)snprintf(fixture->initrd, sizeof(fixture->initrd), "%s/initrd", fixture->folder);
    assert_int_equal(guest_mem_create(GUEST_MEM_PRIVATE, &fixture->mem), 0);
}

/* With RAM as a PC has it. */
static inline void fixture_init(struct fixture *fixture, uint64_t ram_size)
{
    fixture_prepare(fixture, ram_size);
    assert_int_equal(layout_add_ram(fixture->mem, ram_size), 0);
}

/* With RAM in one piece, and another region in front of it that is none. */
static inline void fixture_init_at(struct fixture *fixture, uint64_t ram_base, uint64_t ram_size)
{
    fixture_prepare(fixture, ram_size);
    fixture->ram_base = ram_base;
    assert_int_equal(guest_mem_add(fixture->mem, 1 * MIB, 1 * MIB), 0);
    assert_int_equal(guest_mem_add(fixture->mem, ram_base, ram_size), 0);
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

/* As boot_load(), with the loader that the test chose. */
static int fixture_load(struct fixture *fixture, const struct boot_config *config)
{
    const struct boot_files *files = config->files;
    struct boot_job job = {
        .mem = fixture->mem,
        .cmdline = config->cmdline,
        .board = config->board,
        .has_fdt = config->has_fdt,
        .fdt_fd = config->fdt_fd,
        .initrd = { .fd = -1 },
        .unpacked_fd = files->unpacked_fd,
    };
    int err = boot_file_examine("kernel", files->kernel, files->kernel_fd, &job.kernel);

    if (!err && files->initrd_fd >= 0)
        err = boot_file_examine("initrd", files->initrd, files->initrd_fd, &job.initrd);
    if (err)
        return err;
    assert_true(fixture->loader->recognises(&job.kernel));
    return fixture->loader->load(&job, &fixture->entry);
}

static int fixture_boot_files(struct fixture *fixture, const char *cmdline, bool has_initrd)
{
    const struct board board = {
        .ram_base = fixture->ram_base,
        .ram_size = fixture->ram_size,
        .page_sizes = fixture->page_sizes,
    };
    struct boot_files files;
    struct boot_config config = {
        .files = &files,
        .cmdline = cmdline,
        .board = &board,
        .has_fdt = fixture->has_fdt,
        .fdt_fd = fixture->fdt_fd,
    };
    int err = boot_files_open(fixture->kernel, has_initrd ? fixture->initrd : NULL, &files);

    if (err)
        return err;
    if (fixture->unpacked_fd >= 0)
        files.unpacked_fd = fcntl(fixture->unpacked_fd, F_DUPFD_CLOEXEC, 3);
    err = fixture->loader ? fixture_load(fixture, &config)
                          : boot_load(fixture->mem, &config, &fixture->entry);
    boot_files_close(&files);
    return err;
}

/* Boots fixture->kernel (and fixture->initrd, if @has_initrd), keeping what is said. */
static int fixture_boot(struct fixture *fixture, const char *cmdline, bool has_initrd)
{
    int words = memfd_create("stderr", MFD_CLOEXEC), real = dup(STDERR_FILENO);

    assert_true(words >= 0 && real >= 0);
    assert_true(dup2(words, STDERR_FILENO) >= 0);
    int err = fixture_boot_files(fixture, cmdline, has_initrd);
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
static inline void assert_said_at(const struct fixture *fixture, const char *words,
                                  const char *file, int line)
{
    const char *end = strchr(fixture->said, '\n');

    if (strncmp(fixture->said, "hutch: ", 7) == 0 && end && end[1] == '\0' &&
        strstr(fixture->said, words))
        return;
    print_error("said: %s", fixture->said);
    _fail(file, line);
}

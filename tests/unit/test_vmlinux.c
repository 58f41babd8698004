// SPDX-License-Identifier: Apache-2.0
/* A kernel that was unpacked from its bzImage: loaded, moved by a random distance, or, if it is not
 * what it should be, left to the image itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <zlib.h>

#include "boot_fixture.h"
#include "boot_images.h"
#include "host/fd.h"

#define LINKED UINT64_C(0xffffffff81000000) /* BZIMAGE_PLACE in virtual memory */
#define VIRTUAL_END UINT64_C(0x40000000)    /* bytes behind where virtual memory begins */

enum { ALIGN = 2 << 20, SEGMENT_SIZE = 0x100, BSS_SIZE = 0x1000, WORDS_MAX = 16 };
enum { ENTRY = 0x10, ABSOLUTE_64 = 0x20, INVERSE_32 = 0x40, ABSOLUTE_32 = 0x60 };
enum { SECOND = 0x10000 }; /* of the segments, from the first */

/* The ELF file, whose section header is empty and its end, and what lies behind it. */
struct kernel {
    Elf64_Ehdr header;
    Elf64_Phdr segments[3];
    uint8_t code[SEGMENT_SIZE], data[SEGMENT_SIZE];
    Elf64_Shdr section;
    int32_t words[WORDS_MAX];
    size_t word_count;
};

static void put_64(struct kernel *kernel, size_t offset, uint64_t value)
{
    memcpy(kernel->code + offset, &value, sizeof(value));
}

static int32_t linked(size_t offset)
{
    return (int32_t)(LINKED + offset);
}

static struct kernel kernel_make(void)
{
    struct kernel kernel = { .header = {
                                 .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                                              ELFDATA2LSB, EV_CURRENT },
                                 .e_type = ET_EXEC,
                                 .e_machine = EM_X86_64,
                                 .e_entry = BZIMAGE_PLACE + ENTRY,
                                 .e_phoff = offsetof(struct kernel, segments),
                                 .e_phentsize = sizeof(Elf64_Phdr),
                                 .e_phnum = 3,
                                 .e_shoff = offsetof(struct kernel, section),
                                 .e_shentsize = sizeof(Elf64_Shdr),
                                 .e_shnum = 1,
                             } };

    kernel.segments[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
                                       .p_offset = offsetof(struct kernel, code),
                                       .p_paddr = BZIMAGE_PLACE,
                                       .p_filesz = SEGMENT_SIZE,
                                       .p_memsz = SEGMENT_SIZE };
    kernel.segments[1] = (Elf64_Phdr){ .p_type = PT_NOTE };
    kernel.segments[2] = (Elf64_Phdr){ .p_type = PT_LOAD,
                                       .p_offset = offsetof(struct kernel, data),
                                       .p_paddr = BZIMAGE_PLACE + SECOND,
                                       .p_filesz = SEGMENT_SIZE,
                                       .p_memsz = SEGMENT_SIZE + BSS_SIZE };
    memset(kernel.code, 'c', SEGMENT_SIZE);
    memset(kernel.data, 'd', SEGMENT_SIZE);
    put_64(&kernel, ABSOLUTE_64, LINKED + 0x1234);
    put_64(&kernel, INVERSE_32, 0x80000000);
    put_64(&kernel, ABSOLUTE_32, 0x81000055);
    return kernel;
}

static void add_tables(struct kernel *kernel)
{
    const int32_t words[] = {
        0, linked(ABSOLUTE_64), 0, linked(INVERSE_32), 0, linked(ABSOLUTE_32)
    };

    memcpy(kernel->words, words, sizeof(words));
    kernel->word_count = sizeof(words) / sizeof(words[0]);
}

static size_t file_size(const struct kernel *kernel)
{
    return offsetof(struct kernel, words) + kernel->word_count * sizeof(kernel->words[0]);
}

static void give(struct fixture *fixture, const struct kernel *kernel)
{
    struct test_bzimage image = bzimage_make();

    write_file(fixture->kernel, image.bytes, sizeof(image.bytes));
    fixture->unpacked_fd = memfd_create("vmlinux", MFD_CLOEXEC);
    assert_true(fixture->unpacked_fd >= 0);
    assert_int_equal(fd_write_full(fixture->unpacked_fd, kernel, file_size(kernel)), 0);
}

/* Boots @kernel, or its image, on a machine of its own. */
static void boot(struct fixture *fixture, const struct kernel *kernel, uint64_t ram_size,
                 const char *cmdline)
{
    fixture_init(fixture, ram_size);
    give(fixture, kernel);
    assert_int_equal(fixture_boot(fixture, cmdline, false), 0);
    assert_string_equal(fixture->said, "");
}

static void end(struct fixture *fixture)
{
    fd_close(&fixture->unpacked_fd);
    fixture_fini(fixture);
}

static const struct boot_params *zero_page(const struct fixture *fixture)
{
    return guest_mem_at(fixture->mem, LAYOUT_BOOT_PARAMS, sizeof(struct boot_params));
}

static bool is_told_to_be_moved(const struct fixture *fixture)
{
    return zero_page(fixture)->hdr.loadflags & KASLR_FLAG;
}

static uint64_t word_at(const struct fixture *fixture, uint64_t offset, size_t width)
{
    uint64_t value = 0;
    const uint64_t start = fixture->entry.address - ENTRY;

    assert_int_equal(guest_mem_read(fixture->mem, start + offset, &value, width), 0);
    return value;
}

static void assert_in_place(const struct fixture *fixture)
{
    assert_int_equal(fixture->entry.mode, CPU_ENTRY_LONG);
    assert_int_equal(fixture->entry.argument, LAYOUT_BOOT_PARAMS);
    assert_int_equal(fixture->entry.address, BZIMAGE_PLACE + ENTRY);
    assert_int_equal(word_at(fixture, ABSOLUTE_64, 8), LINKED + 0x1234);
    assert_int_equal(word_at(fixture, INVERSE_32, 4), 0x80000000);
    assert_int_equal(word_at(fixture, ABSOLUTE_32, 4), 0x81000055);
    assert_false(is_told_to_be_moved(fixture));
}

static void assert_its_image_was_loaded(const struct kernel *kernel)
{
    struct fixture fixture;

    boot(&fixture, kernel, 64 * MIB, "");
    assert_int_equal(fixture.entry.address, BZIMAGE_PLACE + 0x200);
    assert_int_equal(*(char *)guest_mem_at(fixture.mem, BZIMAGE_PLACE, 1), 'c');
    assert_false(is_told_to_be_moved(&fixture));
    end(&fixture);
}

/* --- where it lies --- */

static void a_kernel_without_tables_lies_where_it_was_linked_to(void **state)
{
    struct kernel kernel = kernel_make();
    struct fixture fixture;
    (void)state;

    boot(&fixture, &kernel, 64 * MIB, "");

    assert_in_place(&fixture);
    assert_int_equal(word_at(&fixture, SECOND, 1), 'd');
    assert_int_equal(word_at(&fixture, SECOND + SEGMENT_SIZE, 1), 0);
    assert_int_equal(zero_page(&fixture)->hdr.version, 0x20f);
    end(&fixture);
}

static void nokaslr_keeps_it_there(void **state)
{
    struct kernel kernel = kernel_make();
    struct fixture fixture;
    (void)state;
    add_tables(&kernel);

    boot(&fixture, &kernel, 64 * MIB, "quiet nokaslr");

    assert_in_place(&fixture);
    end(&fixture);
}

static void assert_moved(const struct fixture *fixture)
{
    uint64_t distance = word_at(fixture, ABSOLUTE_64, 8) - LINKED - 0x1234;
    uint64_t start = fixture->entry.address - ENTRY;

    assert_true(is_told_to_be_moved(fixture));
    assert_int_equal(distance % ALIGN, 0);
    assert_true(BZIMAGE_PLACE + distance + BZIMAGE_INIT_SIZE <= VIRTUAL_END);
    assert_int_equal(word_at(fixture, INVERSE_32, 4), (uint32_t)(0x80000000 - distance));
    assert_int_equal(word_at(fixture, ABSOLUTE_32, 4), (uint32_t)(0x81000055 + distance));
    assert_int_equal(word_at(fixture, SECOND, 1), 'd');
    assert_int_equal(start % ALIGN, 0);
    assert_true(start >= BZIMAGE_PLACE);
    assert_true(start + BZIMAGE_INIT_SIZE <= fixture->ram_size);
}

static void a_kernel_with_tables_is_moved_somewhere(void **state)
{
    struct kernel kernel = kernel_make();
    bool differs = false, differs_in_memory = false;
    uint64_t first = 0, first_entry = 0;
    (void)state;
    add_tables(&kernel);

    for (int i = 0; i < 20; i++) {
        struct fixture fixture;
        boot(&fixture, &kernel, 256 * MIB, "");
        assert_moved(&fixture);
        uint64_t value = word_at(&fixture, ABSOLUTE_64, 8);
        differs |= i > 0 && value != first;
        differs_in_memory |= i > 0 && fixture.entry.address != first_entry;
        first = value;
        first_entry = fixture.entry.address;
        end(&fixture);
    }

    assert_true(differs);
    assert_true(differs_in_memory);
}

/* As Linux has it from 6.15 on. */
static void there_may_be_no_table_of_inverse_ones(void **state)
{
    struct kernel kernel = kernel_make();
    struct fixture fixture;
    (void)state;
    const int32_t words[] = { 0, linked(ABSOLUTE_64), 0, linked(ABSOLUTE_32) };
    memcpy(kernel.words, words, sizeof(words));
    kernel.word_count = 4;

    boot(&fixture, &kernel, 64 * MIB, "");

    uint64_t distance = word_at(&fixture, ABSOLUTE_64, 8) - LINKED - 0x1234;
    assert_int_equal(word_at(&fixture, ABSOLUTE_32, 4), (uint32_t)(0x81000055 + distance));
    assert_int_equal(word_at(&fixture, INVERSE_32, 4), 0x80000000);
    assert_true(is_told_to_be_moved(&fixture));
    end(&fixture);
}

static void the_initrd_has_room_above_it(void **state)
{
    enum { INITRD_SIZE = 30 << 20 };
    struct kernel kernel = kernel_make();
    (void)state;
    add_tables(&kernel);

    for (int i = 0; i < 20; i++) {
        struct fixture fixture;
        fixture_init(&fixture, 64 * MIB);
        give(&fixture, &kernel);
        write_sparse_file(fixture.initrd, INITRD_SIZE);
        assert_int_equal(fixture_boot(&fixture, "", true), 0);

        assert_moved(&fixture);
        uint64_t end_of_kernel = fixture.entry.address - ENTRY + BZIMAGE_INIT_SIZE;
        assert_true(zero_page(&fixture)->hdr.ramdisk_image >= end_of_kernel);
        end(&fixture);
    }
}

static void without_room_it_stays_where_it_is_in_memory(void **state)
{
    struct kernel kernel = kernel_make();
    struct fixture fixture;
    (void)state;
    add_tables(&kernel);

    boot(&fixture, &kernel, 20 * MIB, "");

    assert_int_equal(fixture.entry.address, BZIMAGE_PLACE + ENTRY);
    assert_moved(&fixture);
    end(&fixture);
}

/* --- what cannot be loaded --- */

static void what_is_no_kernel_is_left_alone(void **state)
{
    struct kernel kernel = kernel_make();
    (void)state;

    kernel.header.e_ident[EI_CLASS] = ELFCLASS32;
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.header.e_phnum = 17;
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.header.e_entry = BZIMAGE_PLACE + SECOND + SEGMENT_SIZE + BSS_SIZE;
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.segments[0].p_type = kernel.segments[2].p_type = PT_NOTE;
    assert_its_image_was_loaded(&kernel);
}

static void segments_elsewhere_are_left_alone(void **state)
{
    struct kernel kernel = kernel_make();
    (void)state;

    kernel.segments[2].p_paddr = BZIMAGE_PLACE + SEGMENT_SIZE - 1; /* they overlap */
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.segments[0].p_paddr = BZIMAGE_PLACE - ALIGN;
    kernel.header.e_entry = BZIMAGE_PLACE - ALIGN;
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.segments[2].p_memsz = BZIMAGE_INIT_SIZE - SECOND + 1;
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.segments[2].p_paddr = UINT64_MAX - 1;
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.segments[2].p_filesz = kernel.segments[2].p_memsz + 1;
    assert_its_image_was_loaded(&kernel);
    kernel = kernel_make();
    kernel.segments[0].p_offset = UINT64_MAX - 10;
    assert_its_image_was_loaded(&kernel);
}

static void tables_that_make_no_sense_are_left_alone(void **state)
{
    static const int32_t bad[][5] = { { 1 }, { 0 }, { 1, 0 }, { 0, 0, 0, 0 } };
    static const size_t counts[] = { 1, 1, 2, 4 };
    struct kernel kernel = kernel_make();
    (void)state;

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        memcpy(kernel.words, bad[i], sizeof(bad[i]));
        kernel.word_count = counts[i];
        assert_its_image_was_loaded(&kernel);
    }
    add_tables(&kernel);
    kernel.words[5] = linked(SECOND + SEGMENT_SIZE + BSS_SIZE - 7); /* of 8 bytes */
    assert_its_image_was_loaded(&kernel);
    kernel.words[5] = linked(0) - 1;
    assert_its_image_was_loaded(&kernel);
    kernel.header.e_shoff = UINT64_MAX - 10;
    assert_its_image_was_loaded(&kernel);
}

static void what_is_cut_off_is_left_alone(void **state)
{
    struct kernel kernel = kernel_make();
    struct fixture fixture;
    (void)state;
    add_tables(&kernel);

    for (size_t size = 0; size < offsetof(struct kernel, words); size += 16) {
        fixture_init(&fixture, 64 * MIB);
        give(&fixture, &kernel);
        assert_int_equal(ftruncate(fixture.unpacked_fd, (off_t)size), 0);
        assert_int_equal(fixture_boot(&fixture, "", false), 0);
        assert_int_equal(fixture.entry.address, BZIMAGE_PLACE + 0x200);
        end(&fixture);
    }
}

/* --- unpacking --- */

static void pack(struct test_bzimage *image, const struct kernel *kernel)
{
    enum { PAYLOAD = 64 };
    z_stream stream = { .next_in = (uint8_t *)(uintptr_t)kernel,
                        .avail_in = (uInt)file_size(kernel),
                        .next_out = image->bytes + BZIMAGE_SETUP_SIZE + PAYLOAD,
                        .avail_out = BZIMAGE_CODE_SIZE - PAYLOAD };

    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    image->header.payload_offset = PAYLOAD;
    image->header.payload_length = (uint32_t)stream.total_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
}

/* Returns the file of what was unpacked, or -1. */
static int unpack_image(const struct fixture *fixture, const char *folder)
{
    const struct file_cache cache = { folder, ".vmlinux", 4 };
    struct boot_files files;
    int fd = -1;

    assert_int_equal(boot_files_open(fixture->kernel, NULL, &files), 0);
    boot_files_unpack(&files, &cache);
    if (files.unpacked_fd >= 0)
        fd = fcntl(files.unpacked_fd, F_DUPFD_CLOEXEC, 3);
    boot_files_close(&files);
    return fd;
}

static void what_is_in_an_image_is_unpacked_and_kept(void **state)
{
    struct kernel kernel = kernel_make();
    struct test_bzimage image = bzimage_make();
    struct fixture fixture;
    char folder[64];
    struct stat first, second;
    (void)state;
    add_tables(&kernel);
    pack(&image, &kernel);
    fixture_init(&fixture, 64 * MIB);
    (void)snprintf(folder, sizeof(folder), "%s/cache", fixture.folder);
    write_file(fixture.kernel, image.bytes, sizeof(image.bytes));

    AUTO_CLOSE int fd = unpack_image(&fixture, folder);
    AUTO_CLOSE int again = unpack_image(&fixture, folder);

    assert_true(fd >= 0 && again >= 0);
    assert_int_equal(fstat(fd, &first) | fstat(again, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(first.st_size, file_size(&kernel));
    fixture.unpacked_fd = fd;
    assert_int_equal(fixture_boot(&fixture, "nokaslr", false), 0);
    assert_in_place(&fixture);
    scratch_remove(folder);
    fixture_fini(&fixture);
}

static void what_cannot_be_unpacked_is_not_kept(void **state)
{
    struct kernel kernel = kernel_make();
    struct test_bzimage good = bzimage_make();
    struct fixture fixture;
    char folder[64];
    (void)state;
    pack(&good, &kernel);
    fixture_init(&fixture, 64 * MIB);
    (void)snprintf(folder, sizeof(folder), "%s/cache", fixture.folder);
    const uint32_t len = good.header.payload_length;
    const struct {
        uint32_t offset, length;
    } payloads[] = { { 64, 0 },   { 64, len - 4 },     { 64, len + 4 },
                     { 63, len }, { UINT32_MAX, len }, { 64, UINT32_MAX } };

    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        struct test_bzimage image = good;
        image.header.payload_offset = payloads[i].offset;
        image.header.payload_length = payloads[i].length;
        write_file(fixture.kernel, image.bytes, sizeof(image.bytes));
        assert_int_equal(unpack_image(&fixture, folder), -1);
    }
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(unpack_image(&fixture, NULL), -1);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_without_tables_lies_where_it_was_linked_to),
        cmocka_unit_test(nokaslr_keeps_it_there),
        cmocka_unit_test(a_kernel_with_tables_is_moved_somewhere),
        cmocka_unit_test(there_may_be_no_table_of_inverse_ones),
        cmocka_unit_test(the_initrd_has_room_above_it),
        cmocka_unit_test(without_room_it_stays_where_it_is_in_memory),
        cmocka_unit_test(what_is_no_kernel_is_left_alone),
        cmocka_unit_test(segments_elsewhere_are_left_alone),
        cmocka_unit_test(tables_that_make_no_sense_are_left_alone),
        cmocka_unit_test(what_is_cut_off_is_left_alone),
        cmocka_unit_test(what_is_in_an_image_is_unpacked_and_kept),
        cmocka_unit_test(what_cannot_be_unpacked_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* The requests of a disk's driver, however they are cut, and however wrong they are. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blk_bench.h"
#include "log_capture.h"

/* --- a disk and its driver --- */

static uint8_t disk_do_buffers(struct disk *disk, const struct driver_buffer *buffers,
                               unsigned count)
{
    driver_add_indirect(disk->queue, buffers, count);
    return disk_finish(disk, NULL);
}

static uint8_t image_byte(uint64_t sector, unsigned offset)
{
    uint8_t byte;

    image_read(image, (off_t)(sector * SECTOR + offset), &byte, 1);
    return byte;
}

static uint8_t sector_fill(uint64_t sector)
{
    return (uint8_t)(sector % 250 + 1);
}

/* --- reading and writing a file --- */

static void reads_what_the_file_has(void **state)
{
    struct disk disk;
    uint32_t written;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, 4 * SECTOR);
    const uint8_t *data = driver_at(&disk.driver, gpa, 4 * SECTOR);

    disk_add(&disk, 0, VIRTIO_BLK_T_IN, SECTORS - 4, gpa, 4 * SECTOR);
    assert_int_equal(disk_finish(&disk, &written), VIRTIO_BLK_S_OK);

    assert_int_equal(written, 4 * SECTOR + 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(data[i * SECTOR], sector_fill(SECTORS - 4 + i));
    disk_close(&disk);
}

static void what_it_writes_is_in_the_file(void **state)
{
    struct disk disk;
    uint32_t written;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, 2 * SECTOR);
    memset(driver_at(&disk.driver, gpa, 2 * SECTOR), 0xab, 2 * SECTOR);

    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 10, gpa, 2 * SECTOR);
    assert_int_equal(disk_finish(&disk, &written), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);

    assert_int_equal(written, 1);
    assert_int_equal(image_byte(9, 511), sector_fill(9));
    assert_int_equal(image_byte(10, 0), 0xab);
    assert_int_equal(image_byte(11, 511), 0xab);
    assert_int_equal(image_byte(12, 0), sector_fill(12));
    disk_close(&disk);
}

static void discards_and_writes_zeroes_in_several_ranges(void **state)
{
    const struct virtio_blk_discard_write_zeroes ranges[] = {
        { htole64(0), htole32(8), 0 },
        { htole64(100), htole32(1), 0 },
        { htole64(SECTORS - 16), htole32(16), 0 },
    };
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);

    assert_int_equal(disk_do_ranges(&disk, VIRTIO_BLK_T_WRITE_ZEROES, ranges, sizeof(ranges)),
                     VIRTIO_BLK_S_OK);
    assert_int_equal(
        disk_do_range(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 200, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
        VIRTIO_BLK_S_OK);
    assert_int_equal(image_byte(0, 0), 0);
    assert_int_equal(image_byte(7, 511), 0);
    assert_int_equal(image_byte(8, 0), sector_fill(8));
    assert_int_equal(image_byte(100, 0), 0);
    assert_int_equal(image_byte(101, 0), sector_fill(101));
    assert_int_equal(image_byte(SECTORS - 1, 511), 0);
    assert_int_equal(image_byte(207, 511), 0);
    if (disk.driver.vdev->device_features & FEATURE(VIRTIO_BLK_F_DISCARD)) {
        assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, 1000, 800, 0), VIRTIO_BLK_S_OK);
        assert_int_equal(image_byte(999, 511), sector_fill(999));
        assert_int_equal(image_byte(1000, 0), 0);
    }
    disk_close(&disk);
}

static void a_read_only_disk_is_not_written(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, true);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    memset(driver_at(&disk.driver, gpa, SECTOR_SIZE), 0xab, SECTOR_SIZE);

    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, gpa, SECTOR_SIZE), VIRTIO_BLK_S_OK);
    assert_int_equal(image_byte(0, 0), sector_fill(0));
    disk_close(&disk);
}

static void a_file_that_shrank_gives_errors_and_no_more(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    assert_int_equal(truncate(image, 100 * SECTOR), 0);

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 100 + i, gpa, SECTOR_SIZE),
                         VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 99, gpa, SECTOR_SIZE), VIRTIO_BLK_S_OK);
    disk_close(&disk);
}

/* --- layouts: a driver may cut a request as it likes (2.7.4) --- */

static void the_header_may_come_in_single_bytes(void **state)
{
    struct driver_buffer buffers[18];
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t header = put_header(&disk, VIRTIO_BLK_T_IN, 5);
    gpa_t data = driver_alloc(&disk.driver, SECTOR_SIZE);
    for (unsigned i = 0; i < 16; i++)
        buffers[i] = (struct driver_buffer){ header + i, 1, false };
    buffers[16] = (struct driver_buffer){ data, SECTOR_SIZE, true };
    buffers[17] = (struct driver_buffer){ disk.status_gpa, 1, true };

    assert_int_equal(disk_do_buffers(&disk, buffers, 18), VIRTIO_BLK_S_OK);

    assert_int_equal(*(uint8_t *)driver_at(&disk.driver, data, 1), sector_fill(5));
    disk_close(&disk);
}

static void header_and_data_may_share_a_buffer(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t header = put_header(&disk, VIRTIO_BLK_T_OUT, 5);
    gpa_t data = driver_alloc(&disk.driver, SECTOR_SIZE); /* directly behind it */
    memset(driver_at(&disk.driver, data, SECTOR_SIZE), 0xcd, SECTOR_SIZE);
    assert_int_equal(data, header + 16);
    struct driver_buffer buffers[] = { { header, 16 + SECTOR_SIZE, false },
                                       { disk.status_gpa, 1, true } };

    assert_int_equal(disk_do_buffers(&disk, buffers, 2), VIRTIO_BLK_S_OK);

    assert_int_equal(image_byte(5, 0), 0xcd);
    assert_int_equal(image_byte(5, 511), 0xcd);
    disk_close(&disk);
}

static void data_and_status_may_share_a_buffer(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t in = driver_alloc(&disk.driver, SECTOR_SIZE + 1);
    uint8_t *data = driver_at(&disk.driver, in, SECTOR_SIZE + 1);
    struct driver_buffer buffers[] = { { put_header(&disk, VIRTIO_BLK_T_IN, 6), 16, false },
                                       { in, SECTOR_SIZE + 1, true } };
    data[SECTOR_SIZE] = NO_STATUS;

    driver_add(disk.queue, buffers, 2);
    driver_kick(disk.queue);
    driver_wait_used(disk.queue, NULL, NULL);

    assert_int_equal(data[0], sector_fill(6));
    assert_int_equal(data[SECTOR_SIZE - 1], sector_fill(6));
    assert_int_equal(data[SECTOR_SIZE], VIRTIO_BLK_S_OK);
    disk_close(&disk);
}

static void data_may_come_in_as_many_buffers_as_seg_max_says(void **state)
{
    struct driver_buffer buffers[MAX_BUFFERS];
    const unsigned segments = MAX_BUFFERS - 2, len = 256; /* 63 sectors in all */
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t data = driver_alloc(&disk.driver, (size_t)segments * len);
    buffers[0] = (struct driver_buffer){ put_header(&disk, VIRTIO_BLK_T_IN, 20), 16, false };
    for (unsigned i = 0; i < segments; i++) /* from back to front */
        buffers[1 + i] =
            (struct driver_buffer){ data + (gpa_t)(segments - 1 - i) * len, len, true };
    buffers[MAX_BUFFERS - 1] = (struct driver_buffer){ disk.status_gpa, 1, true };

    assert_int_equal(disk_do_buffers(&disk, buffers, MAX_BUFFERS), VIRTIO_BLK_S_OK);

    const uint8_t *bytes = driver_at(&disk.driver, data, (size_t)segments * len);
    assert_int_equal(bytes[(size_t)(segments - 1) * len], sector_fill(20));
    assert_int_equal(bytes[0], sector_fill(82));
    disk_close(&disk);
}

/* Header, data and status in the same bytes: senseless, and harmless. */
static void more_buffers_than_seg_max_are_an_error(void **state)
{
    struct driver_buffer buffers[MAX_BUFFERS + 1];
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t data = driver_alloc(&disk.driver, SECTOR_SIZE);
    buffers[0] = (struct driver_buffer){ put_header(&disk, VIRTIO_BLK_T_IN, 20), 16, false };
    for (unsigned i = 1; i < MAX_BUFFERS; i++)
        buffers[i] =
            (struct driver_buffer){ data, i == 1 ? SECTOR_SIZE - (MAX_BUFFERS - 2) : 1, true };
    buffers[MAX_BUFFERS] = (struct driver_buffer){ disk.status_gpa, 1, true };

    assert_int_equal(disk_do_buffers(&disk, buffers, MAX_BUFFERS + 1), VIRTIO_BLK_S_IOERR);
    disk_close(&disk);
}

static void buffers_may_overlap(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t header = put_header(&disk, VIRTIO_BLK_T_IN, 7);
    uint8_t *bytes = driver_at(&disk.driver, header, 16);
    struct driver_buffer buffers[] = { { header, 16, false },
                                       { header, SECTOR_SIZE, true },
                                       { header, SECTOR_SIZE, true },
                                       { header, 1, true } };
    driver_alloc(&disk.driver, SECTOR_SIZE);

    driver_add(disk.queue, buffers, 4);
    driver_kick(disk.queue);
    driver_wait_used(disk.queue, NULL, NULL);

    assert_int_equal(bytes[0], VIRTIO_BLK_S_OK);
    assert_true(bytes[1] == sector_fill(7) || bytes[1] == sector_fill(8));
    disk_close(&disk);
}

static void a_chain_without_a_status_byte_breaks_the_device(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    struct driver_buffer buffer = { put_header(&disk, VIRTIO_BLK_T_FLUSH, 0), 16, false };

    driver_add(disk.queue, &buffer, 1);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);

    assert_true(virtio_dev_read_status(disk.driver.vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
    disk_close(&disk);
}

static void a_short_header_is_an_error(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    struct driver_buffer buffers[] = { { put_header(&disk, VIRTIO_BLK_T_FLUSH, 0), 15, false },
                                       { disk.status_gpa, 1, true } };

    assert_int_equal(disk_do_buffers(&disk, buffers, 2), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do_buffers(&disk, buffers + 1, 1), VIRTIO_BLK_S_IOERR);
    disk_close(&disk);
}

/* --- abuse --- */

static void refuses_sectors_that_are_not_on_the_disk(void **state)
{
    static const uint64_t sectors[] = { SECTORS,    SECTORS - 1,     SECTORS + 1,
                                        UINT64_MAX, UINT64_MAX - 1,  UINT64_MAX / 2,
                                        1ull << 55, (1ull << 55) - 1 };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, 2 * SECTOR);

    for (unsigned i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
        assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, sectors[i], gpa, 2 * SECTOR),
                         VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, sectors[i], gpa, 2 * SECTOR),
                         VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, sectors[i], 2, 0),
                         VIRTIO_BLK_S_IOERR);
    }
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void refuses_parts_of_sectors(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, 2 * SECTOR);

    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, gpa, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, gpa, 511), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, 0, gpa, 513), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void nothing_to_transfer_is_done_at_once(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, SECTORS, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, SECTORS + 1, 0, 0), VIRTIO_BLK_S_IOERR);
    disk_close(&disk);
}

static void unknown_requests_are_unsupported(void **state)
{
    static const uint32_t types[] = { 2, 3, 5, 7, 9, 10, 12, 14, 15, 16, 0x80000000, UINT32_MAX };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        assert_int_equal(disk_do(&disk, types[i], 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
    disk_close(&disk);
}

static void refuses_ranges_out_of_bounds(void **state)
{
    static const struct virtio_blk_discard_write_zeroes many[33] = { 0 };
    const uint32_t one = sizeof(many[0]);
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
        assert_int_equal(disk_do(&disk, type, 0, 0, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_ranges(&disk, type, many, 33 * one), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_ranges(&disk, type, many, one - 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_ranges(&disk, type, many, one + 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, type, 0, 0, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, type, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, type, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(disk_do_range(&disk, type, 0, 8, UINT32_MAX), VIRTIO_BLK_S_UNSUPP);
    }
    /* Unmapping is what a discard does anyway; the flag is not for it (5.2.6.1). */
    assert_int_equal(
        disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, 0, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
        VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void a_bad_range_keeps_the_good_ones_from_being_done(void **state)
{
    const struct virtio_blk_discard_write_zeroes ranges[] = {
        { htole64(0), htole32(8), 0 },
        { htole64(SECTORS), htole32(8), 0 },
    };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    assert_int_equal(disk_do_ranges(&disk, VIRTIO_BLK_T_DISCARD, ranges, sizeof(ranges)),
                     VIRTIO_BLK_S_IOERR);

    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void errors_of_the_host_are_io_errors(void **state)
{
    static const int errors[] = { -EIO, -ENOSPC, -ENODATA, -EFBIG, -EDQUOT };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);

    for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        *disk.status = NO_STATUS;
        disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
        driver_kick(disk.queue);
        driver_settle(&disk.driver);
        held_complete(&disk.held, disk.driver.vdev, errors[i]);
        driver_wait_used(disk.queue, NULL, NULL);
        assert_int_equal(*disk.status, VIRTIO_BLK_S_IOERR);
    }
    disk_close(&disk);
}

static void says_so_if_the_driver_uses_parts_of_blocks(void **state)
{
    struct log_capture log;
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.block_size = 4096;
    disk_start(&disk, &disk.held.base, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    assert_int_equal(log_capture_begin(&log), 0);

    *disk.status = NO_STATUS;
    disk_add(&disk, 0, VIRTIO_BLK_T_IN, 8, gpa, SECTOR_SIZE);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);
    held_complete(&disk.held, disk.driver.vdev, -EINVAL);
    driver_wait_used(disk.queue, NULL, NULL);

    const char *said = log_capture_read(&log);
    log_capture_end(&log);
    assert_int_equal(*disk.status, VIRTIO_BLK_S_IOERR);
    assert_non_null(strstr(said, "parts of blocks, which the host has in one piece of 4096 bytes"));
    assert_non_null(strstr(said, "without cache=none"));
    disk_close(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_so_if_the_driver_uses_parts_of_blocks),
        cmocka_unit_test(reads_what_the_file_has),
        cmocka_unit_test(what_it_writes_is_in_the_file),
        cmocka_unit_test(discards_and_writes_zeroes_in_several_ranges),
        cmocka_unit_test(a_read_only_disk_is_not_written),
        cmocka_unit_test(a_file_that_shrank_gives_errors_and_no_more),
        cmocka_unit_test(the_header_may_come_in_single_bytes),
        cmocka_unit_test(header_and_data_may_share_a_buffer),
        cmocka_unit_test(data_and_status_may_share_a_buffer),
        cmocka_unit_test(data_may_come_in_as_many_buffers_as_seg_max_says),
        cmocka_unit_test(more_buffers_than_seg_max_are_an_error),
        cmocka_unit_test(buffers_may_overlap),
        cmocka_unit_test(a_chain_without_a_status_byte_breaks_the_device),
        cmocka_unit_test(a_short_header_is_an_error),
        cmocka_unit_test(refuses_sectors_that_are_not_on_the_disk),
        cmocka_unit_test(refuses_parts_of_sectors),
        cmocka_unit_test(nothing_to_transfer_is_done_at_once),
        cmocka_unit_test(unknown_requests_are_unsupported),
        cmocka_unit_test(refuses_ranges_out_of_bounds),
        cmocka_unit_test(a_bad_range_keeps_the_good_ones_from_being_done),
        cmocka_unit_test(errors_of_the_host_are_io_errors),
    };

    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}

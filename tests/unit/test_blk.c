// SPDX-License-Identifier: Apache-2.0
/* The disk as a driver finds it: what it says of itself, when its writes are stable, many requests
 * at once, reset and saved state. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blk_bench.h"
#include "host/state.h"

/* --- what it says of itself --- */

static void says_what_it_is(void **state)
{
    struct virtio_blk_config config = { 0 };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 4, USUAL_FEATURES);
    struct virtio_dev *vdev = disk.driver.vdev;

    virtio_dev_read_config(vdev, 0, &config, vdev->config_size);

    assert_int_equal(vdev->device_id, VIRTIO_ID_BLOCK);
    assert_int_equal(le64toh(config.capacity), SECTORS);
    assert_int_equal(le32toh(config.seg_max), 126);
    assert_int_equal(le32toh(config.blk_size), 512);
    assert_int_equal(config.physical_block_exp, 3);
    assert_int_equal(le16toh(config.min_io_size), 8);
    assert_int_equal(le16toh(config.num_queues), 4);
    assert_int_equal(config.wce, 1);
    assert_true(le32toh(config.max_discard_sectors) > 0);
    assert_int_equal(le32toh(config.max_discard_seg), 32);
    assert_int_equal(le32toh(config.discard_sector_alignment), 8);
    assert_true(le32toh(config.max_write_zeroes_sectors) > 0);
    assert_int_equal(config.write_zeroes_may_unmap, 1);
    assert_true(vdev->device_features & FEATURE(VIRTIO_BLK_F_MQ));
    assert_false(vdev->device_features & FEATURE(VIRTIO_BLK_F_RO));
    disk_close(&disk);
}

static void tells_the_blocks_of_its_back_end(void **state)
{
    struct virtio_blk_config config = { 0 };
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.block_size = 4096;
    disk.held.base.physical_block_size = 16384;
    disk_start(&disk, &disk.held.base, 1, USUAL_FEATURES);
    struct virtio_dev *vdev = disk.driver.vdev;

    virtio_dev_read_config(vdev, 0, &config, vdev->config_size);

    assert_true(vdev->device_features & FEATURE(VIRTIO_BLK_F_BLK_SIZE));
    assert_true(vdev->device_features & FEATURE(VIRTIO_BLK_F_TOPOLOGY));
    assert_int_equal(le32toh(config.blk_size), 4096);
    assert_int_equal(config.physical_block_exp, 2);
    assert_int_equal(le16toh(config.min_io_size), 4);
    assert_int_equal(le64toh(config.capacity), SECTORS); /* always of 512 bytes */
    disk_close(&disk);
}

static void offers_no_more_than_its_back_end_can(void **state)
{
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.can_discard = disk.held.base.can_write_zeroes = false;
    disk.held.base.read_only = true;
    disk_start(&disk, &disk.held.base, 1, 0);
    uint64_t features = disk.driver.vdev->device_features;

    assert_false(features & FEATURE(VIRTIO_BLK_F_DISCARD));
    assert_false(features & FEATURE(VIRTIO_BLK_F_WRITE_ZEROES));
    assert_false(features & FEATURE(VIRTIO_BLK_F_MQ));
    assert_true(features & FEATURE(VIRTIO_BLK_F_RO));
    assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    disk_close(&disk);
}

static void tells_its_serial(void **state)
{
    struct disk disk;
    uint32_t written;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t data = driver_alloc(&disk.driver, 32);
    char *text = driver_at(&disk.driver, data, 32);

    disk_add(&disk, 0, VIRTIO_BLK_T_GET_ID, 0, data, VIRTIO_BLK_ID_BYTES);
    assert_int_equal(disk_finish(&disk, &written), VIRTIO_BLK_S_OK);
    assert_memory_equal(text, "hutch-serial-1234567\0\0", 22);
    assert_int_equal(written, VIRTIO_BLK_ID_BYTES + 1);

    memset(text, 0, 32);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_GET_ID, 0, data, 5), VIRTIO_BLK_S_OK);
    assert_memory_equal(text, "hutch\0", 6);
    disk_close(&disk);
}

/* --- stable writes (5.2.6.2) --- */

/* Whether a write is answered only after a flush of the back-end. */
static bool write_is_made_stable(struct disk *disk)
{
    gpa_t gpa = driver_alloc(&disk->driver, SECTOR_SIZE);
    bool flushed = false;

    *disk->status = NO_STATUS;
    disk_add(disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
    driver_kick(disk->queue);
    driver_settle(&disk->driver);
    assert_int_equal(disk->held.count, 1);
    held_complete(&disk->held, disk->driver.vdev, 0);
    if (disk->held.count == 1) {
        assert_int_equal(disk->held.last_op, BLOCK_FLUSH);
        assert_int_equal(*disk->status, NO_STATUS);
        held_complete(&disk->held, disk->driver.vdev, 0);
        flushed = true;
    }
    driver_wait_used(disk->queue, NULL, NULL);
    assert_int_equal(*disk->status, VIRTIO_BLK_S_OK);
    return flushed;
}

static void set_writeback(struct disk *disk, uint8_t value)
{
    virtio_dev_write_config(disk->driver.vdev, offsetof(struct virtio_blk_config, wce), &value, 1);
}

static uint8_t get_writeback(struct disk *disk)
{
    uint8_t value;

    virtio_dev_read_config(disk->driver.vdev, offsetof(struct virtio_blk_config, wce), &value, 1);
    return value;
}

static void writes_wait_for_no_flush_if_the_driver_sends_its_own(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, FEATURE(VIRTIO_BLK_F_FLUSH));
    assert_false(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void writes_are_stable_for_a_driver_that_cannot_flush(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, 0);
    assert_true(write_is_made_stable(&disk));
    disk_close(&disk);

    disk_open_held(&disk, 1, FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
    assert_int_equal(get_writeback(&disk), 0);
    set_writeback(&disk, 1);
    assert_true(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void the_driver_chooses_the_cache_mode(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    assert_int_equal(get_writeback(&disk), 1);
    assert_false(write_is_made_stable(&disk));
    set_writeback(&disk, 0);
    assert_int_equal(get_writeback(&disk), 0);
    assert_true(write_is_made_stable(&disk));
    set_writeback(&disk, 1);
    assert_false(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void a_disk_without_a_cache_never_flushes(void **state)
{
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.has_volatile_cache = false;
    disk_start(&disk, &disk.held.base, 1, USUAL_FEATURES);

    assert_int_equal(get_writeback(&disk), 0);
    assert_false(write_is_made_stable(&disk));
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void a_flush_does_not_wait_for_writes_under_way(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);

    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
    disk_add(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);

    assert_int_equal(disk.held.count, 2);
    disk_close(&disk);
}

/* --- many at once --- */

static void a_batch_is_one_submission_and_one_interrupt(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    for (unsigned i = 0; i < 20; i++)
        disk_add(&disk, 0, VIRTIO_BLK_T_IN, i, gpa, SECTOR_SIZE);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, 20);
    assert_int_equal(disk.held.flushes, 1);

    held_complete(&disk.held, disk.driver.vdev, 0);

    assert_int_equal(disk.driver.queue_interrupts[0], 1);
    assert_int_equal(disk.held.flushes, 1);
    disk_close(&disk);
}

static unsigned count_used(struct disk *disk, unsigned queues)
{
    unsigned count = 0;

    for (unsigned i = 0; i < queues; i++)
        while (driver_take_used(&disk->driver.queues[i], NULL, NULL))
            count++;
    return count;
}

/* Three queues of 42 three-buffer chains fit the pool, four do not. */
static void what_exceeds_the_pool_waits_in_its_queue(void **state)
{
    const unsigned queues = 4, each = 42;
    struct disk disk;
    (void)state;
    disk_open_held(&disk, queues, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);

    for (unsigned q = 0; q < queues; q++) {
        for (unsigned i = 0; i < each; i++)
            disk_add(&disk, q, VIRTIO_BLK_T_IN, i, gpa, SECTOR_SIZE);
        driver_kick(&disk.driver.queues[q]);
    }
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, 128);
    assert_int_equal(disk.driver.vdev->requests_in_flight, 128);

    held_complete(&disk.held, disk.driver.vdev, 0);
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, queues * each - 128);
    held_complete(&disk.held, disk.driver.vdev, 0);

    assert_int_equal(count_used(&disk, queues), queues * each);
    assert_int_equal(disk.driver.vdev->requests_in_flight, 0);
    disk_close(&disk);
}

static void each_queue_is_answered_on_itself(void **state)
{
    const unsigned queues = BLK_MAX_QUEUES;
    struct disk disk;
    (void)state;
    disk_open_held(&disk, queues, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    for (unsigned q = 0; q < queues; q++) {
        disk_add(&disk, q, VIRTIO_BLK_T_IN, q, gpa, SECTOR_SIZE);
        driver_kick(&disk.driver.queues[q]);
    }
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, queues);

    held_complete(&disk.held, disk.driver.vdev, 0);

    for (unsigned q = 0; q < queues; q++) {
        assert_int_equal(disk.driver.queue_interrupts[q], 1);
        assert_true(driver_take_used(&disk.driver.queues[q], NULL, NULL));
    }
    disk_close(&disk);
}

/* --- reset, save and load --- */

static void a_reset_waits_for_the_host_and_then_starts_anew(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    struct virtio_dev *vdev = disk.driver.vdev;
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    set_writeback(&disk, 0);
    *disk.status = NO_STATUS;
    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 1, gpa, SECTOR_SIZE);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);
    assert_int_equal(vdev->requests_in_flight, 2);

    virtio_dev_write_status(vdev, 0);
    assert_int_not_equal(virtio_dev_read_status(vdev), 0);
    held_complete(&disk.held, vdev, 0);

    assert_int_equal(virtio_dev_read_status(vdev), 0);
    assert_int_equal(disk.held.count, 0); /* nobody waits for these to be stable */
    assert_int_equal(*disk.status, NO_STATUS);
    assert_int_equal(le16toh(disk.queue->used->idx), 0);
    assert_int_equal(disk.driver.queue_interrupts[0], 0);

    driver_start(&disk.driver, vdev, USUAL_FEATURES);
    assert_int_equal(get_writeback(&disk), 1);
    assert_false(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void a_disk_may_go_while_requests_are_under_way(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, 256 * SECTOR);
    for (unsigned i = 0; i < 40; i++)
        disk_add(&disk, 0, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 0, gpa, 256 * SECTOR);
    driver_kick(disk.queue);
    driver_run(&disk.driver, 0);
    disk_close(&disk);
}

static void its_state_survives_saving_and_loading(void **state)
{
    struct state_writer out = { 0 };
    struct disk disk, copy;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    set_writeback(&disk, 0);
    assert_int_equal(virtio_dev_save(disk.driver.vdev, &out), 0);

    disk_open_held(&copy, 1, USUAL_FEATURES);
    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(virtio_dev_load(copy.driver.vdev, &in), 0);

    assert_int_equal(get_writeback(&copy), 0);
    state_writer_fini(&out);
    disk_close(&copy);
    disk_close(&disk);
}

static void refuses_the_state_of_a_disk_of_another_size(void **state)
{
    struct state_writer out = { 0 };
    struct disk disk, copy;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    assert_int_equal(virtio_dev_save(disk.driver.vdev, &out), 0);

    driver_init(&copy.driver);
    held_init(&copy.held);
    copy.held.base.sector_count = SECTORS - 1;
    disk_start(&copy, &copy.held.base, 1, USUAL_FEATURES);
    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(virtio_dev_load(copy.driver.vdev, &in), -EBADMSG);

    state_writer_fini(&out);
    disk_close(&copy);
    disk_close(&disk);
}

static void cannot_be_saved_while_requests_are_under_way(void **state)
{
    struct state_writer out = { 0 };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    disk_add(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);

    assert_int_equal(virtio_dev_save(disk.driver.vdev, &out), -EBUSY);

    state_writer_fini(&out);
    disk_close(&disk);
}

static void a_disk_gives_its_back_end_back(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    assert_true(disk.held.is_attached);

    disk_close(&disk);

    assert_false(disk.held.is_attached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_is),
        cmocka_unit_test(tells_the_blocks_of_its_back_end),
        cmocka_unit_test(offers_no_more_than_its_back_end_can),
        cmocka_unit_test(tells_its_serial),
        cmocka_unit_test(writes_wait_for_no_flush_if_the_driver_sends_its_own),
        cmocka_unit_test(writes_are_stable_for_a_driver_that_cannot_flush),
        cmocka_unit_test(the_driver_chooses_the_cache_mode),
        cmocka_unit_test(a_disk_without_a_cache_never_flushes),
        cmocka_unit_test(a_flush_does_not_wait_for_writes_under_way),
        cmocka_unit_test(a_batch_is_one_submission_and_one_interrupt),
        cmocka_unit_test(what_exceeds_the_pool_waits_in_its_queue),
        cmocka_unit_test(each_queue_is_answered_on_itself),
        cmocka_unit_test(a_reset_waits_for_the_host_and_then_starts_anew),
        cmocka_unit_test(a_disk_may_go_while_requests_are_under_way),
        cmocka_unit_test(its_state_survives_saving_and_loading),
        cmocka_unit_test(refuses_the_state_of_a_disk_of_another_size),
        cmocka_unit_test(cannot_be_saved_while_requests_are_under_way),
        cmocka_unit_test(a_disk_gives_its_back_end_back),
    };

    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}

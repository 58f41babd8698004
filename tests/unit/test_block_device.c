// SPDX-License-Identifier: Apache-2.0
/* Host block devices and awkward file systems: loop devices, a full disk, one without direct I/O.
 * Needs root for all of them, and is skipped without. */
#include <errno.h>
#include <linux/loop.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "block_harness.h"
#include "skip.h"

#define SECTOR ((size_t)SECTOR_SIZE)

enum { IMAGE_SIZE = 1024 * 1024 };

struct loop_device {
    int fd;
    char path[64];
};

static int make_scratch_to_mount_on(void **state)
{
    /* What is mounted here is gone with this process. */
    if (unshare(CLONE_NEWNS) == 0)
        (void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return make_scratch(state);
}

/* Makes a block device of the image, with sectors of @block_size; skips the test if the host does
 * not let us. It vanishes when it is closed. */
static void attach_loop(struct loop_device *device, unsigned block_size)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
    struct loop_config config = { .block_size = block_size, .info.lo_flags = LO_FLAGS_AUTOCLEAR };

    close(control);
    if (number < 0)
        skip_because("no loop device");
    image_make(image, IMAGE_SIZE);
    snprintf(device->path, sizeof(device->path), "/dev/loop%d", number);
    device->fd = open(device->path, O_RDWR | O_CLOEXEC);
    config.fd = (unsigned)open(image, O_RDWR | O_CLOEXEC);
    if (device->fd < 0 || ioctl(device->fd, LOOP_CONFIGURE, &config) < 0)
        skip_because("no loop device");
    close((int)config.fd);
}

/* Mounts a file system of @type on the scratch folder; skips the test if we may not. */
static void mount_scratch(const char *type, const char *options)
{
    if (geteuid() != 0 || mount("none", dir, type, 0, options) < 0)
        skip_because("only root mounts");
}

static void unmount_scratch(void)
{
    unlink(image);
    assert_int_equal(umount(dir), 0);
}

static void check_all_requests(enum block_engine engine, enum block_cache cache)
{
    static uint8_t data[8192] __attribute__((aligned(4096)));
    struct loop_device device;
    struct rig rig;

    attach_loop(&device, 512);
    struct block_file_params params = { .path = device.path, .cache = cache, .engine = engine };
    rig_open(&rig, &params);
    assert_int_equal(rig.backend->sector_count, IMAGE_SIZE / SECTOR_SIZE);
    assert_int_equal(rig.backend->block_size, 512);

    assert_int_equal(rig_do(&rig, BLOCK_READ, 3 * SECTOR, data, SECTOR), 0);
    assert_int_equal(data[0], 4);
    memset(data, 0x5a, sizeof(data));
    assert_int_equal(rig_do(&rig, BLOCK_WRITE, SECTOR, data, sizeof(data)), 0);
    assert_int_equal(rig_do(&rig, BLOCK_WRITE_ZEROES, 4 * SECTOR, NULL, 2 * SECTOR), 0);
    assert_int_equal(rig_do(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
    if (rig.backend->can_discard)
        assert_int_equal(rig_do(&rig, BLOCK_DISCARD, IMAGE_SIZE / 2, NULL, IMAGE_SIZE / 2), 0);
    assert_int_equal(rig_do(&rig, BLOCK_READ, 0, data, sizeof(data)), 0);
    rig_close(&rig);
    close(device.fd);

    assert_int_equal(data[0], 1);
    assert_int_equal(data[SECTOR], 0x5a);
    assert_int_equal(data[4 * SECTOR], 0);
    assert_int_equal(data[6 * SECTOR - 1], 0);
    assert_int_equal(data[6 * SECTOR], 0x5a);
}

static void a_block_device_is_a_disk(void **state)
{
    (void)state;
    check_all_requests(BLOCK_ENGINE_AUTO, BLOCK_CACHE_WRITEBACK);
    check_all_requests(BLOCK_ENGINE_AUTO, BLOCK_CACHE_NONE);
    check_all_requests(BLOCK_ENGINE_THREADS, BLOCK_CACHE_WRITEBACK);
    check_all_requests(BLOCK_ENGINE_THREADS, BLOCK_CACHE_NONE);
}

static void the_sectors_of_a_device_are_the_disks(void **state)
{
    static uint8_t data[8192];
    struct loop_device device;
    struct rig rig;
    (void)state;
    attach_loop(&device, 4096);
    struct block_file_params params = { .path = device.path, .cache = BLOCK_CACHE_NONE };
    rig_open(&rig, &params);

    assert_int_equal(rig.backend->block_size, 4096);
    assert_int_equal(rig.backend->physical_block_size, 4096);
    assert_int_equal(rig_do(&rig, BLOCK_READ, 4096, data + 1, 4096), 0);
    assert_int_equal(data[1], 9);
    /* A guest that ignores them. */
    assert_int_equal(rig_do(&rig, BLOCK_READ, 512, data, 512), -EINVAL);
    rig_close(&rig);
    close(device.fd);
}

/* A mounted file system holds its device in the same way. */
static void refuses_to_write_to_a_device_that_the_host_uses(void **state)
{
    struct loop_device device;
    struct block_backend *backend;
    (void)state;
    attach_loop(&device, 512);
    int user = open(device.path, O_RDONLY | O_EXCL | O_CLOEXEC);
    assert_true(user >= 0);
    struct block_file_params params = { .path = device.path };

    assert_int_equal(block_file_open(&params, &backend), -EBUSY);
    params.read_only = true;
    assert_int_equal(block_file_open(&params, &backend), 0);

    backend->ops->destroy(backend);
    close(user);
    close(device.fd);
}

static void check_full_disk(enum block_engine engine)
{
    static uint8_t data[64 * 1024];
    struct block_file_params params = { .path = image, .engine = engine };
    struct rig rig;
    int err = 0;

    mount_scratch("tmpfs", "size=1M");
    int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, (off_t)4 * IMAGE_SIZE), 0);
    close(fd);
    rig_open(&rig, &params);

    for (uint64_t offset = 0; !err && offset < 4 * (uint64_t)IMAGE_SIZE; offset += sizeof(data))
        err = rig_do(&rig, BLOCK_WRITE, offset, data, sizeof(data));
    assert_int_equal(err, -ENOSPC);
    assert_int_equal(rig_do(&rig, BLOCK_READ, 0, data, sizeof(data)), 0);
    /* Room again. */
    if (rig.backend->can_discard) {
        assert_int_equal(rig_do(&rig, BLOCK_DISCARD, 0, NULL, IMAGE_SIZE / 2), 0);
        assert_int_equal(rig_do(&rig, BLOCK_WRITE, 2 * (uint64_t)IMAGE_SIZE, data, 4096), 0);
    }
    rig_close(&rig);
    unmount_scratch();
}

static void a_full_file_system_is_an_error_and_no_more(void **state)
{
    (void)state;
    check_full_disk(BLOCK_ENGINE_AUTO);
    check_full_disk(BLOCK_ENGINE_THREADS);
}

static void direct_io_is_refused_where_there_is_none(void **state)
{
    struct block_file_params params = { .path = image, .cache = BLOCK_CACHE_NONE };
    struct block_backend *backend;
    (void)state;
    mount_scratch("ramfs", NULL);
    image_make(image, IMAGE_SIZE);

    int err = block_file_open(&params, &backend);

    unmount_scratch();
    assert_int_equal(err, -EINVAL);
}

static void a_file_system_without_holes_has_no_discard(void **state)
{
    static uint8_t data[8192];
    struct block_file_params params = { .path = image };
    struct rig rig;
    (void)state;
    mount_scratch("ramfs", NULL);
    image_make(image, IMAGE_SIZE);
    rig_open(&rig, &params);

    bool can_discard = rig.backend->can_discard;
    int discard_err = rig_do(&rig, BLOCK_DISCARD, 0, NULL, 4096);
    int zeroes_err = rig_do(&rig, BLOCK_WRITE_ZEROES, 4096, NULL, 4096);
    int read_err = rig_do(&rig, BLOCK_READ, 0, data, sizeof(data));

    rig_close(&rig);
    unmount_scratch();
    assert_false(can_discard);
    assert_int_equal(discard_err, 0); /* no more than a hint */
    assert_int_equal(zeroes_err, 0);
    assert_int_equal(read_err, 0);
    assert_int_equal(data[0], 1);
    assert_int_equal(data[4096], 0);
    assert_int_equal(data[8191], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_device_is_a_disk),
        cmocka_unit_test(the_sectors_of_a_device_are_the_disks),
        cmocka_unit_test(refuses_to_write_to_a_device_that_the_host_uses),
        cmocka_unit_test(a_full_file_system_is_an_error_and_no_more),
        cmocka_unit_test(direct_io_is_refused_where_there_is_none),
        cmocka_unit_test(a_file_system_without_holes_has_no_discard),
    };

    return cmocka_run_group_tests(tests, make_scratch_to_mount_on, remove_scratch);
}

// SPDX-License-Identifier: Apache-2.0
/* virtio-fs and a driver that sends FUSE messages through its queues. */
#include "virtio/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <sys/stat.h>

#include "host/state.h"
#include "openat2.h"
#include "scratch.h"
#include "virtio_driver.h"

enum { HIPRIO, REQUESTS, REPLY_LEN = 4096 };

struct fixture {
    struct driver driver;
    struct fs_share *share;
    char path[PATH_MAX];
    gpa_t reply;
};

static void make_device(struct fixture *f)
{
    struct fs_params params = { .name = "folder",
                                .mem = f->driver.mem,
                                .share = f->share,
                                .tag = "the-tag",
                                .queue_count = 2 };
    struct virtio_dev *vdev;

    assert_int_equal(fs_create(&params, &vdev), 0);
    driver_start(&f->driver, vdev, 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct fs_share_params params = { .path = f->path };

    assert_non_null(f);
    (void)snprintf(f->path, sizeof(f->path), "/var/tmp/hutch-test-XXXXXX");
    assert_non_null(scratch_make(f->path));
    assert_int_equal(fs_share_open(&params, &f->share), 0);
    driver_init(&f->driver);
    make_device(f);
    f->reply = driver_alloc(&f->driver, REPLY_LEN);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    driver_fini(&f->driver);
    fs_share_destroy(f->share);
    scratch_remove(f->path);
    free(f);
    return 0;
}

/* Queues a message of up to 200 bytes behind the header, cut in two where it is unusual. */
static void add_message(struct fixture *f, unsigned queue, uint32_t opcode, const void *arg,
                        size_t len, uint32_t reply_len)
{
    struct fuse_in_header header = {
        .len = (uint32_t)(sizeof(header) + len), .opcode = opcode, .unique = opcode, .nodeid = 1
    };
    uint8_t message[240];
    memcpy(message, &header, sizeof(header));
    if (len)
        memcpy(message + sizeof(header), arg, len);
    gpa_t gpa = driver_put(&f->driver, message, header.len);
    const uint32_t cut = 13;
    struct driver_buffer buffers[] = {
        { gpa, cut, false },
        { gpa + cut, header.len - cut, false },
        { f->reply, 5, true },
        { f->reply + 5, reply_len - 5, true },
    };

    driver_add(&f->driver.queues[queue], buffers, reply_len ? 4 : 2);
    driver_kick(&f->driver.queues[queue]);
}

/* Sends one and waits for its answer. */
static int send_message(struct fixture *f, unsigned queue, uint32_t opcode, const void *arg,
                        size_t len)
{
    const struct fuse_out_header *out = driver_at(&f->driver, f->reply, sizeof(*out));
    uint32_t written;

    add_message(f, queue, opcode, arg, len, REPLY_LEN);
    driver_wait_used(&f->driver.queues[queue], NULL, &written);
    assert_int_equal(written, out->len);
    assert_int_equal(out->unique, opcode);
    return out->error;
}

static int mount_folder(struct fixture *f)
{
    struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION };

    return send_message(f, REQUESTS, FUSE_INIT, &in, sizeof(in));
}

static void tells_its_tag_and_queues(void **state)
{
    struct fixture *f = *state;
    struct virtio_fs_config config;

    assert_int_equal(f->driver.vdev->device_id, VIRTIO_ID_FS);
    virtio_dev_read_config(f->driver.vdev, 0, &config, sizeof(config));
    assert_memory_equal(config.tag, "the-tag\0\0\0", 10);
    assert_int_equal(le32toh(config.num_request_queues), 2);
    assert_int_equal(f->driver.vdev->queue_count, 3);
}

static void messages_are_answered_on_each_queue(void **state)
{
    struct fixture *f = *state;
    struct fuse_mkdir_in in = { .mode = 0777 };
    uint8_t arg[sizeof(in) + 7];
    struct stat st;
    char path[PATH_MAX + 8];

    memcpy(arg, &in, sizeof(in));
    memcpy(arg + sizeof(in), "folder", 7);
    assert_int_equal(mount_folder(f), 0);
    assert_int_equal(send_message(f, REQUESTS, FUSE_MKDIR, arg, sizeof(arg)), 0);
    assert_int_equal(send_message(f, REQUESTS + 1, FUSE_LOOKUP, "folder", 7), 0);
    assert_int_equal(send_message(f, HIPRIO, FUSE_LOOKUP, "folder", 7), 0);
    (void)snprintf(path, sizeof(path), "%s/folder", f->path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0777); /* whatever our own umask */
}

/* As Linux writes a MiB: headers, and page by page what was in its cache. */
static void a_message_of_a_mebibyte_is_taken(void **state)
{
    enum { PAGES = 256, PAGE = 4096 };
    struct fixture *f = *state;
    struct driver_buffer buffers[PAGES + 2];
    struct fuse_create_in create = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
    uint8_t arg[sizeof(create) + 5],
        head[sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in)];
    const uint8_t *reply = driver_at(&f->driver, f->reply, REPLY_LEN);
    struct fuse_entry_out entry;
    struct fuse_open_out opened;

    memcpy(arg, &create, sizeof(create));
    memcpy(arg + sizeof(create), "file", 5);
    assert_int_equal(mount_folder(f), 0);
    assert_int_equal(send_message(f, REQUESTS, FUSE_CREATE, arg, sizeof(arg)), 0);
    memcpy(&entry, reply + sizeof(struct fuse_out_header), sizeof(entry));
    memcpy(&opened, reply + sizeof(struct fuse_out_header) + sizeof(entry), sizeof(opened));

    const struct fuse_in_header header = { .len = sizeof(head) + PAGES * PAGE,
                                           .opcode = FUSE_WRITE,
                                           .nodeid = entry.nodeid };
    const struct fuse_write_in write_in = { .fh = opened.fh, .size = PAGES * PAGE };
    memcpy(head, &header, sizeof(header));
    memcpy(head + sizeof(header), &write_in, sizeof(write_in));
    buffers[0] =
        (struct driver_buffer){ driver_put(&f->driver, head, sizeof(head)), sizeof(head), false };
    for (unsigned i = 0; i < PAGES; i++) /* from back to front */
        buffers[PAGES - i] = (struct driver_buffer){ driver_alloc(&f->driver, PAGE), PAGE, false };
    memcpy(driver_at(&f->driver, buffers[PAGES].gpa + PAGE - 3, 3), "end", 3);
    buffers[PAGES + 1] = (struct driver_buffer){ f->reply, REPLY_LEN, true };
    driver_add(&f->driver.queues[REQUESTS], buffers, PAGES + 2);
    driver_kick(&f->driver.queues[REQUESTS]);
    driver_wait_used(&f->driver.queues[REQUESTS], NULL, NULL);

    struct fuse_write_out out;
    memcpy(&out, reply + sizeof(struct fuse_out_header), sizeof(out));
    assert_int_equal(((const struct fuse_out_header *)(const void *)reply)->error, 0);
    assert_int_equal(out.size, PAGES * PAGE);
    char path[PATH_MAX + 8], last[4] = "";
    (void)snprintf(path, sizeof(path), "%s/file", f->path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, PAGES * PAGE - 3, SEEK_SET), 0);
    assert_int_equal(fread(last, 1, sizeof(last), file), 3);
    (void)fclose(file);
    assert_string_equal(last, "end");
}

/* What may take long makes its thread leave the queue to another one. */
static void what_may_take_long_and_what_does_not_are_answered_in_turns(void **state)
{
    struct fixture *f = *state;
    struct fuse_getattr_in in = { 0 };
    struct fuse_fsync_in sync = { .fh = 5 };

    assert_int_equal(mount_folder(f), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(send_message(f, REQUESTS + i % 2, FUSE_FSYNCDIR, &sync, sizeof(sync)),
                         -EBADF);
        assert_int_equal(send_message(f, REQUESTS, FUSE_GETATTR, &in, sizeof(in)), 0);
    }
}

static void what_wants_no_answer_comes_back_empty(void **state)
{
    struct fixture *f = *state;
    struct fuse_forget_in in = { .nlookup = 1 };
    uint32_t written = 1;

    assert_int_equal(mount_folder(f), 0);
    add_message(f, HIPRIO, FUSE_FORGET, &in, sizeof(in), 0);
    driver_wait_used(&f->driver.queues[HIPRIO], NULL, &written);
    assert_int_equal(written, 0);
}

static void a_header_that_is_cut_off_comes_back_empty(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { f->reply, 64, true };
    uint32_t written = 1;

    driver_add(&f->driver.queues[REQUESTS], &buffer, 1);
    driver_kick(&f->driver.queues[REQUESTS]);
    driver_wait_used(&f->driver.queues[REQUESTS], NULL, &written);
    assert_int_equal(written, 0);
}

static void a_length_beyond_the_chain_is_refused(void **state)
{
    struct fixture *f = *state;
    struct fuse_in_header header = { .len = 100000, .opcode = FUSE_GETATTR, .nodeid = 1 };
    gpa_t gpa = driver_put(&f->driver, &header, sizeof(header));
    struct driver_buffer buffers[] = { { gpa, sizeof(header), false },
                                       { f->reply, REPLY_LEN, true } };
    const struct fuse_out_header *out = driver_at(&f->driver, f->reply, sizeof(*out));

    driver_add(&f->driver.queues[REQUESTS], buffers, 2);
    driver_kick(&f->driver.queues[REQUESTS]);
    driver_wait_used(&f->driver.queues[REQUESTS], NULL, NULL);
    assert_int_equal(out->error, -EINVAL);
}

static void a_reset_forgets_the_mount_and_waits_for_what_runs(void **state)
{
    struct fixture *f = *state;
    struct fuse_getattr_in in = { 0 };

    assert_int_equal(mount_folder(f), 0);
    for (int i = 0; i < 20; i++)
        add_message(f, REQUESTS, FUSE_GETATTR, &in, sizeof(in), REPLY_LEN);
    driver_run(&f->driver, 0);
    pthread_mutex_lock(&f->driver.vdev->lock);
    virtio_dev_write_status(f->driver.vdev, 0);
    pthread_mutex_unlock(&f->driver.vdev->lock);
    uint8_t status = 1;
    for (int ms = 0; status && ms < DRIVER_PATIENCE_MS; ms++) {
        driver_run(&f->driver, 1);
        pthread_mutex_lock(&f->driver.vdev->lock);
        status = virtio_dev_read_status(f->driver.vdev);
        pthread_mutex_unlock(&f->driver.vdev->lock);
    }
    assert_int_equal(status, 0);
    driver_start(&f->driver, f->driver.vdev, 0);
    assert_int_equal(send_message(f, REQUESTS, FUSE_GETATTR, &in, sizeof(in)), -EPERM);
    assert_int_equal(mount_folder(f), 0);
    assert_int_equal(send_message(f, REQUESTS, FUSE_GETATTR, &in, sizeof(in)), 0);
}

static void a_share_serves_one_device_after_the_other(void **state)
{
    struct fixture *f = *state;
    struct fuse_getattr_in in = { 0 };

    assert_int_equal(mount_folder(f), 0);
    add_message(f, REQUESTS, FUSE_GETATTR, &in, sizeof(in), REPLY_LEN);
    driver_run(&f->driver, 0);
    virtio_dev_destroy(f->driver.vdev); /* with a message under way, perhaps */
    make_device(f);
    assert_int_equal(mount_folder(f), 0);
    assert_int_equal(send_message(f, REQUESTS, FUSE_GETATTR, &in, sizeof(in)), 0);
}

static void a_device_that_is_mounted_cannot_be_saved(void **state)
{
    struct fixture *f = *state;
    struct state_writer out = { 0 };

    pthread_mutex_lock(&f->driver.vdev->lock);
    assert_int_equal(virtio_dev_save(f->driver.vdev, &out), 0);
    pthread_mutex_unlock(&f->driver.vdev->lock);
    assert_int_equal(mount_folder(f), 0);
    pthread_mutex_lock(&f->driver.vdev->lock);
    int err =
        f->driver.vdev->requests_in_flight ? -EOPNOTSUPP : virtio_dev_save(f->driver.vdev, &out);
    pthread_mutex_unlock(&f->driver.vdev->lock);
    assert_int_equal(err, -EOPNOTSUPP);
    state_writer_fini(&out);
}

#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FS_TEST(tells_its_tag_and_queues),
        FS_TEST(messages_are_answered_on_each_queue),
        FS_TEST(a_message_of_a_mebibyte_is_taken),
        FS_TEST(what_may_take_long_and_what_does_not_are_answered_in_turns),
        FS_TEST(what_wants_no_answer_comes_back_empty),
        FS_TEST(a_header_that_is_cut_off_comes_back_empty),
        FS_TEST(a_length_beyond_the_chain_is_refused),
        FS_TEST(a_reset_forgets_the_mount_and_waits_for_what_runs),
        FS_TEST(a_share_serves_one_device_after_the_other),
        FS_TEST(a_device_that_is_mounted_cannot_be_saved),
    };

    if (!has_openat2())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

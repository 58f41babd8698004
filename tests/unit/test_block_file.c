// SPDX-License-Identifier: Apache-2.0
/* Image files on a real file system, by each engine. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "block_harness.h"
#include "emulated.h"
#include "host/log.h"
#include "skip.h"
#include "virtio/block_engine.h"

enum { IMAGE_SIZE = 1024 * 1024, MAX_REQUESTS = 64 };

#define SECTOR ((size_t)SECTOR_SIZE)

static int make_image(void **state)
{
    (void)state;
    unlink(image); /* a failed test may hold a lock on it */
    image_make(image, IMAGE_SIZE);
    return 0;
}

static const enum block_engine engines[] = { BLOCK_ENGINE_THREADS, BLOCK_ENGINE_URING };

/* Whether the host has this: it may forbid io_uring, and a file system may lack direct I/O. */
static bool can_open(enum block_engine engine, enum block_cache cache)
{
    struct block_file_params params = {
        .path = image, .read_only = true, .cache = cache, .engine = engine
    };
    struct block_backend *backend;

    if (block_file_open(&params, &backend))
        return false;
    backend->ops->destroy(backend);
    return true;
}

/* Runs @check with a back-end of each engine on a fresh image. */
static void with_each_engine(enum block_cache cache, void (*check)(struct rig *rig))
{
    unsigned seen = 0;

    for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        struct block_file_params params = { .path = image, .cache = cache, .engine = engines[i] };
        struct rig rig;

        image_make(image, IMAGE_SIZE);
        if (!can_open(engines[i], cache))
            continue;
        rig_open(&rig, &params);
        check(&rig);
        rig_close(&rig);
        seen++;
    }
    if (seen == 0 && cache == BLOCK_CACHE_NONE)
        skip_because("this file system has no direct I/O");
    assert_true(seen > 0);
}

/* --- opening --- */

static int open_file(const char *path, bool read_only)
{
    struct block_file_params params = { .path = path, .read_only = read_only };
    struct block_backend *backend;
    int err = block_file_open(&params, &backend);

    if (!err)
        backend->ops->destroy(backend);
    return err;
}

static void a_disk_has_the_size_of_its_file(void **state)
{
    struct block_file_params params = { .path = image };
    struct block_backend *backend;
    (void)state;

    assert_int_equal(block_file_open(&params, &backend), 0);

    assert_int_equal(backend->sector_count, IMAGE_SIZE / SECTOR_SIZE);
    assert_int_equal(backend->block_size, SECTOR_SIZE);
    assert_false(backend->read_only);
    assert_true(backend->has_volatile_cache);
    assert_true(backend->can_write_zeroes);
    backend->ops->destroy(backend);
}

static void refuses_what_is_not_there(void **state)
{
    char path[PATH_MAX];
    (void)state;
    scratch_path(path, dir, "missing.img");
    assert_int_equal(open_file(path, false), -ENOENT);
}

static void refuses_a_directory(void **state)
{
    (void)state;
    assert_int_equal(open_file(dir, false), -EISDIR);
}

static void refuses_a_character_device(void **state)
{
    (void)state;
    assert_int_equal(open_file("/dev/zero", true), -ENOTBLK);
}

static void refuses_a_pipe_without_waiting_for_its_writer(void **state)
{
    char path[PATH_MAX];
    (void)state;
    scratch_path(path, dir, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);

    assert_int_equal(open_file(path, true), -ENOTBLK);
    unlink(path);
}

static void refuses_an_empty_file(void **state)
{
    (void)state;
    image_make(image, 0);
    assert_int_equal(open_file(image, false), -EINVAL);
}

static void refuses_half_a_sector(void **state)
{
    (void)state;
    image_make(image, SECTOR_SIZE + 1);
    assert_int_equal(open_file(image, false), -EINVAL);
}

static void refuses_what_it_has_no_permission_for(void **state)
{
    int status;
    (void)state;
    if (geteuid() != 0) {
        assert_int_equal(chmod(image, 0), 0);
        assert_int_equal(open_file(image, false), -EACCES);
        return;
    }
    pid_t child = fork();
    if (child == 0) /* root may read anything; nobody may not */
        _exit(setresuid(65534, 65534, 65534) < 0 || open_file(image, false) != -EACCES);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void refuses_a_disk_beyond_the_file_size_limit(void **state)
{
    struct rlimit before, small = { .rlim_cur = IMAGE_SIZE / 2 };
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);

    int err = open_file(image, false);
    int read_only_err = open_file(image, true);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, -EFBIG);
    assert_int_equal(read_only_err, 0);
}

/* --- locks --- */

static void a_disk_open_for_writing_cannot_be_opened_again(void **state)
{
    struct block_file_params params = { .path = image };
    struct block_backend *first, *second = NULL;
    (void)state;
    assert_int_equal(block_file_open(&params, &first), 0);

    assert_int_equal(block_file_open(&params, &second), -EAGAIN);
    params.read_only = true;
    assert_int_equal(block_file_open(&params, &second), -EAGAIN);

    first->ops->destroy(first);
    assert_int_equal(block_file_open(&params, &second), 0);
    second->ops->destroy(second);
}

static void readers_share_a_disk(void **state)
{
    struct block_file_params params = { .path = image, .read_only = true };
    struct block_backend *first, *second;
    (void)state;
    assert_int_equal(block_file_open(&params, &first), 0);
    assert_int_equal(block_file_open(&params, &second), 0);
    second->ops->destroy(second);

    params.read_only = false;
    assert_int_equal(block_file_open(&params, &second), -EAGAIN);
    first->ops->destroy(first);
}

static void the_holder_of_a_lock_is_found(void **state)
{
    struct block_file_params params = { .path = image };
    struct block_backend *first;
    pid_t holder = 0;
    (void)state;
    skip_if_emulated("whole list of processes in /proc");
    assert_int_equal(block_file_open(&params, &first), 0);
    int fd = open(image, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);

    assert_int_equal(block_lock(fd, false, &holder), -EAGAIN);

    assert_int_equal(holder, getpid());
    close(fd);
    first->ops->destroy(first);
}

/* --- reading and writing --- */

static void check_write_and_read(struct rig *rig)
{
    uint8_t out[8 * SECTOR], in[8 * SECTOR];

    memset(out, 0xa5, sizeof(out));
    assert_int_equal(rig_do(rig, BLOCK_WRITE, 4096, out, sizeof(out)), 0);
    assert_int_equal(rig_do(rig, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(rig_do(rig, BLOCK_READ, 4096, in, sizeof(in)), 0);

    assert_memory_equal(in, out, sizeof(in));
    memset(in, 0, sizeof(in));
    image_read(image, 4096, in, sizeof(in));
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(rig_do(rig, BLOCK_READ, 0, in, SECTOR_SIZE), 0);
    assert_int_equal(in[0], 1);
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_write_and_read);
    with_each_engine(BLOCK_CACHE_UNSAFE, check_write_and_read);
}

static void check_many(struct rig *rig)
{
    static struct job jobs[MAX_REQUESTS];
    static uint8_t bufs[MAX_REQUESTS][SECTOR_SIZE];

    for (unsigned i = 0; i < MAX_REQUESTS; i++) {
        job_init(&jobs[i], BLOCK_READ, i * SECTOR, bufs[i], SECTOR_SIZE);
        rig_submit(rig, &jobs[i]);
    }
    assert_int_equal(rig->outstanding, MAX_REQUESTS);
    rig_wait(rig);

    for (unsigned i = 0; i < MAX_REQUESTS; i++) {
        assert_int_equal(jobs[i].err, 0);
        assert_int_equal(bufs[i][0], i + 1);
        assert_int_equal(bufs[i][SECTOR_SIZE - 1], i + 1);
    }
}

static void many_requests_run_at_once(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_many);
}

static void check_vectors(struct rig *rig)
{
    uint8_t a[SECTOR_SIZE], b[100], c[2 * SECTOR - 100];
    struct job job;

    job_init(&job, BLOCK_READ, 2 * SECTOR, a, sizeof(a));
    job.iov[1] = (struct iovec){ b, sizeof(b) };
    job.iov[2] = (struct iovec){ c, sizeof(c) };
    job.request.iov_count = 3;
    job.request.len = 3 * SECTOR;
    rig_submit(rig, &job);
    rig_wait(rig);

    assert_int_equal(job.err, 0);
    assert_int_equal(a[0], 3);
    assert_int_equal(b[0], 4);
    assert_int_equal(c[SECTOR_SIZE - 100 - 1], 4);
    assert_int_equal(c[SECTOR_SIZE - 100], 5);
}

static void data_is_spread_over_several_buffers(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_vectors);
}

/* More than one step of copying, at an address that suits no device. */
static void check_misaligned(struct rig *rig)
{
    const size_t len = IMAGE_SIZE - SECTOR_SIZE;
    uint8_t *block = malloc(len + 4096), *buf = block + 1;

    assert_int_equal(rig_do(rig, BLOCK_READ, 0, buf, len), 0);
    assert_int_equal(buf[0], 1);
    assert_int_equal(buf[len - 1], (len / SECTOR_SIZE - 1) % 250 + 1);
    memset(buf, 0x77, len);
    assert_int_equal(rig_do(rig, BLOCK_WRITE, SECTOR_SIZE, buf, len), 0);

    uint8_t last;
    image_read(image, IMAGE_SIZE - 1, &last, 1);
    assert_int_equal(last, 0x77);
    free(block);
}

static void buffers_may_have_any_alignment_under_direct_io(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_NONE, check_misaligned);
}

static void check_discard(struct rig *rig)
{
    uint8_t byte;
    struct stat before, after;

    if (!rig->backend->can_discard)
        skip_because("this file system makes no holes");
    assert_int_equal(stat(image, &before), 0);
    assert_int_equal(rig_do(rig, BLOCK_DISCARD, IMAGE_SIZE / 2, NULL, IMAGE_SIZE / 2), 0);

    assert_int_equal(stat(image, &after), 0);
    assert_int_equal(after.st_size, IMAGE_SIZE);
    assert_true(after.st_blocks < before.st_blocks);
    image_read(image, IMAGE_SIZE / 2 - 1, &byte, 1);
    assert_int_not_equal(byte, 0);
}

static void discarding_gives_space_back(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_discard);
}

static void check_zeroes(struct rig *rig)
{
    static uint8_t data[IMAGE_SIZE];

    for (unsigned may_unmap = 0; may_unmap < 2; may_unmap++) {
        struct job job;

        image_make(image, IMAGE_SIZE);
        job_init(&job, BLOCK_WRITE_ZEROES, SECTOR_SIZE, NULL, IMAGE_SIZE - 2 * SECTOR);
        job.request.may_unmap = may_unmap;
        rig_submit(rig, &job);
        rig_wait(rig);

        assert_int_equal(job.err, 0);
        image_read(image, 0, data, sizeof(data));
        assert_int_equal(data[SECTOR_SIZE - 1], 1);
        for (size_t i = SECTOR_SIZE; i < IMAGE_SIZE - SECTOR_SIZE; i++)
            assert_int_equal(data[i], 0);
        assert_int_not_equal(data[IMAGE_SIZE - SECTOR_SIZE], 0);
    }
}

static void zeroes_are_written(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_zeroes);
}

static void zeroes_are_written_by_hand_where_the_file_system_cannot(void **state)
{
    enum { START = 512, LEN = 700 * 1024 }; /* several steps, and a part of one */
    static uint8_t data[IMAGE_SIZE];
    struct block_request request = { .op = BLOCK_WRITE_ZEROES, .offset = START, .len = LEN };
    struct block_target target = { .fd = open(image, O_RDWR | O_CLOEXEC) };
    atomic_bool stop = false;
    (void)state;
    atomic_init(&target.cannot_punch, true);
    atomic_init(&target.cannot_zero_range, true);

    assert_int_equal(block_target_run(&target, &request, &stop), 0);

    close(target.fd);
    image_read(image, 0, data, sizeof(data));
    for (size_t i = START; i < START + LEN; i++)
        assert_int_equal(data[i], 0);
    assert_int_not_equal(data[START - 1], 0);
    assert_int_not_equal(data[START + LEN], 0);
}

/* --- a file that changes under us --- */

static void check_shrunk(struct rig *rig)
{
    uint8_t buf[4 * SECTOR];

    assert_int_equal(truncate(image, IMAGE_SIZE / 2 + 100), 0);

    assert_int_equal(rig_do(rig, BLOCK_READ, IMAGE_SIZE - sizeof(buf), buf, sizeof(buf)), -ENODATA);
    /* Across the end. */
    assert_int_equal(rig_do(rig, BLOCK_READ, IMAGE_SIZE / 2 - SECTOR, buf, sizeof(buf)), -ENODATA);
    /* Before it. */
    assert_int_equal(rig_do(rig, BLOCK_READ, IMAGE_SIZE / 2 - sizeof(buf), buf, sizeof(buf)), 0);
    /* Writing makes it longer again. */
    assert_int_equal(rig_do(rig, BLOCK_WRITE, IMAGE_SIZE - sizeof(buf), buf, sizeof(buf)), 0);
    assert_int_equal(rig_do(rig, BLOCK_READ, IMAGE_SIZE - sizeof(buf), buf, sizeof(buf)), 0);
}

static void what_a_shrunk_file_has_lost_is_an_error(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_shrunk);
}

static void all_of_that_holds_for_direct_io(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_NONE, check_write_and_read);
    with_each_engine(BLOCK_CACHE_NONE, check_many);
    with_each_engine(BLOCK_CACHE_NONE, check_vectors);
    with_each_engine(BLOCK_CACHE_NONE, check_zeroes);
    with_each_engine(BLOCK_CACHE_NONE, check_shrunk);
}

static void check_grown(struct rig *rig)
{
    uint8_t buf[SECTOR_SIZE];

    assert_int_equal(truncate(image, (off_t)2 * IMAGE_SIZE), 0);

    assert_int_equal(rig->backend->sector_count, IMAGE_SIZE / SECTOR_SIZE);
    assert_int_equal(rig_do(rig, BLOCK_READ, IMAGE_SIZE - SECTOR_SIZE, buf, SECTOR_SIZE), 0);
}

static void a_file_that_grows_changes_nothing(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_grown);
}

/* A full disk, without one: the limit came down after opening. Our program ignores SIGXFSZ here;
 * the threads block it anyway. */
static void check_no_room(struct rig *rig)
{
    struct rlimit before, small = { .rlim_cur = IMAGE_SIZE / 2 };
    uint8_t buf[SECTOR_SIZE] = { 0 };

    assert_int_equal(truncate(image, IMAGE_SIZE / 2), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int err = rig_do(rig, BLOCK_WRITE, IMAGE_SIZE - SECTOR_SIZE, buf, sizeof(buf));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);

    assert_int_equal(err, -EFBIG);
    assert_int_equal(rig_do(rig, BLOCK_WRITE, IMAGE_SIZE - SECTOR_SIZE, buf, sizeof(buf)), 0);
}

static void a_host_without_room_is_an_error_and_no_more(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_no_room);
    signal(SIGXFSZ, SIG_DFL);
}

static void threads_survive_the_file_size_limit_without_help(void **state)
{
    struct block_file_params params = { .path = image, .engine = BLOCK_ENGINE_THREADS };
    struct rig rig;
    (void)state;
    rig_open(&rig, &params);
    check_no_room(&rig);
    rig_close(&rig);
}

/* --- engines --- */

static void leave_in_the_middle(enum block_engine engine, enum block_cache cache)
{
    static struct job jobs[MAX_REQUESTS];
    static uint8_t buf[IMAGE_SIZE / 2];
    struct block_file_params params = { .path = image, .cache = cache, .engine = engine };
    struct rig rig;

    rig_open(&rig, &params);
    for (unsigned i = 0; i < MAX_REQUESTS; i++) {
        job_init(&jobs[i], BLOCK_WRITE, 0, buf, sizeof(buf));
        rig_submit(&rig, &jobs[i]);
        if (i == MAX_REQUESTS / 2)
            rig_flush(&rig);
    }
    unsigned outstanding = rig.outstanding;
    rig_close(&rig);
    assert_int_equal(rig.outstanding, outstanding);
}

static void requests_under_way_are_waited_for_when_a_disk_goes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        for (enum block_cache cache = BLOCK_CACHE_WRITEBACK; cache <= BLOCK_CACHE_NONE; cache++)
            if (can_open(engines[i], cache))
                leave_in_the_middle(engines[i], cache);
    }
}

/* A device goes with requests under way, and the memory that they are in. */
static struct block_backend *leave_for_another(struct rig *rig)
{
    const size_t len = 128 * SECTOR;
    struct job *jobs = calloc(MAX_REQUESTS, sizeof(*jobs));
    uint8_t *bufs = calloc(MAX_REQUESTS, len);

    assert_true(jobs && bufs);
    for (unsigned i = 0; i < MAX_REQUESTS; i++) {
        job_init(&jobs[i], i % 2 ? BLOCK_READ : BLOCK_WRITE, IMAGE_SIZE - len, bufs + i * len, len);
        rig_submit(rig, &jobs[i]);
        if (i == MAX_REQUESTS / 2)
            rig_flush(rig);
    }
    unsigned outstanding = rig->outstanding;
    struct block_backend *backend = rig_detach(rig);

    assert_int_equal(rig->outstanding, outstanding);
    free(bufs);
    free(jobs);
    return backend;
}

static void check_lives(struct rig *rig)
{
    for (int lives = 0; lives < 3; lives++) {
        uint8_t out[SECTOR_SIZE], in[SECTOR_SIZE];

        memset(out, lives, sizeof(out));
        assert_int_equal(rig_do(rig, BLOCK_WRITE, 4096, out, sizeof(out)), 0);
        rig_attach(rig, leave_for_another(rig));
        assert_int_equal(open_file(image, false), -EAGAIN); /* the lock is as it was */
        assert_int_equal(rig_do(rig, BLOCK_READ, 4096, in, sizeof(in)), 0);
        assert_memory_equal(in, out, sizeof(in));
        assert_int_equal(rig_do(rig, BLOCK_FLUSH, 0, NULL, 0), 0);
        assert_int_equal(rig->outstanding, 0);
    }
}

static void a_disk_serves_one_device_after_the_other(void **state)
{
    (void)state;
    with_each_engine(BLOCK_CACHE_WRITEBACK, check_lives);
    with_each_engine(BLOCK_CACHE_NONE, check_lives);
}

/* Makes a system call fail, as Docker's seccomp profile does with io_uring_setup(). */
static bool forbid(unsigned syscall_number, unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, syscall_number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void use_disk_without_io_uring(void)
{
    struct block_file_params params = { .path = image };
    struct rig rig;

    assert_true(forbid(SYS_io_uring_setup, EPERM));
    assert_false(can_open(BLOCK_ENGINE_URING, BLOCK_CACHE_WRITEBACK));
    rig_open(&rig, &params);
    check_write_and_read(&rig);
    rig_close(&rig);
}

static void use_disk_when_nothing_can_be_submitted(void)
{
    struct block_file_params params = { .path = image };
    struct rig rig;

    rig_open(&rig, &params);
    assert_true(forbid(SYS_io_uring_enter, EAGAIN));
    check_many(&rig);
    check_many(&rig);
    check_write_and_read(&rig);
    rig_close(&rig);
}

/* Runs @use in a process of its own, as a seccomp filter stays for life. */
static void in_a_child(void (*use)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* in place of a jump to the next test */
        use();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void threads_take_over_where_io_uring_is_forbidden(void **state)
{
    (void)state;
    skip_if_emulated("seccomp");
    in_a_child(use_disk_without_io_uring);
}

static void threads_take_over_when_the_kernel_takes_no_entries(void **state)
{
    (void)state;
    if (!can_open(BLOCK_ENGINE_URING, BLOCK_CACHE_WRITEBACK))
        skip_because("no io_uring");
    in_a_child(use_disk_when_nothing_can_be_submitted);
}

static unsigned count_threads(void)
{
    char line[256];
    unsigned count = 0;
    FILE *file = fopen("/proc/self/status", "re");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "Threads:", 8) == 0)
            count = (unsigned)strtoul(line + 8, NULL, 10);
    fclose(file);
    return count;
}

/* One that was joined may be on its way out for a moment yet, when it is emulated. */
static bool threads_are_down_to(unsigned count)
{
    for (int i = 0; i < 100 && count_threads() > count; i++)
        usleep(10000);
    return count_threads() == count;
}

static void an_unused_disk_has_no_threads(void **state)
{
    struct block_file_params params = { .path = image };
    uint8_t buf[SECTOR_SIZE];
    struct rig rig;
    (void)state;
    unsigned before = count_threads();

    rig_open(&rig, &params);
    assert_int_equal(count_threads(), before);
    assert_int_equal(rig_do(&rig, BLOCK_READ, 0, buf, sizeof(buf)), 0);
    assert_int_equal(rig_do(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_true(count_threads() <= before + 1);
    rig_close(&rig);
    assert_true(threads_are_down_to(before));
}

static void a_disk_without_a_device_has_no_threads(void **state)
{
    struct block_file_params params = { .path = image, .engine = BLOCK_ENGINE_THREADS };
    unsigned before = count_threads();
    struct rig rig;
    (void)state;
    rig_open(&rig, &params);
    assert_int_equal(rig_do(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_true(count_threads() > before);

    struct block_backend *backend = rig_detach(&rig);

    assert_true(threads_are_down_to(before));
    block_backend_destroy(backend);
}

static void a_file_in_memory_serves_one_device_after_the_other(void **state)
{
    char path[64];
    int memory = memfd_create("disk", MFD_CLOEXEC);
    struct block_file_params params = { .path = path };
    uint8_t out[SECTOR_SIZE] = { 1 }, in[SECTOR_SIZE];
    struct job job;
    struct rig rig;
    (void)state;
    assert_int_equal(ftruncate(memory, IMAGE_SIZE), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
    rig_open(&rig, &params);
    job_init(&job, BLOCK_WRITE, 0, out, sizeof(out));
    rig_submit(&rig, &job);

    rig_attach(&rig, rig_detach(&rig));

    assert_int_equal(rig_do(&rig, BLOCK_READ, 0, in, sizeof(in)), 0);
    assert_int_equal(in[0], 0);
    assert_int_equal(job.err, 1); /* nobody has done it, nor said so */
    rig_close(&rig);
    close(memory);
}

static void a_file_in_memory_needs_no_thread(void **state)
{
    char path[64];
    int memory = memfd_create("disk", MFD_CLOEXEC);
    struct block_file_params params = { .path = path };
    unsigned before = count_threads();
    uint8_t out[SECTOR_SIZE], in[SECTOR_SIZE];
    struct rig rig;
    (void)state;
    assert_int_equal(ftruncate(memory, IMAGE_SIZE), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
    memset(out, 0x3c, sizeof(out));
    rig_open(&rig, &params);

    assert_int_equal(rig_do(&rig, BLOCK_WRITE, 4096, out, sizeof(out)), 0);
    assert_int_equal(rig_do(&rig, BLOCK_READ, 4096, in, sizeof(in)), 0);

    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(count_threads(), before);
    assert_int_equal(rig_do(&rig, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(ftruncate(memory, 0), 0);
    assert_int_equal(rig_do(&rig, BLOCK_READ, 4096, in, sizeof(in)), -ENODATA);
    rig_close(&rig);
    close(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_disk_has_the_size_of_its_file, make_image),
        cmocka_unit_test(refuses_what_is_not_there),
        cmocka_unit_test(refuses_a_directory),
        cmocka_unit_test(refuses_a_character_device),
        cmocka_unit_test(refuses_a_pipe_without_waiting_for_its_writer),
        cmocka_unit_test(refuses_an_empty_file),
        cmocka_unit_test(refuses_half_a_sector),
        cmocka_unit_test_setup(refuses_what_it_has_no_permission_for, make_image),
        cmocka_unit_test_setup(refuses_a_disk_beyond_the_file_size_limit, make_image),
        cmocka_unit_test_setup(a_disk_open_for_writing_cannot_be_opened_again, make_image),
        cmocka_unit_test_setup(readers_share_a_disk, make_image),
        cmocka_unit_test_setup(the_holder_of_a_lock_is_found, make_image),
        cmocka_unit_test_setup(what_was_written_is_read_back, make_image),
        cmocka_unit_test_setup(many_requests_run_at_once, make_image),
        cmocka_unit_test_setup(data_is_spread_over_several_buffers, make_image),
        cmocka_unit_test_setup(buffers_may_have_any_alignment_under_direct_io, make_image),
        cmocka_unit_test_setup(discarding_gives_space_back, make_image),
        cmocka_unit_test_setup(zeroes_are_written, make_image),
        cmocka_unit_test_setup(zeroes_are_written_by_hand_where_the_file_system_cannot, make_image),
        cmocka_unit_test_setup(what_a_shrunk_file_has_lost_is_an_error, make_image),
        cmocka_unit_test_setup(all_of_that_holds_for_direct_io, make_image),
        cmocka_unit_test_setup(a_file_that_grows_changes_nothing, make_image),
        cmocka_unit_test_setup(a_host_without_room_is_an_error_and_no_more, make_image),
        cmocka_unit_test_setup(threads_survive_the_file_size_limit_without_help, make_image),
        cmocka_unit_test_setup(requests_under_way_are_waited_for_when_a_disk_goes, make_image),
        cmocka_unit_test_setup(a_disk_serves_one_device_after_the_other, make_image),
        cmocka_unit_test_setup(threads_take_over_where_io_uring_is_forbidden, make_image),
        cmocka_unit_test_setup(threads_take_over_when_the_kernel_takes_no_entries, make_image),
        cmocka_unit_test_setup(an_unused_disk_has_no_threads, make_image),
        cmocka_unit_test_setup(a_disk_without_a_device_has_no_threads, make_image),
        cmocka_unit_test(a_file_in_memory_serves_one_device_after_the_other),
        cmocka_unit_test(a_file_in_memory_needs_no_thread),
    };

    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}

// SPDX-License-Identifier: Apache-2.0
/* Random operations on a file, compared with what memory says it must hold:
 * `fsx FILE SEED OPERATIONS [no-shared-mappings]`.
 *
 * After the idea of Apple's and NeXT's fsx: reads and writes by calls and by mappings, truncations,
 * holes, zeroes, copies within the file, and reopening, at any offset, so that pages which a cache
 * holds, wrote back or lost show up as a wrong byte. The same seed makes the same run. On a
 * difference the last operations are printed; the status is 0 if there is none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 256 * 1024, STEP_MAX = 64 * 1024, PAGE = 4096, HISTORY = 20 };

static uint8_t shadow[FILE_MAX], found[FILE_MAX];
static size_t size;
static uint64_t random_state;
static const char *path;
static int fd = -1;
static bool may_share;
static char history[HISTORY][80];
static unsigned step;

static uint32_t pick(uint32_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(history[step % HISTORY], sizeof(history[0]), format, args);
    va_end(args);
}

static void fail(const char *what, size_t at)
{
    printf("fsx: step %u: %s at %#zx (%s); before it:\n", step, what, at, strerror(errno));
    for (unsigned i = step < HISTORY ? 0 : step - HISTORY + 1; i <= step; i++)
        printf("  %u: %s\n", i, history[i % HISTORY]);
    exit(1);
}

static void expect(bool holds, const char *what)
{
    if (!holds)
        fail(what, 0);
}

static void compare(const uint8_t *data, size_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != shadow[offset + i])
            fail("a wrong byte", offset + i);
}

/* A range to work on, within the first @limit bytes. */
static size_t pick_range(size_t limit, size_t *len)
{
    size_t offset = pick((uint32_t)limit);
    size_t most = limit - offset < STEP_MAX ? limit - offset : STEP_MAX;

    if (pick(4) == 0)
        offset -= offset % PAGE;
    *len = 1 + pick((uint32_t)most);
    return offset;
}

static void fill(size_t offset, size_t len)
{
    uint8_t first = (uint8_t)pick(256);

    for (size_t i = 0; i < len; i++)
        shadow[offset + i] = (uint8_t)(first + (i >> 3) + i);
}

/* What lies between the end and a place beyond it reads as zeroes. */
static void grow_to(size_t end)
{
    if (end > size)
        size = end;
}

static void do_read(void)
{
    size_t len, offset = pick_range(FILE_MAX, &len);
    size_t there = offset >= size ? 0 : size - offset < len ? size - offset : len;

    note("read %#zx at %#zx", len, offset);
    expect(pread(fd, found, len, (off_t)offset) == (ssize_t)there, "a read of another length");
    compare(found, offset, there);
}

static void do_write(void)
{
    size_t len, offset = pick_range(FILE_MAX, &len);

    note("write %#zx at %#zx", len, offset);
    fill(offset, len);
    grow_to(offset + len);
    expect(pwrite(fd, shadow + offset, len, (off_t)offset) == (ssize_t)len, "a write");
}

static void do_append(void)
{
    size_t len = 1 + pick(5000);

    if (size + len > FILE_MAX)
        return;
    note("append %#zx to %#zx", len, size);
    int end = open(path, O_WRONLY | O_APPEND);
    fill(size, len);
    expect(write(end, shadow + size, len) == (ssize_t)len, "appending");
    size += len;
    (void)close(end);
}

static void do_map_read(void)
{
    if (size == 0)
        return;
    size_t len, offset = pick_range(size, &len), start = offset - offset % PAGE;

    note("mapped read %#zx at %#zx", len, offset);
    uint8_t *map = mmap(NULL, offset + len - start, PROT_READ, may_share ? MAP_SHARED : MAP_PRIVATE,
                        fd, (off_t)start);
    expect(map != MAP_FAILED, "a mapping");
    compare(map + (offset - start), offset, len);
    (void)munmap(map, offset + len - start);
}

static void do_map_write(void)
{
    if (size == 0 || !may_share)
        return;
    size_t len, offset = pick_range(size, &len), start = offset - offset % PAGE;

    note("mapped write %#zx at %#zx", len, offset);
    uint8_t *map =
        mmap(NULL, offset + len - start, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
    expect(map != MAP_FAILED, "a mapping");
    fill(offset, len);
    memcpy(map + (offset - start), shadow + offset, len);
    if (pick(3) == 0)
        expect(!msync(map, offset + len - start, MS_SYNC), "msync");
    (void)munmap(map, offset + len - start);
}

static void do_truncate(void)
{
    size_t to = pick(FILE_MAX);

    note("truncate from %#zx to %#zx", size, to);
    if (to < size)
        memset(shadow + to, 0, size - to);
    size = to;
    expect(!(pick(2) ? ftruncate(fd, (off_t)to) : truncate(path, (off_t)to)), "a truncation");
}

static void do_zero(void)
{
    size_t len, offset = pick_range(FILE_MAX, &len);
    bool is_hole = pick(2);

    note("%s %#zx at %#zx", is_hole ? "hole" : "zeroes", len, offset);
    if (fallocate(fd, (is_hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
                  (off_t)offset, (off_t)len)) {
        expect(errno == EOPNOTSUPP, "fallocate");
        return;
    }
    if (offset < size)
        memset(shadow + offset, 0, size - offset < len ? size - offset : len);
}

static void do_copy(void)
{
    if (size < 2)
        return;
    size_t len, offset = pick_range(size, &len), to = pick((uint32_t)(FILE_MAX - len + 1));
    off_t from_offset = (off_t)offset, to_offset = (off_t)to;

    if (offset < to + len && to < offset + len)
        return; /* they must not overlap */
    note("copy %#zx from %#zx to %#zx", len, offset, to);
    for (size_t left = len; left > 0;) {
        ssize_t part = copy_file_range(fd, &from_offset, fd, &to_offset, left, 0);
        expect(part > 0, "a copy");
        left -= (size_t)part;
    }
    memmove(shadow + to, shadow + offset, len);
    grow_to(to + len);
}

static void do_reopen(void)
{
    static const char *const caches = "/proc/sys/vm/drop_caches";

    note("reopen");
    if (pick(2))
        expect(!fsync(fd), "fsync");
    (void)close(fd);
    int drop = pick(4) ? -1 : open(caches, O_WRONLY);
    if (drop >= 0) {
        (void)!write(drop, "3", 1);
        (void)close(drop);
    }
    fd = open(path, O_RDWR);
    expect(fd >= 0, "opening again");
}

static void check_all(void)
{
    struct stat st;

    expect(!fstat(fd, &st) && (size_t)st.st_size == size, "another size");
    expect(pread(fd, found, FILE_MAX, 0) == (ssize_t)size, "a read of another length");
    compare(found, 0, size);
}

int main(int argc, char **argv)
{
    static void (*const operations[])(void) = {
        do_read,      do_read,      do_write,    do_write, do_append, do_map_read, do_map_read,
        do_map_write, do_map_write, do_truncate, do_zero,  do_copy,   do_reopen,
    };

    if (argc < 4)
        return 2;
    path = argv[1];
    random_state = strtoul(argv[2], NULL, 0);
    may_share = argc == 4;
    fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0644);
    expect(fd >= 0, "opening");
    unsigned steps = (unsigned)strtoul(argv[3], NULL, 0);
    for (step = 0; step < steps; step++) {
        note("nothing");
        operations[pick(sizeof(operations) / sizeof(operations[0]))]();
        if (step % 16 == 0)
            check_all();
    }
    check_all();
    printf("fsx: %u steps, seed %s: no difference\n", steps, argv[2]);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
/* Finds a kernel's configuration, the surest place first:
 *
 *   1. a vmlinux may have it inside (IKCONFIG=y): gzip'ed, between IKCFG_ST and IKCFG_ED
 *   2. beside the image: config-RELEASE, config (a folder of modules), or the .config of the tree
 *      that it was built in
 *   3. an image has a kernel inside, compressed (on x86-64 a vmlinux): unpacked, then as 1
 *   4. installed for its release: /boot/config-RELEASE, /usr/lib/modules/RELEASE/config
 *
 * What hutch has no library for is left to the programs that unpack it: no distribution of today
 * packs its kernel so. */
#include "kernel_config.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/unpack.h"
#include "host/fd.h"
#include "host/log.h"
#include "host/program.h"
#include "kernel_image.h"

enum { CONFIG_TEXT_MAX = 16 << 20, MAGIC_LEN = 4 };
#define IMAGE_MAX (UINT64_C(2) << 30) /* a vmlinux may have all that a debugger wants */

/* A file, mapped to be read. */
struct image {
    uint8_t *data;
    size_t len;
};

static int image_map(int fd, struct image *ret)
{
    struct stat st;

    if (fstat(fd, &st))
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode) || !st.st_size)
        return -ENODATA;
    if ((uint64_t)st.st_size > IMAGE_MAX)
        return -EFBIG;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return -errno;
    *ret = (struct image){ data, (size_t)st.st_size };
    return 0;
}

static void image_unmap(struct image *image)
{
    if (image->data)
        (void)munmap(image->data, image->len);
    image->data = NULL;
}

/* A memfd with a copy of @len bytes. Returns it or -errno. */
static int copy_to_file(const uint8_t *data, size_t len)
{
    AUTO_CLOSE int fd = memfd_create("hutch-kernel", MFD_CLOEXEC);
    int err = fd < 0 ? -errno : fd_write_full(fd, data, len);

    if (!err && lseek(fd, 0, SEEK_SET))
        err = -errno;
    return err ? err : take_fd(&fd);
}

/* Unpacks @data to at most @max bytes, for image_unmap(). */
static int unpack_by_library(const uint8_t *data, size_t len, enum unpack_format format, size_t max,
                             struct image *ret)
{
    AUTO_CLOSE int fd = copy_to_file(data, len);
    const struct unpack_input in = { .fd = fd, .size = len };
    size_t unpacked_len;

    if (fd < 0)
        return fd;
    /* How much it becomes is not known; what is not written takes no memory. */
    uint8_t *memory =
        mmap(NULL, max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    int err = unpack(format, &in, memory, max, &unpacked_len);
    if (!err && unpacked_len == 0)
        err = -ENODATA;
    if (!err && mremap(memory, max, unpacked_len, 0) == MAP_FAILED)
        err = -errno;
    if (err)
        (void)munmap(memory, max);
    else
        *ret = (struct image){ memory, unpacked_len };
    return err;
}

/* Lets a program unpack @data, for image_unmap(). What it says at the end does not count: behind a
 * kernel's payload stand bytes that are not its own. */
static int unpack_by_program(const uint8_t *data, size_t len, const char *const *argv,
                             struct image *ret)
{
    AUTO_CLOSE int input = copy_to_file(data, len);
    AUTO_CLOSE int output = memfd_create("hutch-unpacked", MFD_CLOEXEC);
    struct program program = {
        .argv = argv, .input = input, .output = output, .errors = -1, .max_file_size = IMAGE_MAX
    };
    if (input < 0)
        return input;
    if (output < 0)
        return -errno;
    int status = program_run(&program);
    if (status == -ENOENT) {
        log_warn("the kernel's configuration may be inside its image, which takes the program %s "
                 "to unpack",
                 argv[0]);
    }
    return status < 0 ? status : image_map(output, ret);
}

/* The text between the marks, unpacked; -ENOENT if there are none. */
static int read_ikconfig(const struct image *image, char **ret)
{
    static const char start[] = "IKCFG_ST\x1f\x8b", end[] = "IKCFG_ED"; /* gzip's magic follows */
    const size_t mark_len = sizeof(end) - 1;
    const uint8_t *from =
        image->data ? memmem(image->data, image->len, start, sizeof(start) - 1) : NULL;
    struct image text = { 0 };

    if (!from)
        return -ENOENT;
    from += mark_len;
    const uint8_t *to = memmem(from, image->len - (size_t)(from - image->data), end, mark_len);
    if (!to)
        return -ENOENT;
    if (unpack_by_library(from, (size_t)(to - from), UNPACK_GZIP, CONFIG_TEXT_MAX, &text))
        return -ENOENT;
    *ret = strndup((const char *)text.data, text.len);
    image_unmap(&text);
    return *ret ? 0 : -ENOMEM;
}

/* What a kernel that no library of ours unpacks is unpacked with, or NULL. */
static const char *const *payload_program(const uint8_t *data)
{
    static const struct {
        const char *magic;
        size_t len;
        const char *argv[3];
    } formats[] = {
        { "BZh", 3, { "bzip2", "-dc" } },
        { "\x5d\0\0", 3, { "unlzma", "-c" } },
        { "\x89LZO", 4, { "lzop", "-dc" } },
    };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (!memcmp(data, formats[i].magic, formats[i].len))
            return formats[i].argv;
    }
    return NULL;
}

/* Unpacks the kernel inside an image, for image_unmap(); -ENOENT if there is none. */
static int unpack_payload(const struct image *image, struct image *ret)
{
    size_t len, offset = kernel_image_payload(image->data, image->len, &len);
    const uint8_t *payload = image->data + offset;
    enum unpack_format format;
    int err = -ENOENT;

    if (len < MAGIC_LEN)
        return err;
    if (unpack_recognise(payload, &format)) {
        err = unpack_by_library(payload, len, format, UNPACK_MAX, ret);
    } else {
        const char *const *argv = payload_program(payload);
        if (argv)
            err = unpack_by_program(payload, len, argv, ret);
    }
    return err ? -ENOENT : 0;
}

/* Where the release begins: in an image that does not tell, it is searched for in its banner. */
static size_t release_offset(const struct image *image)
{
    static const char banner[] = "Linux version ";
    size_t offset = kernel_image_release(image->data, image->len);

    if (offset < image->len)
        return offset;
    const uint8_t *at =
        image->data ? memmem(image->data, image->len, banner, sizeof(banner) - 1) : NULL;
    return at ? (size_t)(at - image->data) + sizeof(banner) - 1 : image->len;
}

/* Of an image that does not tell, the release in its name: vmlinuz-RELEASE. */
static void take_release_from_name(const char *path, char *buf, size_t size)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    if (!strncmp(name, "vmlinuz-", 8) || !strncmp(name, "vmlinux-", 8))
        (void)snprintf(buf, size, "%s", name + 8);
}

/* The release becomes part of file names, so it ends where it could not be one. @offset is where
 * it begins in the image. Returns whether there is one. */
static bool copy_release(const struct image *image, size_t offset, char *buf, size_t size)
{
    size_t len = 0;

    for (; offset < image->len && len + 1 < size; offset++) {
        uint8_t byte = image->data[offset];
        if (byte <= ' ' || byte >= 0x7f || byte == '/')
            break;
        buf[len++] = (char)byte;
    }
    buf[len] = '\0';
    return len > 0 && strcmp(buf, ".") != 0 && strcmp(buf, "..") != 0;
}

/* @inside: the kernel inside of it is unpacked to, if only that may tell. */
static void find_release(const char *path, const struct image *image, struct image *inside,
                         char *buf, size_t size)
{
    bool is_found = copy_release(image, release_offset(image), buf, size);

    if (!is_found && !unpack_payload(image, inside))
        is_found = copy_release(inside, release_offset(inside), buf, size);
    if (!is_found)
        take_release_from_name(path, buf, size);
}

/* Reads a file that has a configuration. */
static int read_text(struct kernel_config *config, const char *path)
{
    AUTO_FREE char *text = NULL;

    if (fd_read_file(path, CONFIG_TEXT_MAX, &text, NULL) || !strstr(text, "CONFIG_"))
        return -ENOENT;
    config->source = strdup(path);
    if (!config->source)
        return -ENOMEM;
    config->text = take_pointer(text);
    return 0;
}

static int read_first(struct kernel_config *config, char names[][PATH_MAX], size_t count)
{
    int err = -ENOENT;

    for (size_t i = 0; err == -ENOENT && i < count; i++)
        err = read_text(config, names[i]);
    return err;
}

static int read_beside(struct kernel_config *config, const char *path)
{
    char names[4][PATH_MAX], folder[PATH_MAX];

    if (snprintf(folder, sizeof(folder), "%s", path) >= PATH_MAX - 256)
        return -ENOENT;
    const char *dir = dirname(folder);
    /* Without a release, "config-" is no file's name. */
    (void)snprintf(names[0], PATH_MAX, "%.3800s/config-%s", dir, config->release);
    (void)snprintf(names[1], PATH_MAX, "%.3800s/config", dir);
    (void)snprintf(names[2], PATH_MAX, "%.3800s/.config", dir);
    (void)snprintf(names[3], PATH_MAX, "%.3800s/../../../.config", dir); /* arch/.../boot/ */
    return read_first(config, names, 4);
}

static int read_installed(struct kernel_config *config)
{
    char names[2][PATH_MAX];

    if (!config->release[0])
        return -ENOENT;
    (void)snprintf(names[0], PATH_MAX, "/boot/config-%s", config->release);
    (void)snprintf(names[1], PATH_MAX, "/usr/lib/modules/%s/config", config->release);
    return read_first(config, names, 2);
}

static int read_inside(struct kernel_config *config, const struct image *image)
{
    int err = read_ikconfig(image, &config->text);

    if (err)
        return err;
    config->source = strdup("the image itself");
    return config->source ? 0 : -ENOMEM;
}

/* @inside: as unpacked, if it was. */
static int read_payload(struct kernel_config *config, const struct image *image,
                        struct image *inside)
{
    int err = inside->data ? 0 : unpack_payload(image, inside);

    return err ? err : read_inside(config, inside);
}

static int read_anywhere(struct kernel_config *config, const char *path, const struct image *image,
                         struct image *inside)
{
    int err = read_inside(config, image);

    if (err == -ENOENT)
        err = read_beside(config, path);
    if (err == -ENOENT)
        err = read_payload(config, image, inside);
    if (err == -ENOENT)
        err = read_installed(config);
    return err;
}

static int image_open(const char *path, struct image *ret)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    return fd < 0 ? -errno : image_map(fd, ret);
}

static int read_release(const char *path, bool unpacks, char release[KERNEL_RELEASE_LEN])
{
    struct image image = { 0 }, inside = { 0 };
    int err = image_open(path, &image);

    if (err)
        return err;
    bool is_found = copy_release(&image, release_offset(&image), release, KERNEL_RELEASE_LEN);
    if (!is_found && unpacks && !unpack_payload(&image, &inside))
        is_found = copy_release(&inside, release_offset(&inside), release, KERNEL_RELEASE_LEN);
    image_unmap(&inside);
    image_unmap(&image);
    return is_found ? 0 : -ENOENT;
}

int kernel_release_read(const char *path, char release[KERNEL_RELEASE_LEN])
{
    return read_release(path, true, release);
}

int kernel_release_peek(const char *path, char release[KERNEL_RELEASE_LEN])
{
    return read_release(path, false, release);
}

int kernel_config_peek(const char *path, struct kernel_config *ret)
{
    struct kernel_config config = { 0 };
    struct image image = { 0 };
    int err = image_open(path, &image);

    if (err)
        return err;
    if (!copy_release(&image, kernel_image_release(image.data, image.len), config.release,
                      sizeof(config.release)))
        take_release_from_name(path, config.release, sizeof(config.release));
    image_unmap(&image);
    err = read_beside(&config, path);
    if (!err)
        *ret = config;
    return err;
}

int kernel_config_read(const char *path, struct kernel_config *ret)
{
    struct kernel_config config = { 0 };
    struct image image = { 0 }, inside = { 0 };

    int err = image_open(path, &image);
    if (err == -ENODATA)
        log_error("kernel '%s': empty, or no regular file", path);
    else if (err)
        (void)log_errno(err, "kernel '%s'", path);
    if (err)
        return err;
    find_release(path, &image, &inside, config.release, sizeof(config.release));
    err = read_anywhere(&config, path, &image, &inside);
    image_unmap(&inside);
    image_unmap(&image);
    if (err) {
        kernel_config_fini(&config);
        log_error("kernel '%s': its configuration is neither in it (it has no IKCONFIG) nor beside "
                  "it as config-%s; put it there",
                  path, config.release[0] ? config.release : "RELEASE");
        return err;
    }
    *ret = config;
    return 0;
}

void kernel_config_fini(struct kernel_config *config)
{
    free(config->text);
    free(config->source);
    config->text = config->source = NULL;
}

enum config_value kernel_config_value(const struct kernel_config *config, const char *option)
{
    char line[80];
    size_t len = (size_t)snprintf(line, sizeof(line), "CONFIG_%s=", option);

    for (const char *at = config->text; (at = strstr(at, line)); at++) {
        if (at != config->text && at[-1] != '\n')
            continue;
        return at[len] == 'y' ? CONFIG_BUILT_IN : at[len] == 'm' ? CONFIG_MODULE : CONFIG_MISSING;
    }
    return CONFIG_MISSING;
}

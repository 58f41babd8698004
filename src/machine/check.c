// SPDX-License-Identifier: Apache-2.0
/* What can be found wrong with a machine before it is built. */
#include "machine/check.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "host/fd.h"
#include "host/log.h"
#include "host/program.h"
#include "machine_private.h"
#include "mem/guest_mem.h"
#include "mem/layout.h"
#include "virtio/block_backend.h"

/* Checks that a file could be made at @path: that its folder is there and ours to write. */
static int check_folder(const char *option, const char *path)
{
    AUTO_FREE char *copy = strdup(path);
    struct stat st;

    if (!copy)
        return log_errno(-ENOMEM, "%s", option);
    bool exists = !stat(path, &st);
    if (exists && S_ISDIR(st.st_mode)) {
        log_error("%s: '%s' is a directory; name a file in it", option, path);
        return -EISDIR;
    }
    /* What is there and is no file (a terminal, a pipe) is written to as it is. */
    if (exists && !S_ISREG(st.st_mode))
        return 0;
    const char *folder = dirname(copy);
    if (access(folder, W_OK | X_OK))
        return log_errno(-errno, "%s: '%s' cannot be made in '%s'", option, path, folder);
    return 0;
}

/* Whether two names are of one file or of one block device. What cannot be found is left to the one
 * who opens it in earnest; what is neither, as /dev/null, two may well share. */
static bool is_same_file(const char *path, const char *other)
{
    struct stat a, b;

    if (stat(path, &a) || stat(other, &b))
        return false;
    if (S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode))
        return a.st_rdev == b.st_rdev;
    return S_ISREG(a.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A file that we write from the start. */
struct output {
    const char *option; /* up to the file's name */
    const char *path;   /* NULL: none */
    const char *deed;   /* what becomes of a file that is there */
};

static int check_victim(const struct output *output, const char *what, const char *path)
{
    if (!output->path || !path || !is_same_file(output->path, path))
        return 0;
    log_error("%s%s would %s the %s '%s'", output->option, output->path, output->deed, what, path);
    return -EINVAL;
}

/* That it is nothing which the machine is made of, whatever its name. */
static int check_output(const struct config *config, const struct output *output)
{
    int err = check_victim(output, "kernel", config->kernel);

    if (!err)
        err = check_victim(output, "initrd", config->initrd);
    for (size_t i = 0; !err && i < config->disk_count; i++)
        err = check_victim(output, "disk", config->disks[i].path);
    return err;
}

static struct output console_output(const char *option, const struct console_config *console)
{
    return (struct output){ .option = option,
                            .path = console->kind == CONSOLE_FILE ? console->path : NULL,
                            .deed = "empty" };
}

static int check_outputs(const struct config *config)
{
    struct output serial = console_output("--serial=file:", &config->serial);
    struct output console = console_output("--console=file:", &config->console);
    struct output dtb = { "--dump-dtb=", config->dtb_path, "replace" };
    int err = check_output(config, &serial);

    if (!err)
        err = check_output(config, &console);
    if (!err)
        err = check_output(config, &dtb);
    if (!err)
        err = check_victim(&dtb, "file of the serial port", serial.path);
    if (!err)
        err = check_victim(&dtb, "file of the console", console.path);
    return err ? err : check_victim(&console, "file of the serial port", serial.path);
}

static int check_console(const char *option, const struct console_config *console)
{
    return console->kind == CONSOLE_FILE ? check_folder(option, console->path) : 0;
}

struct image_kind {
    unsigned offset;
    unsigned len;
    const char *magic;
    const char *what;
    const char *way_out; /* a command, in front of the image's name ... */
    const char *target;  /* ... and behind it */
};

/* Images whose bytes are not the disk's. */
static const struct image_kind image_kinds[] = {
    { 0, 4, "QFI\xfb", "a qcow2 image", "qemu-img convert -O raw", " NEW" },
    { 0, 4, "QED\0", "a QED image", "qemu-img convert -O raw", " NEW" },
    { 0, 4, "KDMV", "a VMDK image", "qemu-img convert -O raw", " NEW" },
    { 0, 4, "COWD", "a VMDK image", "qemu-img convert -O raw", " NEW" },
    { 0, 21, "# Disk DescriptorFile", "the description of a VMDK image", "qemu-img convert -O raw",
      " NEW" },
    { 0, 8, "vhdxfile", "a VHDX image", "qemu-img convert -O raw", " NEW" },
    { 0, 8, "conectix", "a VHD image", "qemu-img convert -O raw", " NEW" },
    { 0x40, 4, "\x7f\x10\xda\xbe", "a VDI image", "qemu-img convert -O raw", " NEW" },
    { 0, 16, "WithoutFreeSpace", "a Parallels image", "qemu-img convert -O raw", " NEW" },
    { 0, 16, "WithouFreSpacExt", "a Parallels image", "qemu-img convert -O raw", " NEW" },
    { 0, 6,
      "\xfd"
      "7zXZ\0",
      "compressed with xz", "xz -dk", "" },
    { 0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd", "zstd -dk", "" },
    { 0, 3, "\x1f\x8b\x08", "compressed with gzip", "gzip -dk", "" },
    { 0, 3, "BZh", "compressed with bzip2", "bzip2 -dk", "" },
};

static const struct image_kind *find_image_kind(const uint8_t *head, size_t len)
{
    for (size_t i = 0; i < sizeof(image_kinds) / sizeof(image_kinds[0]); i++) {
        const struct image_kind *kind = &image_kinds[i];
        if (kind->offset + kind->len <= len && !memcmp(head + kind->offset, kind->magic, kind->len))
            return kind;
    }
    return NULL;
}

/* Refuses an image that is surely meant to be read in another way, unless the user insists.
 * What fails to open here is left to the one who opens it in earnest. */
static int check_disk_format(const struct disk_config *disk)
{
    uint8_t head[512];
    AUTO_CLOSE int fd = open(disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t len = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
    const struct image_kind *kind = len > 0 ? find_image_kind(head, (size_t)len) : NULL;

    if (!kind || disk->format_given)
        return 0;
    log_error("disk '%s': looks like %s, and hutch reads raw ones: `%s '%s'%s`; if it is the "
              "content of a raw disk that looks so, add ,format=raw",
              disk->path, kind->what, kind->way_out, disk->path, kind->target);
    return -EINVAL;
}

/* The same names were seen by config_check(); one file may have two. */
static int check_disk_pairs(const struct config *config, size_t at)
{
    const struct disk_config *disk = &config->disks[at];

    for (size_t i = 0; i < at; i++) {
        const struct disk_config *other = &config->disks[i];
        if ((disk->read_only && other->read_only) || !is_same_file(disk->path, other->path))
            continue;
        log_error("disk '%s' is the same as disk '%s': both must be readonly then", disk->path,
                  other->path);
        return -EINVAL;
    }
    return 0;
}

static int check_disk(const struct config *config, size_t at)
{
    const struct disk_config *disk = &config->disks[at];
    int err = check_disk_format(disk);

    return err ? err : check_disk_pairs(config, at);
}

/* After the disks, as an image of another format is not one without a file system. */
static int check_root_image(const struct config *config)
{
    if (config->root != ROOT_IMAGE || !config->command || config->root_type)
        return 0;
    log_error("--root=%s: no file system is found in this image that hutch knows (ext4, xfs, "
              "btrfs, f2fs, erofs, squashfs), neither in the whole nor in a partition",
              config->root_path);
    return -EINVAL;
}

static int check_net(const struct net_config *net)
{
    struct stat st;

    if (net->kind == NET_KIND_FD && fcntl(net->fd, F_GETFD) < 0) {
        log_error("--net=fd:%d: no such file descriptor is open; a shell opens it with "
                  "%d<>/dev/tapN",
                  net->fd, net->fd);
        return -EBADF;
    }
    if (net->kind != NET_KIND_STREAM)
        return 0;
    if (stat(net->target, &st))
        return log_errno(-errno, "--net=stream:%s", net->target);
    if (!S_ISSOCK(st.st_mode)) {
        log_error("--net=stream:%s: not a socket", net->target);
        return -ENOTSOCK;
    }
    return 0;
}

static int check_status_fd(int fd)
{
    int flags = fd < 0 ? O_WRONLY : fcntl(fd, F_GETFL);

    if (flags < 0) {
        log_error("--status-fd=%d: no such file descriptor is open; a shell opens it with %d>FILE",
                  fd, fd);
        return -EBADF;
    }
    if ((flags & O_ACCMODE) == O_RDONLY) {
        log_error("--status-fd=%d: this file descriptor is open for reading only", fd);
        return -EBADF;
    }
    return 0;
}

int machine_check_result(const struct config *config)
{
    struct output result = { "--result=", config->result_path, "replace" };
    const struct console_config *serial = &config->serial, *console = &config->console;

    if (!result.path)
        return 0;
    int err = check_folder("--result", result.path);
    if (!err)
        err = check_output(config, &result);
    if (!err && serial->kind == CONSOLE_FILE)
        err = check_victim(&result, "file of the serial port", serial->path);
    if (!err && console->kind == CONSOLE_FILE)
        err = check_victim(&result, "file of the console", console->path);
    if (!err)
        err = check_victim(&result, "file of the device tree", config->dtb_path);
    return err;
}

int machine_check(const struct config *config)
{
    int err = check_console("--serial", &config->serial);

    if (!err)
        err = check_status_fd(config->status_fd);
    if (!err)
        err = check_console("--console", &config->console);
    if (!err && config->dtb_path)
        err = check_folder("--dump-dtb", config->dtb_path);
    if (!err)
        err = check_outputs(config);
    if (!err)
        err = machine_check_memory(config);
    for (size_t i = 0; !err && i < config->disk_count; i++)
        err = check_disk(config, i);
    if (!err)
        err = check_root_image(config);
    for (size_t i = 0; !err && i < config->net_count; i++)
        err = check_net(&config->nets[i]);
    return err;
}

static int try_kernel(const struct config *config)
{
    struct boot_files files = { .kernel_fd = -1, .initrd_fd = -1, .unpacked_fd = -1 };
    AUTO_CLOSE int dtb_fd = -1;
    struct guest_mem *mem = NULL;
    struct cpu_entry entry;
    struct board board = { 0 };
    int err = machine_make_memory(config, &mem);

    if (!err)
        err = board_init(&board, config, NULL);
    if (!err)
        err = session_open_boot_files(config, &files);
    if (!err)
        err = session_open_dtb(config, &dtb_fd);
    if (!err) {
        board_foresee_devices(&board, config);
        err = machine_load_kernel(config, &files, &board, dtb_fd, mem, &entry);
    }
    boot_files_close(&files);
    board_fini(&board);
    guest_mem_destroy(mem);
    return err;
}

static int try_disk(const struct disk_config *disk)
{
    struct block_backend *backend = NULL;
    int err = session_open_disk(disk, &backend);

    block_backend_destroy(backend);
    return err;
}

static int try_net(const struct net_config *net)
{
    AUTO_FREE char *passt = net->kind == NET_KIND_USER ? program_find("passt") : NULL;

    if (net->kind != NET_KIND_USER || passt)
        return 0;
    log_error("--net=user needs the program passt, which is not installed: `sudo apt-get install "
              "passt`");
    return -ENOENT;
}

static int try_volume(const struct config *config, const struct volume_config *volume)
{
    struct fs_share *share = NULL;
    int err = session_open_volume(config, volume, &share);

    fs_share_destroy(share);
    return err;
}

static int try_command(const struct config *config)
{
    struct agent_job job = { 0 };
    int err = config->command ? machine_make_job(config, &job) : 0;

    agent_job_fini(&job);
    return err;
}

int machine_try(const struct config *config)
{
    int err = try_kernel(config);

    for (size_t i = 0; !err && i < config->disk_count; i++)
        err = try_disk(&config->disks[i]);
    for (size_t i = 0; !err && i < config->net_count; i++)
        err = try_net(&config->nets[i]);
    for (size_t i = 0; !err && i < config->volume_count; i++)
        err = try_volume(config, &config->volumes[i]);
    return err ? err : try_command(config);
}

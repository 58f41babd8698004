// SPDX-License-Identifier: Apache-2.0
/* FUSE messages of a hostile guest, to a folder with a file, a link out of it and a hidden file.
 *
 * The input is a byte of choices, then messages: operation, node, room for the answer, where the
 * message is cut in two, the length of what is behind the header, and that. Whatever is asked for,
 * the secret beside the folder and the hidden one in it must stay, and none of their bytes be in an
 * answer. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/fs_fuse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum {
    CHOICE_READ_ONLY = 1,
    CHOICE_CACHE = 2, /* and 4 */
    CHOICE_NO_INIT = 8,
    CHOICE_FEW_OPEN = 16, /* so that files are closed and opened again */
    FILE_MAX = 1024 * 1024,
    ROOM_UNIT = 64,
};

struct short_header {
    uint8_t opcode, node, room, cut;
    uint8_t len[2];
};

static const char secret[] = "thesecretofthehost";

enum { SECRET, ROOT, FOLDER, FILE_IN_IT, LINK, HIDDEN, PATH_COUNT };
static const char *const names[PATH_COUNT] = {
    "secret", "root", "root/folder", "root/file", "root/link", "root/hidden",
};
static char scratch[64], paths[PATH_COUNT][128];

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fuzz_fs: %s: %s\n", what, strerror(errno));
        abort();
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    if (type == FTW_DNR || type == FTW_DP)
        (void)chmod(path, 0700);
    if (at->level > 0)
        (void)remove(path);
    return 0;
}

static void empty_scratch(void)
{
    (void)nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_scratch(void)
{
    empty_scratch();
    (void)rmdir(scratch);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct rlimit limit = { FILE_MAX, FILE_MAX };
    (void)argc;
    (void)argv;

    check(!setrlimit(RLIMIT_FSIZE, &limit), "RLIMIT_FSIZE");
    (void)snprintf(scratch, sizeof(scratch), "%s/fuzz_fs.XXXXXX",
                   access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    check(mkdtemp(scratch), scratch);
    for (int i = 0; i < PATH_COUNT; i++)
        (void)snprintf(paths[i], sizeof(paths[i]), "%s/%s", scratch, names[i]);
    atexit(remove_scratch);
    return 0;
}

static void write_secret(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    check(fd >= 0 && write(fd, secret, sizeof(secret) - 1) == sizeof(secret) - 1, path);
    close(fd);
}

static void expect_secret(const char *path)
{
    char found[sizeof(secret)] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    check(fd >= 0 && read(fd, found, sizeof(found)) == sizeof(secret) - 1 && !strcmp(found, secret),
          "a secret was changed");
    close(fd);
}

static void make_folder(void)
{
    check(!mkdir(paths[ROOT], 0700) && !mkdir(paths[FOLDER], 0700), "root");
    write_secret(paths[SECRET]);
    write_secret(paths[HIDDEN]);
    close(open(paths[FILE_IN_IT], O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    check(!symlink("../secret", paths[LINK]), "root/link");
}

/* What would fill the host's disk within its rights. */
static void tame(uint32_t opcode, uint8_t *arg, size_t len)
{
    if (opcode == FUSE_FALLOCATE && len >= sizeof(struct fuse_fallocate_in)) {
        struct fuse_fallocate_in in;

        memcpy(&in, arg, sizeof(in));
        in.offset %= FILE_MAX;
        in.length %= FILE_MAX;
        memcpy(arg, &in, sizeof(in));
    }
}

static void send_message(struct fs_fuse *fuse, struct fs_call *call,
                         const struct short_header *shape, const uint8_t *arg, size_t len)
{
    struct fuse_in_header header = { .len = (uint32_t)(sizeof(header) + len),
                                     .opcode = shape->opcode,
                                     .nodeid = shape->node,
                                     .uid = getuid(),
                                     .gid = getgid() };
    size_t room = (size_t)shape->room * ROOM_UNIT;
    uint8_t *message = malloc(header.len), *reply = calloc(1, room + 1);
    size_t cut = shape->cut % header.len;
    struct virtqueue_chain chain = { .writable_bytes = (uint32_t)room };

    check(message && reply, "memory");
    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), arg, len);
    tame(header.opcode, message + sizeof(header), len);
    if (cut)
        chain.segments[chain.readable_count++] = (struct iovec){ message, cut };
    chain.segments[chain.readable_count++] = (struct iovec){ message + cut, header.len - cut };
    chain.readable_bytes = header.len;
    if (room) {
        chain.segments[chain.readable_count] = (struct iovec){ reply, room };
        chain.writable_count = 1;
    }
    uint32_t written = fs_fuse_serve(fuse, call, &chain);
    check(written <= room, "more was written than there is room");
    check(!memmem(reply, room, secret, sizeof(secret) - 1) || shape->opcode == FUSE_WRITE ||
              memmem(message, header.len, secret, sizeof(secret) - 1),
          "a secret was told");
    free(message);
    free(reply);
}

static void send_init(struct fs_fuse *fuse, struct fs_call *call)
{
    const struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION,
                                     .minor = FUSE_KERNEL_MINOR_VERSION,
                                     .flags = UINT32_MAX };
    const struct short_header shape = { .opcode = FUSE_INIT, .room = 4 };

    send_message(fuse, call, &shape, (const uint8_t *)&in, sizeof(in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fs_call call;
    const char *const hidden[] = { paths[HIDDEN], NULL };
    struct fs_share_params params = { .path = paths[ROOT], .hidden = hidden };
    struct fs_fuse fuse = { 0 };
    struct short_header shape;

    if (size < 1)
        return 0;
    (void)signal(SIGXFSZ, SIG_IGN); /* as the program does; libFuzzer has set its own */
    make_folder();
    unsigned choices = *data++;
    size--;
    params.read_only = choices & CHOICE_READ_ONLY;
    params.cache = (enum fs_cache)(choices / CHOICE_CACHE % 4 % 3);
    check(!fs_share_open(&params, &fuse.share), "the folder");
    if (choices & CHOICE_FEW_OPEN)
        fuse.share->fd_max = 3;
    if (!(choices & CHOICE_NO_INIT))
        send_init(&fuse, &call);
    for (unsigned count = 0; count < 64 && size >= sizeof(shape); count++) {
        memcpy(&shape, data, sizeof(shape));
        data += sizeof(shape);
        size -= sizeof(shape);
        size_t len = (size_t)shape.len[0] | (size_t)(shape.len[1] % 8) << 8;
        len = len < size ? len : size;
        send_message(&fuse, &call, &shape, data, len);
        data += len;
        size -= len;
    }
    fs_share_destroy(fuse.share);
    expect_secret(paths[SECRET]);
    expect_secret(paths[HIDDEN]);
    empty_scratch();
    return 0;
}

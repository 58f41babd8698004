// SPDX-License-Identifier: Apache-2.0
/* A guest's root that wants out of the folders it was given:
 *
 *   hostile attack FOLDER READONLY-FOLDER   in the guest; prints what it reached, if anything
 *   hostile swap FOLDER SECONDS             on either side: puts a link to / in the place of a
 *                                           folder and back, as fast as it can
 *
 * FOLDER has what the host prepared: `folder` with `file` ("inside"), `link`, a symbolic link to
 * the folder `outside` beside the share, whose `file` says "secret"; and a device and a FIFO of the
 * host. Only what came through the share counts: a link that leads to the guest's own files is no
 * way out. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { SWAPS_SECONDS = 4, PATIENCE_SECONDS = 60, HANDLES = 4000 };

static unsigned reached, tried;

/* Takes an attempt that must not succeed. */
static void attempt(bool succeeded, const char *what)
{
    tried++;
    if (succeeded) {
        reached++;
        printf("reached: %s\n", what);
    }
}
#define ATTEMPT(call) attempt((call) >= 0, #call)

static int swap_for(const char *folder, int seconds)
{
    struct timespec now, end;

    if (chdir(folder))
        return 2;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    do {
        (void)renameat2(AT_FDCWD, "folder", AT_FDCWD, "link", RENAME_EXCHANGE);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec);
    return 0;
}

/* Whether what is open is the host's secret. */
static bool is_secret(int fd)
{
    char text[16] = "";
    bool is = fd >= 0 && pread(fd, text, sizeof(text), 0) > 0 && !strncmp(text, "secret", 6);

    if (fd >= 0)
        (void)close(fd);
    return is;
}

/* Looks beneath a name that is a folder and a link in turns, from this side and from the host's.
 * O_NOFOLLOW and openat() keep the guest's kernel from following the link by itself. A slow machine
 * needs longer to find the folder there twice: without that nothing would have been tried. */
static void race(void)
{
    unsigned inside = 0;
    pid_t child = fork();
    time_t start = time(NULL);

    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0)
        _exit(swap_for(".", PATIENCE_SECONDS));
    while (time(NULL) < start + (inside ? SWAPS_SECONDS : PATIENCE_SECONDS)) {
        int folder = open(tried % 2 ? "folder" : "link", O_PATH | O_NOFOLLOW | O_DIRECTORY);

        if (folder < 0)
            continue;
        int fd = openat(folder, "file", O_RDONLY);
        inside += fd >= 0;
        attempt(is_secret(fd), "a file beneath a link that was swapped in");
        fd = openat(folder, "made", O_CREAT | O_WRONLY, 0644);
        if (fd >= 0)
            (void)close(fd);
        (void)renameat(folder, "made", folder, "moved");
        (void)unlinkat(folder, "moved", 0);
        (void)close(folder);
    }
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    printf("race: %u times inside\n", inside);
}

/* The file's numbers are counted upwards: others' are tried. */
static void guess_handles(int mount_fd)
{
    union {
        struct file_handle handle;
        uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } own = { .handle.handle_bytes = MAX_HANDLE_SZ };
    int mount_id;

    if (name_to_handle_at(AT_FDCWD, "folder", &own.handle, &mount_id, 0) &&
        name_to_handle_at(AT_FDCWD, "link", &own.handle, &mount_id, 0)) {
        printf("handles: %s\n", strerror(errno));
        return;
    }
    for (uint32_t i = 0; i < HANDLES; i++) {
        uint32_t low = i;
        memcpy(own.handle.f_handle + (i % 2 ? 0 : sizeof(low)), &low, sizeof(low));
        attempt(is_secret(open_by_handle_at(mount_fd, &own.handle, O_RDONLY)), "a guessed handle");
    }
}

static void leave(const char *read_only)
{
    char path[PATH_MAX];

    attempt(is_secret(open("link/file", O_RDONLY)), "link/file");
    attempt(is_secret(open("../outside/file", O_RDONLY)), "../outside/file");
    attempt(is_secret(open("/proc/self/root/outside/file", O_RDONLY)), "/proc/self/root");
    (void)unlink("proc-link");
    (void)symlink("/proc/self/root/../outside", "proc-link");
    attempt(is_secret(open("proc-link/file", O_RDONLY)), "proc-link/file");
    (void)symlink("../outside/made-by-link", "dangling");
    (void)close(open("dangling", O_CREAT | O_WRONLY, 0644));
    ATTEMPT(mknod("disk", S_IFBLK | 0666, makedev(8, 0)));
    ATTEMPT(mknod("memory", S_IFCHR | 0666, makedev(1, 1)));
    (void)snprintf(path, sizeof(path), "%s/file", read_only);
    ATTEMPT(link(path, "linked"));
    ATTEMPT(rename(path, "renamed"));
    ATTEMPT(renameat2(AT_FDCWD, "mine", AT_FDCWD, path, RENAME_EXCHANGE));
    ATTEMPT(link("folder/../../outside/file", "linked"));
    ATTEMPT(
        setxattr("mine", "security.capability", "\1\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
    ATTEMPT(setxattr("mine", "trusted.overlay.redirect", "/", 1, 0));
    ATTEMPT(setxattr("mine", "security.selinux", "x", 1, 0));
}

static void change_read_only(const char *folder)
{
    struct timespec times[2] = { { 1, 0 }, { 1, 0 } };

    if (chdir(folder))
        exit(2);
    (void)mount("none", folder, NULL, MS_REMOUNT, NULL);
    ATTEMPT(open("file", O_WRONLY));
    ATTEMPT(open("file", O_RDONLY | O_TRUNC));
    ATTEMPT(open("new", O_CREAT | O_WRONLY, 0644));
    ATTEMPT(open(".", O_TMPFILE | O_RDWR, 0644));
    ATTEMPT(truncate("file", 0));
    ATTEMPT(chmod("file", 0777));
    ATTEMPT(chown("file", 1, 1));
    ATTEMPT(utimensat(AT_FDCWD, "file", times, 0));
    ATTEMPT(setxattr("file", "user.a", "x", 1, 0));
    ATTEMPT(rename("file", "other"));
    ATTEMPT(link("file", "other"));
    ATTEMPT(symlink("file", "other"));
    ATTEMPT(mkdir("other", 0755));
    ATTEMPT(mkfifo("other", 0644));
    ATTEMPT(unlink("file"));
    ATTEMPT(rmdir("empty"));
    int fd = open("file", O_RDONLY);
    ATTEMPT(fallocate(fd, 0, 0, 100));
    ATTEMPT(write(fd, "x", 1));
    attempt(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED, "a shared mapping");
    attempt(is_secret(fd), "a secret in the read-only folder");
}

static int attack(const char *folder, const char *read_only)
{
    if (chdir(folder))
        return 2;
    int mount_fd = open(".", O_RDONLY | O_DIRECTORY);
    (void)close(open("mine", O_CREAT | O_WRONLY, 0755));
    race();
    leave(read_only);
    guess_handles(mount_fd);
    /* The host never opens them, so nobody blocks: what answers is the guest's own. */
    (void)close(open("fifo", O_RDWR | O_NONBLOCK));
    (void)close(open("device", O_WRONLY | O_NONBLOCK));
    change_read_only(read_only);
    printf("hostile: %u attempts, %u reached\n", tried, reached);
    return reached > 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "attack"))
        return attack(argv[2], argv[3]);
    if (argc == 4 && !strcmp(argv[1], "swap"))
        return swap_for(argv[2], atoi(argv[3]));
    return 2;
}

// SPDX-License-Identifier: Apache-2.0
/* What POSIX and Linux say of files, tried in a folder: `posix FOLDER`, as root.
 *
 * Prints a line for each claim that does not hold, and the number of those that do; the status is 0
 * if all do. It passes on tmpfs and ext4, so what fails elsewhere is that file system's doing.
 * Runs in the folder, with relative names, and leaves nothing behind if all goes well. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { SOMEBODY = 1234, SOMEBODY_ELSE = 1235, PAGE = 4096 };

static unsigned passed, failed;

static void check(bool holds, int line, const char *claim)
{
    int err = errno;

    passed += holds;
    failed += !holds;
    if (!holds)
        printf("line %d: not so: %s (%s)\n", line, claim, strerror(err));
}

/* The call succeeds; it fails with just this error; the claim is true. */
#define WORKS(call) (errno = 0, check((call) >= 0, __LINE__, #call))
#define FAILS(error, call)                                                                         \
    (errno = 0, check((call) < 0 && errno == (error), __LINE__, #call " is " #error))
#define TRUE(claim) (errno = 0, check((claim), __LINE__, #claim))

static struct stat stat_of(const char *name)
{
    struct stat st = { 0 };

    if (lstat(name, &st))
        st.st_mode = 0;
    return st;
}

static int make(const char *name, mode_t mode)
{
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);

    return fd < 0 ? -1 : close(fd);
}

static int make_with(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    ssize_t done = write(fd, text, strlen(text));

    return close(fd) || done != (ssize_t)strlen(text) ? -1 : 0;
}

static bool contains(const char *name, const char *text)
{
    char found[256] = "";
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, found, sizeof(found) - 1);

    (void)close(fd);
    return len == (ssize_t)strlen(text) && !memcmp(found, text, (size_t)len);
}

/* Runs a part of the tests as an ordinary user, whose counts are added to ours. */
static void as(uid_t uid, void (*part)(void))
{
    unsigned counts[2] = { 0, 1 };
    int ends[2], status;

    if (pipe(ends))
        exit(2);
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        passed = failed = 0;
        if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
            _exit(2);
        part();
        (void)fflush(stdout);
        counts[0] = passed;
        counts[1] = failed;
        _exit(write(ends[1], counts, sizeof(counts)) != sizeof(counts));
    }
    (void)close(ends[1]);
    (void)!read(ends[0], counts, sizeof(counts));
    (void)close(ends[0]);
    (void)waitpid(child, &status, 0);
    passed += counts[0];
    failed += counts[1];
}

/* --- opening and making --- */

static void opening(void)
{
    WORKS(make("file", 0640));
    TRUE(stat_of("file").st_mode == (S_IFREG | 0640));
    TRUE(stat_of("file").st_nlink == 1 && stat_of("file").st_size == 0);
    FAILS(EEXIST, make("file", 0640));
    FAILS(ENOENT, open("none", O_RDONLY));
    FAILS(ENOENT, open("none/file", O_CREAT | O_RDWR, 0644));
    FAILS(ENOTDIR, open("file/file", O_RDONLY));
    FAILS(ENOTDIR, open("file", O_RDONLY | O_DIRECTORY));
    FAILS(EISDIR, open(".", O_WRONLY));
    FAILS(EISDIR, open(".", O_RDONLY | O_CREAT, 0644));
    WORKS(symlink("file", "link"));
    FAILS(ELOOP, open("link", O_RDONLY | O_NOFOLLOW));
    FAILS(EEXIST, make("link", 0644));
    WORKS(symlink("loop", "loop"));
    FAILS(ELOOP, open("loop", O_RDONLY));
    WORKS(symlink("made-by-link", "dangling"));
    FAILS(ENOENT, open("dangling", O_RDONLY));
    int fd = open("dangling", O_CREAT | O_WRONLY, 0600);
    WORKS(fd);
    WORKS(close(fd));
    TRUE(S_ISREG(stat_of("made-by-link").st_mode));
    mode_t old = umask(027);
    WORKS(make("masked", 0666));
    TRUE((stat_of("masked").st_mode & 07777) == 0640);
    WORKS(mkdir("masked-folder", 0777));
    TRUE((stat_of("masked-folder").st_mode & 07777) == 0750);
    (void)umask(old);
    WORKS(make("special", 04751));
    TRUE((stat_of("special").st_mode & 07777) == 04751);
    WORKS(rmdir("masked-folder"));
    for (const char **name = (const char *[]){ "file", "link", "loop", "dangling", "made-by-link",
                                               "masked", "special", NULL };
         *name; name++)
        WORKS(unlink(*name));
}

static void appending_and_truncating(void)
{
    WORKS(make_with("file", "0123456789"));
    int fd = open("file", O_RDWR | O_APPEND);
    TRUE(write(fd, "ab", 2) == 2 && contains("file", "0123456789ab"));
    TRUE(pwrite(fd, "c", 1, 0) == 1 && contains("file", "0123456789abc")); /* as Linux has it */
    TRUE(lseek(fd, 0, SEEK_END) == 13);
    WORKS(ftruncate(fd, 4));
    TRUE(contains("file", "0123"));
    WORKS(ftruncate(fd, 8));
    char buf[16] = "";
    TRUE(pread(fd, buf, sizeof(buf), 0) == 8 && !memcmp(buf, "0123\0\0\0\0", 8));
    FAILS(EINVAL, ftruncate(fd, -1));
    WORKS(close(fd));
    WORKS(truncate("file", 2));
    TRUE(contains("file", "01"));
    FAILS(EISDIR, truncate(".", 0));
    FAILS(ENOENT, truncate("none", 0));
    fd = open("file", O_RDONLY);
    FAILS(EBADF, write(fd, "x", 1));
    FAILS(EINVAL, ftruncate(fd, 0));
    WORKS(close(fd));
    fd = open("file", O_WRONLY | O_TRUNC);
    FAILS(EBADF, read(fd, buf, 1));
    TRUE(stat_of("file").st_size == 0);
    WORKS(close(fd));
    WORKS(unlink("file"));
}

static void names_of_any_byte(void)
{
    char name[NAME_MAX + 2] = "";
    bool seen[256] = { false };
    unsigned count = 0;

    WORKS(mkdir("bytes", 0755));
    WORKS(chdir("bytes"));
    for (int byte = 1; byte < 256; byte++) {
        (void)snprintf(name, sizeof(name), "x%cy", byte);
        if (byte != '/' && make(name, 0644))
            TRUE(!"a name with such a byte");
    }
    DIR *folder = opendir(".");
    for (struct dirent *entry; (entry = readdir(folder));) {
        count++;
        if (entry->d_name[0] == 'x' && entry->d_name[2] == 'y')
            seen[(uint8_t)entry->d_name[1]] = true;
    }
    TRUE(count == 254 + 2);
    for (int byte = 1; byte < 256; byte++) {
        (void)snprintf(name, sizeof(name), "x%cy", byte);
        if (byte != '/' && (!seen[byte] || unlink(name)))
            TRUE(!"it is listed, and can be removed");
    }
    (void)closedir(folder);
    memset(name, 'n', NAME_MAX);
    WORKS(make(name, 0644));
    WORKS(unlink(name));
    name[NAME_MAX] = 'n';
    FAILS(ENAMETOOLONG, make(name, 0644));
    FAILS(ENAMETOOLONG, mkdir(name, 0755));
    WORKS(chdir(".."));
    WORKS(rmdir("bytes"));
}

/* --- folders, links, moving --- */

static void folders(void)
{
    struct stat before = stat_of(".");

    WORKS(mkdir("folder", 0751));
    TRUE(stat_of("folder").st_mode == (S_IFDIR | 0751));
    TRUE(stat_of(".").st_nlink == before.st_nlink + 1 || before.st_nlink == 1);
    FAILS(EEXIST, mkdir("folder", 0755));
    FAILS(EEXIST, mkdir(".", 0755));
    FAILS(ENOENT, mkdir("none/folder", 0755));
    FAILS(EINVAL, rmdir("."));
    FAILS(ENOTEMPTY, rmdir("./folder/.."));
    FAILS(EISDIR, unlink("folder"));
    WORKS(make("folder/file", 0644));
    FAILS(ENOTEMPTY, rmdir("folder"));
    FAILS(ENOTDIR, rmdir("folder/file"));
    int fd = open("folder", O_RDONLY | O_DIRECTORY);
    WORKS(fsync(fd));
    WORKS(unlinkat(fd, "file", 0));
    WORKS(rmdir("folder"));
    FAILS(ENOENT, openat(fd, "file", O_CREAT | O_WRONLY, 0644));
    WORKS(close(fd));
    TRUE(stat_of(".").st_nlink == before.st_nlink);
    WORKS(mkdir("team", 02775));
    WORKS(chown("team", 0, SOMEBODY));
    WORKS(chmod("team", 02775));
    WORKS(mkdir("team/below", 0755));
    WORKS(make("team/file", 0644));
    TRUE(stat_of("team/below").st_gid == SOMEBODY && stat_of("team/file").st_gid == SOMEBODY);
    TRUE(stat_of("team/below").st_mode & S_ISGID);
    WORKS(unlink("team/file"));
    WORKS(rmdir("team/below"));
    WORKS(rmdir("team"));
}

/* Every entry is told once, also while others are removed; a position can be come back to. */
static void many_entries(void)
{
    enum { COUNT = 200 };
    char name[32];
    unsigned count = 0, again = 0;
    long middle = 0;

    WORKS(mkdir("many", 0755));
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof(name), "many/file-%d", i);
        if (make(name, 0644))
            TRUE(!"a file of many");
    }
    DIR *folder = opendir("many");
    for (struct dirent *entry; (entry = readdir(folder)); count++) {
        if (count == COUNT / 2)
            middle = telldir(folder);
    }
    TRUE(count == COUNT + 2);
    seekdir(folder, middle);
    while (readdir(folder))
        again++;
    TRUE(again == COUNT + 2 - COUNT / 2 - 1);
    rewinddir(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] != '.' && unlinkat(dirfd(folder), entry->d_name, 0))
            TRUE(!"removed while listed");
    }
    (void)closedir(folder);
    WORKS(rmdir("many"));
}

static void hard_links(void)
{
    WORKS(make_with("one", "text"));
    WORKS(link("one", "two"));
    TRUE(stat_of("one").st_ino == stat_of("two").st_ino && stat_of("two").st_nlink == 2);
    FAILS(EEXIST, link("one", "two"));
    FAILS(ENOENT, link("none", "three"));
    FAILS(EPERM, link(".", "three"));
    WORKS(symlink("one", "link"));
    WORKS(link("link", "linked-link"));
    TRUE(S_ISLNK(stat_of("linked-link").st_mode));
    WORKS(unlink("one"));
    TRUE(stat_of("two").st_nlink == 1 && contains("two", "text"));
    int fd = open("two", O_RDWR);
    WORKS(unlink("two"));
    struct stat st;
    TRUE(!fstat(fd, &st) && st.st_nlink == 0);
    char buf[8];
    TRUE(pwrite(fd, "TE", 2, 0) == 2 && pread(fd, buf, 8, 0) == 4 && !memcmp(buf, "TExt", 4));
    WORKS(close(fd));
    WORKS(unlink("link"));
    WORKS(unlink("linked-link"));
}

static void symbolic_links(void)
{
    char target[PATH_MAX + 1], found[PATH_MAX + 1];

    memset(target, 't', PATH_MAX);
    target[PATH_MAX] = '\0';
    FAILS(ENAMETOOLONG, symlink(target, "link"));
    target[PATH_MAX - 1] = '\0';
    WORKS(symlink(target, "link"));
    TRUE(readlink("link", found, sizeof(found)) == PATH_MAX - 1 &&
         !memcmp(found, target, PATH_MAX - 1));
    TRUE(stat_of("link").st_size == PATH_MAX - 1);
    TRUE(readlink("link", found, 10) == 10);
    FAILS(EEXIST, symlink("x", "link"));
    FAILS(ENOENT, symlink("", "empty"));
    FAILS(EINVAL, readlink(".", found, sizeof(found)));
    struct timespec times[2] = { { 1000, 1 }, { 2000, 2 } };
    WORKS(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW));
    TRUE(stat_of("link").st_mtim.tv_sec == 2000);
    WORKS(lchown("link", SOMEBODY, SOMEBODY));
    TRUE(stat_of("link").st_uid == SOMEBODY);
    WORKS(unlink("link"));
}

static void renaming(void)
{
    WORKS(make_with("a", "a"));
    WORKS(make_with("b", "b"));
    WORKS(rename("a", "b"));
    TRUE(contains("b", "a"));
    FAILS(ENOENT, rename("a", "c"));
    WORKS(link("b", "same"));
    WORKS(rename("b", "same"));
    TRUE(stat_of("b").st_nlink == 2);
    WORKS(mkdir("folder", 0755));
    WORKS(mkdir("folder/below", 0755));
    WORKS(mkdir("empty", 0755));
    FAILS(EISDIR, rename("b", "folder"));
    FAILS(ENOTDIR, rename("folder", "b"));
    FAILS(EINVAL, rename("folder", "folder/below/itself"));
    TRUE(rename("empty", "folder") < 0 && (errno == ENOTEMPTY || errno == EEXIST));
    FAILS(ENOENT, rename("b", "none/b"));
    WORKS(make("new", 0600));
    FAILS(EEXIST, renameat2(AT_FDCWD, "b", AT_FDCWD, "new", RENAME_NOREPLACE));
    WORKS(renameat2(AT_FDCWD, "b", AT_FDCWD, "folder", RENAME_EXCHANGE));
    TRUE(contains("folder", "a") && S_ISDIR(stat_of("b/below").st_mode));
    WORKS(renameat2(AT_FDCWD, "b", AT_FDCWD, "folder", RENAME_EXCHANGE));
    FAILS(EINVAL, renameat2(AT_FDCWD, "b", AT_FDCWD, "new", RENAME_EXCHANGE | RENAME_NOREPLACE));
    FAILS(ENOENT, renameat2(AT_FDCWD, "b", AT_FDCWD, "none", RENAME_EXCHANGE));
    int fd = open("folder/below", O_RDONLY | O_DIRECTORY);
    WORKS(rename("folder/below", "empty/moved"));
    struct stat up;
    TRUE(!fstatat(fd, "..", &up, 0) && up.st_ino == stat_of("empty").st_ino);
    WORKS(close(fd));
    WORKS(rename("folder", "empty/moved")); /* over an empty one */
    WORKS(rmdir("empty/moved"));
    WORKS(rmdir("empty"));
    WORKS(unlink("b"));
    WORKS(unlink("same"));
    WORKS(unlink("new"));
}

/* --- who may, and when it was --- */

static void somebodys_part(void)
{
    WORKS(make_with("open/own", "mine"));
    TRUE(stat_of("open/own").st_uid == SOMEBODY);
    FAILS(EACCES, open("secret", O_RDONLY));
    FAILS(EACCES, open("closed/file", O_RDONLY));
    FAILS(EACCES, make("shut", 0644));
    FAILS(EACCES, mkdir("shut", 0755));
    FAILS(EACCES, unlink("secret"));
    FAILS(EACCES, rename("open/own", "own"));
    FAILS(EPERM, chmod("secret", 0666));
    FAILS(EPERM, chown("open/own", SOMEBODY_ELSE, -1));
    FAILS(EPERM, chown("secret", SOMEBODY, -1));
    WORKS(chown("open/own", -1, SOMEBODY));
    WORKS(chmod("open/own", 06755));
    TRUE((stat_of("open/own").st_mode & 07777) == 06755);
    int fd = open("open/own", O_RDWR);
    TRUE(write(fd, "x", 1) == 1);
    TRUE((stat_of("open/own").st_mode & 07777) == 0755); /* a write takes the bits off */
    WORKS(close(fd));
    WORKS(chmod("open/own", 04755));
    WORKS(truncate("open/own", 1));
    TRUE((stat_of("open/own").st_mode & 07777) == 0755);
    WORKS(chmod("open/own", 04755));
    WORKS(chown("open/own", -1, SOMEBODY));
    TRUE((stat_of("open/own").st_mode & 07777) == 0755);
    struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
    FAILS(EPERM, utimensat(AT_FDCWD, "open/theirs", times, 0));
    WORKS(utimensat(AT_FDCWD, "open/theirs", NULL, 0)); /* who may write may touch */
    TRUE(access("secret", R_OK) < 0 && access("open/own", R_OK | W_OK | X_OK) == 0);
    FAILS(EPERM, link("secret", "open/linked")); /* protected_hardlinks */
}

static void somebody_elses_part(void)
{
    FAILS(EPERM, unlink("open/own")); /* the folder is sticky */
    FAILS(EPERM, rename("open/own", "open/other"));
    WORKS(make("open/else", 0600));
    WORKS(unlink("open/else"));
    FAILS(EACCES, open("open/own", O_WRONLY));
}

static void permissions(void)
{
    WORKS(chmod(".", 0755));
    WORKS(mkdir("open", 0755));
    WORKS(chmod("open", 01777));
    WORKS(mkdir("closed", 0700));
    WORKS(make("closed/file", 0644));
    WORKS(make("secret", 0600));
    WORKS(make("open/theirs", 0644));
    WORKS(chmod("open/theirs", 0666));
    as(SOMEBODY, somebodys_part);
    as(SOMEBODY_ELSE, somebody_elses_part);
    WORKS(chown("secret", SOMEBODY, SOMEBODY_ELSE));
    TRUE(stat_of("secret").st_uid == SOMEBODY && stat_of("secret").st_gid == SOMEBODY_ELSE);
    for (const char **name =
             (const char *[]){ "open/own", "open/theirs", "closed/file", "secret", NULL };
         *name; name++)
        WORKS(unlink(*name));
    WORKS(rmdir("open"));
    WORKS(rmdir("closed"));
}

static bool is_later(struct timespec a, struct timespec b)
{
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static void times(void)
{
    struct timespec set[2] = { { 1000000000, 123456789 }, { 1100000000, 987654321 } };
    const struct timespec pause = { 0, 20 * 1000 * 1000 };

    WORKS(make_with("file", "x"));
    WORKS(utimensat(AT_FDCWD, "file", set, 0));
    struct stat st = stat_of("file");
    TRUE(st.st_atim.tv_sec == 1000000000 && st.st_atim.tv_nsec == 123456789);
    TRUE(st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 987654321);
    set[0].tv_nsec = UTIME_OMIT;
    set[1].tv_nsec = UTIME_NOW;
    WORKS(utimensat(AT_FDCWD, "file", set, 0));
    TRUE(stat_of("file").st_atim.tv_sec == 1000000000);
    TRUE(stat_of("file").st_mtim.tv_sec > 1100000000 || time(NULL) < 1100000000);
    (void)nanosleep(&pause, NULL);
    struct stat before = stat_of("file"), folder = stat_of(".");
    WORKS(chmod("file", 0600));
    TRUE(is_later(stat_of("file").st_ctim, before.st_ctim));
    TRUE(!is_later(stat_of("file").st_mtim, before.st_mtim));
    (void)nanosleep(&pause, NULL);
    int fd = open("file", O_WRONLY);
    TRUE(write(fd, "y", 1) == 1);
    WORKS(close(fd));
    TRUE(is_later(stat_of("file").st_mtim, before.st_mtim));
    TRUE(!is_later(stat_of(".").st_mtim, folder.st_mtim));
    WORKS(make("other", 0644));
    TRUE(is_later(stat_of(".").st_mtim, folder.st_mtim));
    WORKS(unlink("other"));
    WORKS(unlink("file"));
}

/* --- content --- */

static void holes_and_size(bool tells_holes)
{
    const off_t far = (off_t)5 << 30;
    int fd = open("file", O_CREAT | O_RDWR, 0644);
    struct stat st;
    char byte = 1;

    TRUE(pwrite(fd, "end", 3, far) == 3);
    TRUE(!fstat(fd, &st) && st.st_size == far + 3 && st.st_blocks < 4096);
    TRUE(pread(fd, &byte, 1, far - 1) == 1 && byte == 0);
    if (tells_holes) {
        TRUE(lseek(fd, 0, SEEK_DATA) > 0 && lseek(fd, 0, SEEK_DATA) <= far);
        TRUE(lseek(fd, 0, SEEK_HOLE) == 0);
    } else { /* all may be data, and what is not on the disk yet is no hole */
        TRUE(lseek(fd, far, SEEK_DATA) == far);
        TRUE(lseek(fd, far, SEEK_HOLE) == far + 3);
    }
    FAILS(ENXIO, lseek(fd, far + 3, SEEK_DATA));
    WORKS(ftruncate(fd, 0));
    char full[4 * PAGE];
    memset(full, 'f', sizeof(full));
    TRUE(pwrite(fd, full, sizeof(full), 0) == sizeof(full));
    WORKS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE));
    TRUE(pread(fd, &byte, 1, PAGE) == 1 && byte == 0);
    TRUE(pread(fd, &byte, 1, 2 * PAGE) == 1 && byte == 'f');
    WORKS(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8 * PAGE));
    TRUE(!fstat(fd, &st) && st.st_size == sizeof(full));
    WORKS(fallocate(fd, 0, 0, 8 * PAGE));
    TRUE(!fstat(fd, &st) && st.st_size == 8 * PAGE);
    int copy = open("copy", O_CREAT | O_RDWR, 0644);
    TRUE(lseek(fd, 0, SEEK_SET) == 0);
    TRUE(copy_file_range(fd, NULL, copy, NULL, 3 * PAGE, 0) == 3 * PAGE);
    TRUE(pread(copy, &byte, 1, 2 * PAGE) == 1 && byte == 'f');
    off_t from = 0;
    TRUE(sendfile(copy, fd, &from, PAGE) == PAGE);
    TRUE(!fstat(copy, &st) && st.st_size == 4 * PAGE);
    WORKS(fdatasync(copy));
    WORKS(fsync(fd));
    WORKS(syncfs(fd));
    WORKS(close(fd));
    WORKS(close(copy));
    WORKS(unlink("file"));
    WORKS(unlink("copy"));
}

static void mapping(bool may_share)
{
    char page[PAGE] = { 0 };
    int fd = open("file", O_CREAT | O_RDWR, 0644);

    WORKS(ftruncate(fd, PAGE + 10));
    char *own = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    TRUE(own != MAP_FAILED);
    own[0] = 'p';
    TRUE(pread(fd, page, 1, 0) == 1 && page[0] == 0);
    (void)munmap(own, 2 * PAGE);
    char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    TRUE((shared != MAP_FAILED) == may_share);
    if (shared != MAP_FAILED) {
        shared[5] = 's';
        WORKS(msync(shared, 2 * PAGE, MS_SYNC));
        TRUE(pread(fd, page, PAGE, 0) == PAGE && page[5] == 's');
        TRUE(pwrite(fd, "w", 1, 6) == 1 && shared[6] == 'w');
        (void)munmap(shared, 2 * PAGE);
    }
    WORKS(close(fd));
    WORKS(unlink("file"));
}

static void locks(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10 };
    int fd = open("file", O_CREAT | O_RDWR, 0644), other = open("file", O_RDWR), status = 1;

    WORKS(fcntl(fd, F_SETLK, &lock));
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct flock theirs = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 15 };
        bool is_refused = fcntl(other, F_SETLK, &theirs) < 0 && errno == EAGAIN;
        _exit(!(is_refused && !fcntl(other, F_GETLK, &theirs) && theirs.l_start == 10));
    }
    (void)waitpid(child, &status, 0);
    TRUE(status == 0);
    lock.l_type = F_UNLCK;
    WORKS(fcntl(fd, F_SETLK, &lock));
    WORKS(flock(fd, LOCK_EX));
    FAILS(EWOULDBLOCK, flock(other, LOCK_SH | LOCK_NB));
    WORKS(flock(fd, LOCK_UN));
    WORKS(flock(other, LOCK_SH | LOCK_NB));
    struct flock ofd_lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    WORKS(fcntl(fd, F_OFD_SETLK, &ofd_lock));
    FAILS(EAGAIN, fcntl(other, F_OFD_SETLK, &ofd_lock));
    WORKS(close(fd));
    WORKS(close(other));
    WORKS(unlink("file"));
}

static void without_a_name(void)
{
    char path[64];
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);

    if (fd < 0 && errno == EOPNOTSUPP)
        return; /* FUSE has it since Linux 6.2 */
    WORKS(fd);
    TRUE(write(fd, "unnamed", 7) == 7);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    WORKS(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    TRUE(contains("named", "unnamed"));
    WORKS(close(fd));
    WORKS(unlink("named"));
}

static void attributes(void)
{
    char value[16];

    WORKS(make("file", 0644));
    if (setxattr("file", "user.a", "value", 5, 0) < 0 && errno == EOPNOTSUPP) {
        WORKS(unlink("file"));
        return; /* the host's file system has none */
    }
    TRUE(getxattr("file", "user.a", value, sizeof(value)) == 5 && !memcmp(value, "value", 5));
    FAILS(EEXIST, setxattr("file", "user.a", "x", 1, XATTR_CREATE));
    FAILS(ENODATA, setxattr("file", "user.b", "x", 1, XATTR_REPLACE));
    FAILS(ERANGE, getxattr("file", "user.a", value, 2));
    TRUE(listxattr("file", NULL, 0) >= 7);
    WORKS(removexattr("file", "user.a"));
    FAILS(ENODATA, getxattr("file", "user.a", value, sizeof(value)));
    WORKS(unlink("file"));
}

/* --- what is not a file --- */

static void pipes_sockets_and_devices(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
    int status = 1;

    WORKS(mkfifo("fifo", 0644));
    TRUE(S_ISFIFO(stat_of("fifo").st_mode));
    FAILS(ENXIO, open("fifo", O_WRONLY | O_NONBLOCK));
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int end = open("fifo", O_WRONLY);
        _exit(write(end, "through", 7) != 7);
    }
    char buf[8] = "";
    int fd = open("fifo", O_RDONLY);
    TRUE(read(fd, buf, sizeof(buf)) == 7 && !strcmp(buf, "through"));
    WORKS(close(fd));
    (void)waitpid(child, &status, 0);
    TRUE(status == 0);
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    WORKS(bind(server, (struct sockaddr *)&address, sizeof(address)));
    WORKS(listen(server, 1));
    WORKS(connect(client, (struct sockaddr *)&address, sizeof(address)));
    WORKS(close(server));
    WORKS(close(client));
    WORKS(mknod("whiteout", S_IFCHR, makedev(0, 0)));
    TRUE(S_ISCHR(stat_of("whiteout").st_mode));
    struct statvfs vfs;
    TRUE(!statvfs(".", &vfs) && vfs.f_bsize > 0 && vfs.f_namemax >= 255);
    WORKS(unlink("fifo"));
    WORKS(unlink("socket"));
    WORKS(unlink("whiteout"));
}

static void programs(void)
{
    static const char *const args[] = { "./program", NULL };
    int status = 1;

    WORKS(make_with("program", "#!/bin/sh\nexit 3\n"));
    WORKS(chmod("program", 0755));
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)execv(args[0], (char *const *)args);
        _exit(1);
    }
    (void)waitpid(child, &status, 0);
    TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    WORKS(unlink("program"));
}

int main(int argc, char **argv)
{
    const char *lacks = argc > 2 ? argv[2] : "";

    if (argc < 2 || chdir(argv[1])) {
        fprintf(stderr, "usage: posix FOLDER [no-shared-mappings|no-holes]\n");
        return 2;
    }
    (void)umask(022);
    opening();
    appending_and_truncating();
    names_of_any_byte();
    folders();
    many_entries();
    hard_links();
    symbolic_links();
    renaming();
    permissions();
    times();
    holes_and_size(strcmp(lacks, "no-holes") != 0);
    mapping(strcmp(lacks, "no-shared-mappings") != 0);
    locks();
    without_a_name();
    attributes();
    pipes_sockets_and_devices();
    programs();
    printf("posix: %u hold, %u do not\n", passed, failed);
    return failed > 0;
}

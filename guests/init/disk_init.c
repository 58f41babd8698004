// SPDX-License-Identifier: Apache-2.0
/* PID 1 of the initial RAM disk that `hutch run -i auto` makes: loads the drivers, mounts the root
 * file system that the kernel command line names, and hands over to the init on it.
 *
 *   /modules/NAME.ko       the modules
 *   /modules/order         their names, one a line, in the order of loading
 *   /modules/filesystems   lines "TYPE COUNT": a kind of file system to try for the root, once the
 *                          first COUNT modules of the order are loaded; the first line is for
 *                          drivers alone, and has the type "-"
 *
 * So of several kinds only what is needed up to the right one is ever loaded. Like the kernel
 * itself it knows root=/dev/NAME, rootfstype= (which hutch has read: it then is the only kind in
 * the list), rootflags=, ro, rw, rootwait and init=, and mounts read-only unless told otherwise. If
 * it cannot go on it says why, and ends: the kernel panics then, as without a root.
 *
 * No C library: a static program of a few KiB, of system calls that x86-64 and arm64 have both. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "../lib/syscall.h"

enum { TEXT_MAX = 65536, PATH_LEN = 256, DEVICE_PATIENCE_MS = 10000, POLL_MS = 10 };

/* Where the program starts: the stack has argc, argv and the environment. */
#ifdef __x86_64__
__asm__(".globl _start\n"
        "_start:\n"
        "    mov %rsp, %rdi\n"
        "    xor %ebp, %ebp\n"
        "    and $-16, %rsp\n"
        "    call start\n");
#else
__asm__(".globl _start\n"
        "_start:\n"
        "    mov x0, sp\n"
        "    and x1, x0, #-16\n"
        "    mov sp, x1\n"
        "    bl start\n");
#endif

/* --- system calls, which return -errno --- */

static int sys_open(const char *path, int flags)
{
    return (int)sys_call(SYS_openat, AT_FDCWD, (long)path, flags, 0, 0);
}

static void sys_close(int fd)
{
    (void)sys_call(SYS_close, fd, 0, 0, 0, 0);
}

static int sys_mount(const char *source, const char *target, const char *type, unsigned long flags,
                     const char *options)
{
    return (int)sys_call(SYS_mount, (long)source, (long)target, (long)type, (long)flags,
                         (long)options);
}

static void sys_sleep_ms(unsigned ms)
{
    const long time[2] = { ms / 1000, (long)(ms % 1000) * 1000000 };

    (void)sys_call(SYS_nanosleep, (long)time, 0, 0, 0, 0);
}

/* --- text --- */

static size_t length(const char *text)
{
    size_t len = 0;

    while (text[len])
        len++;
    return len;
}

static bool begins(const char *text, const char *with)
{
    while (*with && *text == *with) {
        text++;
        with++;
    }
    return !*with;
}

static bool equal(const char *a, const char *b)
{
    return length(a) == length(b) && begins(a, b);
}

/* Two texts in a row; what is too long is cut off. */
static void join(char buf[PATH_LEN], const char *a, const char *b)
{
    size_t at = 0;

    while (*a && at < PATH_LEN - 1)
        buf[at++] = *a++;
    while (*b && at < PATH_LEN - 1)
        buf[at++] = *b++;
    buf[at] = '\0';
}

static void say(const char *text)
{
    (void)sys_call(SYS_write, 2, (long)text, (long)length(text), 0, 0);
}

static void say_error(const char *what, const char *name, int err)
{
    char digits[12] = { 0 };
    size_t at = sizeof(digits) - 1;
    unsigned number = (unsigned)(err < 0 ? -err : err);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    say("hutch-init: ");
    say(what);
    say(name);
    say(": error ");
    say(digits + at);
    say("\n");
}

static __attribute__((noreturn)) void die(const char *what, const char *name, const char *why)
{
    say("hutch-init: ");
    say(what);
    say(name);
    say(why);
    say("\n");
    for (;;)
        (void)sys_call(SYS_exit_group, 1, 0, 0, 0, 0);
}

/* Reads a small file, as a text. An empty one if that fails. */
static void read_text(const char *path, char buf[TEXT_MAX])
{
    int fd = sys_open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    long count = fd < 0 ? 0 : 1;

    while (count > 0 && len < TEXT_MAX - 1) {
        count = sys_call(SYS_read, fd, (long)(buf + len), (long)(TEXT_MAX - 1 - len), 0, 0);
        len += count > 0 ? (size_t)count : 0;
    }
    buf[len] = '\0';
    if (fd >= 0)
        sys_close(fd);
}

/* Cuts the next piece off, which ends at @end or a line's end; NULL after the last one. */
static char *next_piece(char **rest, char end)
{
    char *at = *rest;

    while (*at == end || *at == '\n')
        at++;
    if (!*at)
        return NULL;
    char *piece = at;
    while (*at && *at != end && *at != '\n')
        at++;
    if (*at)
        *at++ = '\0';
    *rest = at;
    return piece;
}

/* --- what the command line says --- */

struct wishes {
    const char *root, *flags, *init;
    bool writable, waits;
};

static const char *value_of(const char *word, const char *key, const char *otherwise)
{
    return begins(word, key) ? word + length(key) : otherwise;
}

static void read_wishes(char *cmdline, struct wishes *wishes)
{
    char *rest = cmdline, *word;

    while ((word = next_piece(&rest, ' ')) && !equal(word, "--")) {
        wishes->root = value_of(word, "root=", wishes->root);
        wishes->flags = value_of(word, "rootflags=", wishes->flags);
        wishes->init = value_of(word, "init=", wishes->init);
        if (equal(word, "ro") || equal(word, "rw"))
            wishes->writable = equal(word, "rw");
        wishes->waits |= equal(word, "rootwait");
    }
}

/* --- modules --- */

struct loader {
    char *order;     /* what is left of it */
    unsigned loaded; /* how many that were */
};

/* That some fail is foreseen: of drivers for the same, not every one suits this CPU. */
static void load_module(const char *name)
{
    char path[PATH_LEN];
    join(path, "/modules/", name);
    int fd = sys_open(path, O_RDONLY | O_CLOEXEC);
    int err = fd < 0 ? fd : (int)sys_call(SYS_finit_module, fd, (long)"", 0, 0, 0);

    if (err < 0 && err != -EEXIST && err != -ENODEV)
        say_error("module ", name, err);
    if (fd >= 0)
        sys_close(fd);
    (void)sys_call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0); /* its memory is the guest's */
}

static void load_until(struct loader *loader, const char *count_text)
{
    unsigned count = 0;
    char *name;

    for (; *count_text >= '0' && *count_text <= '9'; count_text++)
        count = 10 * count + (unsigned)(*count_text - '0');
    while (loader->loaded < count && (name = next_piece(&loader->order, '\n'))) {
        load_module(name);
        loader->loaded++;
    }
}

/* A console whose driver has just been loaded could not be opened for us before. */
static void open_console(void)
{
    int fd = sys_open("/dev/console", O_RDWR);

    if (fd < 0 || fd > 2) {
        if (fd > 2)
            sys_close(fd);
        return;
    }
    for (int next = fd + 1; next <= 2; next++)
        (void)sys_call(SYS_dup3, fd, next, 0, 0, 0);
}

/* --- the root --- */

static void wait_for_device(const struct wishes *wishes)
{
    unsigned waited_ms = 0;

    while (sys_call(SYS_faccessat, AT_FDCWD, (long)wishes->root, 0, 0, 0) < 0) {
        if (waited_ms >= DEVICE_PATIENCE_MS && !wishes->waits)
            die("root=", wishes->root, ": there is no such disk");
        sys_sleep_ms(POLL_MS);
        waited_ms += POLL_MS;
    }
}

/* As the kernel does: what cannot be written to is mounted read-only even under "rw". */
static int mount_root_as(const struct wishes *wishes, const char *type)
{
    unsigned long flags = MS_SILENT | (wishes->writable ? 0 : MS_RDONLY);
    int err = sys_mount(wishes->root, "/root", type, flags, wishes->flags);

    if (err == -EACCES || err == -EROFS)
        err = sys_mount(wishes->root, "/root", type, flags | MS_RDONLY, wishes->flags);
    return err;
}

/* Tries the kinds of file systems, one after the other; EINVAL: it is not of this kind. */
static void mount_root(const struct wishes *wishes, struct loader *loader, char *kinds)
{
    char *line;
    int err = -ENODEV;

    while (err < 0 && (line = next_piece(&kinds, '\n'))) {
        char *rest = line, *type = next_piece(&rest, ' ');
        load_until(loader, rest);
        err = mount_root_as(wishes, type);
        if (err < 0 && err != -EINVAL && err != -ENODEV)
            say_error("mount as ", type, err);
    }
    if (err < 0)
        die("root=", wishes->root,
            ": no file system that this kernel knows; rootfstype= names its kind");
}

/* Puts the root in the place of the RAM disk, of which nothing is left. */
static void switch_root(char *order)
{
    char *name, path[PATH_LEN];

    while ((name = next_piece(&order, '\n'))) {
        join(path, "/modules/", name);
        (void)sys_call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0);
    }
    (void)sys_call(SYS_unlinkat, AT_FDCWD, (long)"/init", 0, 0, 0);
    (void)sys_call(SYS_umount2, (long)"/proc", MNT_DETACH, 0, 0, 0);
    if (sys_mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) < 0)
        (void)sys_call(SYS_umount2, (long)"/dev", MNT_DETACH, 0, 0, 0);
    if (sys_call(SYS_chdir, (long)"/root", 0, 0, 0, 0) < 0 ||
        sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
        sys_call(SYS_chroot, (long)".", 0, 0, 0, 0) < 0 ||
        sys_call(SYS_chdir, (long)"/", 0, 0, 0, 0) < 0)
        die("the root file system", "", " cannot be made the root");
}

static void try_init(const char *path, char **argv, char **environment)
{
    argv[0] = (char *)path;
    int err = (int)sys_call(SYS_execve, (long)path, (long)argv, (long)environment, 0, 0);

    if (err != -ENOENT)
        say_error("init ", path, err);
}

static void run_init(const struct wishes *wishes, char **argv, char **environment)
{
    static const char *const usual[] = { "/sbin/init", "/etc/init", "/bin/init", "/bin/sh" };

    if (wishes->init) {
        try_init(wishes->init, argv, environment);
        die("init=", wishes->init, ": cannot be run");
    }
    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
        try_init(usual[i], argv, environment);
    die("root=", wishes->root, ": there is no init on it; init= names one");
}

__attribute__((noreturn, used)) void start(uintptr_t *stack);
void start(uintptr_t *stack)
{
    static char cmdline[TEXT_MAX], order[TEXT_MAX], kinds[TEXT_MAX];
    char **argv = (char **)(stack + 1), **environment = argv + stack[0] + 1;
    struct loader loader = { .order = order };
    struct wishes wishes = { 0 };
    char *rest = kinds;

    (void)sys_mount("proc", "/proc", "proc", 0, NULL);
    if (sys_mount("dev", "/dev", "devtmpfs", 0, NULL) < 0)
        die("/dev", "", ": CONFIG_DEVTMPFS is not set in this kernel");
    read_text("/proc/cmdline", cmdline);
    read_text("/modules/order", order);
    read_text("/modules/filesystems", kinds);
    read_wishes(cmdline, &wishes);
    char *drivers = next_piece(&rest, '\n');
    load_until(&loader, drivers && begins(drivers, "- ") ? drivers + 2 : "");
    open_console();
    if (!wishes.root || !begins(wishes.root, "/dev/"))
        die("root=", wishes.root ? wishes.root : "", ": only disks can be found: root=/dev/vda");
    wait_for_device(&wishes);
    mount_root(&wishes, &loader, rest);
    switch_root(loader.order);
    run_init(&wishes, argv, environment);
    for (;;)
        ;
}

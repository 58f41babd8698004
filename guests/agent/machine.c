// SPDX-License-Identifier: Apache-2.0
/* From a kernel that has just started us to a machine with /proc, /sys, /dev and a port.
 *
 * What fails here is told to the console: nobody else could be told. The host waits for our port,
 * prints the console's end if we do not come, and takes lines that begin with "hutch-agent: " as
 * the reason. */
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/reboot.h>

#include "agent.h"

enum { ORDER_MAX = 65536, PATIENCE_MS = 2000, PAUSE_MS = 2 };

static void mount_on(const char *type, const char *target, unsigned long flags, const char *options)
{
    char number[21];

    (void)SYS(mkdirat, SYS_AT_FDCWD, target, 0755);
    long err = SYS(mount, type, target, type, flags, options);
    if (err < 0 && err != -16) /* EBUSY: the kernel did it already */
        SAY("mount ", target, ": error ", text_number(number, (uint64_t)-err));
}

/* A folder's files that a bare kernel does not make. */
static void link_descriptors(void)
{
    (void)SYS(symlinkat, "/proc/self/fd", SYS_AT_FDCWD, "/dev/fd");
    (void)SYS(symlinkat, "fd/0", SYS_AT_FDCWD, "/dev/stdin");
    (void)SYS(symlinkat, "fd/1", SYS_AT_FDCWD, "/dev/stdout");
    (void)SYS(symlinkat, "fd/2", SYS_AT_FDCWD, "/dev/stderr");
}

static void load_module(const char *name)
{
    char path[256], number[21];

    TEXT_JOIN(path, "/modules/", name);
    int fd = (int)sys_open(path, O_RDONLY);
    long err = fd < 0 ? fd : SYS(finit_module, fd, "", 0);
    sys_close(&fd);
    if (err < 0 && err != -17) /* EEXIST: it is there already */
        SAY("module ", name, ": error ", text_number(number, (uint64_t)-err));
}

static void load_modules(void)
{
    static char order[ORDER_MAX];
    char *name = order;

    if (read_text("/modules/order", order, sizeof(order)) <= 0)
        return;
    for (char *at = order;; at++) {
        bool is_last = *at == '\0';

        if (!is_last && *at != '\n')
            continue;
        *at = '\0';
        if (*name)
            load_module(name);
        if (is_last)
            return;
        name = at + 1;
    }
}

void machine_set_up(void)
{
    mount_on("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
    mount_on("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
    mount_on("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
    mount_on("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666");
    mount_on("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
    link_descriptors();
    load_modules();
    network_raise_loopback();
}

/* --- the port --- */

struct directory_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t len;
    uint8_t type;
    char name[];
};

static bool is_our_port(const char *entry)
{
    char path[256], name[64];

    TEXT_JOIN(path, "/sys/class/virtio-ports/", entry, "/name");
    return read_text(path, name, sizeof(name)) > 0 && text_equals(name, AGENT_PORT_NAME);
}

/* Writes the name of our port's device. Returns whether there is one. */
static bool find_port(char *path, size_t size)
{
    _Alignas(struct directory_entry) char entries[4096];
    int fd = (int)sys_open("/sys/class/virtio-ports", O_RDONLY | O_DIRECTORY);
    long len = fd < 0 ? 0 : SYS(getdents64, fd, entries, sizeof(entries));
    bool is_found = false;

    for (long at = 0; at < len && !is_found;) {
        const struct directory_entry *entry = (const void *)(entries + at);

        is_found = is_our_port(entry->name);
        if (is_found)
            text_join(path, size, (const char *const[]){ "/dev/", entry->name, NULL });
        at += entry->len;
    }
    sys_close(&fd);
    return is_found;
}

static bool exists(const char *path)
{
    return SYS(faccessat, SYS_AT_FDCWD, path, 0) == 0;
}

static void say_what_is_missing(void)
{
    if (!exists("/sys/bus/virtio"))
        SAY("this kernel knows no virtio devices (CONFIG_VIRTIO_PCI, CONFIG_VIRTIO_MMIO)");
    else if (!exists("/sys/bus/virtio/drivers/virtio_console"))
        SAY("this kernel has no driver for console ports (CONFIG_VIRTIO_CONSOLE)");
    else
        SAY("no port '" AGENT_PORT_NAME "' was found");
}

int machine_open_port(void)
{
    char path[256];

    uint64_t start_ms = sys_now_ms();
    bool has_told = false;

    for (;;) {
        if (find_port(path, sizeof(path))) {
            long fd = sys_open(path, O_RDWR | SYS_NONBLOCK);

            if (fd >= 0)
                return (int)fd;
        }
        if (!has_told && sys_now_ms() - start_ms >= PATIENCE_MS) {
            say_what_is_missing();
            has_told = true;
        }
        sys_sleep_ms(PAUSE_MS);
    }
}

int machine_open_log(void)
{
    return (int)sys_open("/dev/kmsg", O_RDONLY | SYS_NONBLOCK);
}

_Noreturn void machine_power_off(void)
{
    (void)SYS(sync, 0);
    (void)SYS(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, NULL);
    for (;;)
        sys_sleep_ms(1000000);
}

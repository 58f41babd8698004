// SPDX-License-Identifier: Apache-2.0
/* The checks of what makes machines good rather than possible: memory, io_uring, networks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "doctor_private.h"
#include "host/fd.h"
#include "host/limits.h"
#include "host/program.h"
#include "mem/layout.h"

enum { SMALL_FILE_MAX = 4096, STATUS_FILE_MAX = 64 << 10, VERSION_MAX = 200 };
#define MEMORY_LITTLE (512 * MIB)
#define MEMLOCK_LITTLE (1 * MIB)

/* Whether capability number @bit is in our effective set. */
static bool has_capability(unsigned bit)
{
    AUTO_FREE char *text = NULL;

    if (fd_read_file("/proc/self/status", STATUS_FILE_MAX, &text, NULL))
        return false;
    const char *line = strstr(text, "\nCapEff:");
    return line && strtoull(line + strlen("\nCapEff:"), NULL, 16) >> bit & 1;
}

static void check_memory(struct doctor *doctor)
{
    uint64_t all = limits_memory(""), group = limits_cgroup_memory("");

    doctor_note(doctor, "memory", all && all < MEMORY_LITTLE ? FINDING_WARN : FINDING_OK,
                "%ju MiB%s, %u CPUs", (uintmax_t)(all / MIB),
                group == all ? " (the limit of our control group)" : "", limits_cpus());
    if (all && all < MEMORY_LITTLE)
        doctor_advise(doctor, "%s",
                      group == all ? "raise memory.max of the control group"
                                   : "start machines with --memory=64M or so");
}

static void check_huge_pages(struct doctor *doctor)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    AUTO_FREE char *text = NULL;

    if (fd_read_file(path, SMALL_FILE_MAX, &text, NULL)) {
        doctor_note(doctor, "huge-pages", FINDING_WARN,
                    "this kernel has no transparent huge pages: guests run a little slower");
        return;
    }
    if (!strstr(text, "[never]")) {
        doctor_note(doctor, "huge-pages", FINDING_OK, "transparent, %s",
                    strstr(text, "[always]") ? "always" : "when asked for");
        return;
    }
    doctor_note(doctor, "huge-pages", FINDING_WARN,
                "transparent huge pages are off: guests run slower");
    doctor_advise(doctor, "echo madvise | sudo tee %s", path);
}

/* The kernel looks at the permission before it looks at the arguments. */
static void check_io_uring(struct doctor *doctor)
{
    long ret = syscall(SYS_io_uring_setup, 0, NULL);

    if (ret < 0 && errno != EPERM && errno != ENOSYS && errno != EACCES) {
        doctor_note(doctor, "io-uring", FINDING_OK, "allowed");
        return;
    }
    doctor_note(doctor, "io-uring", FINDING_WARN, "%s: disks use threads, which is slower",
                errno == ENOSYS ? "not in this kernel" : "forbidden");
    if (errno == ENOSYS)
        doctor_advise(doctor, "run a Linux kernel of 5.6 or later on this host");
    else
        doctor_advise(doctor, "sudo sysctl kernel.io_uring_disabled=0; in a container, a seccomp "
                              "profile that allows io_uring_setup, _enter and _register");
}

static void check_memlock(struct doctor *doctor)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit))
        return;
    if (limit.rlim_cur == RLIM_INFINITY || has_capability(CAP_IPC_LOCK)) {
        doctor_note(doctor, "memlock", FINDING_OK, "unlimited");
        return;
    }
    bool is_little = limit.rlim_cur < MEMLOCK_LITTLE;
    doctor_note(doctor, "memlock", is_little ? FINDING_WARN : FINDING_OK, "%ju KiB%s",
                (uintmax_t)(limit.rlim_cur / KIB),
                is_little ? ": io_uring may not get its rings" : "");
    if (is_little)
        doctor_advise(doctor, "ulimit -l 8192, or memlock in /etc/security/limits.conf");
}

void doctor_check_host(struct doctor *doctor)
{
    check_memory(doctor);
    check_huge_pages(doctor);
    check_io_uring(doctor);
    check_memlock(doctor);
}

/* Whether a process of ours may make a user namespace: passt shuts itself into one. */
static bool can_make_user_namespace(void)
{
    int status;
    pid_t pid = fork();

    if (!pid)
        _exit(unshare(CLONE_NEWUSER) ? 1 : 0);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

static void check_passt(struct doctor *doctor)
{
    static const char *const argv[] = { "passt", "--version", NULL };
    AUTO_FREE char *version = NULL;
    int status = program_output(argv, VERSION_MAX, &version);

    if (status == -ENOENT) {
        doctor_note(doctor, "passt", FINDING_WARN, "not installed: no --net=user");
        doctor_advise(doctor, "sudo apt-get install passt");
        return;
    }
    if (status) {
        doctor_note(doctor, "passt", FINDING_WARN, "does not run: no --net=user");
        doctor_advise(doctor, "sudo apt-get install --reinstall passt");
        return;
    }
    version[strcspn(version, "\n")] = '\0';
    bool has_namespaces = can_make_user_namespace();
    doctor_note(doctor, "passt", has_namespaces ? FINDING_OK : FINDING_WARN, "%s%s",
                strstr(version, "unknown") ? "installed, version not told" : version,
                has_namespaces ? "" : ", but user namespaces are forbidden: no --net=user");
    if (!has_namespaces) {
        doctor_advise(doctor, "sudo sysctl user.max_user_namespaces=10000 (where they exist: "
                              "kernel.unprivileged_userns_clone=1, "
                              "kernel.apparmor_restrict_unprivileged_userns=0); in a container, a "
                              "seccomp profile that allows unshare");
    }
}

static void check_tap(struct doctor *doctor)
{
    static const char path[] = "/dev/net/tun";
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        int err = errno;
        doctor_note(doctor, "tap", FINDING_WARN, "%s: %s: no --net=tap:IF", path, strerror(err));
        doctor_advise(doctor, "%s",
                      err == EACCES ? "sudo chmod a+rw /dev/net/tun"
                                    : "sudo modprobe tun; in a container, pass "
                                      "/dev/net/tun in");
    } else if (has_capability(CAP_NET_ADMIN)) {
        doctor_note(doctor, "tap", FINDING_OK, "%s opens; we may make interfaces", path);
    } else {
        doctor_note(doctor, "tap", FINDING_OK, "%s opens; interfaces must be there already", path);
        doctor_advise(doctor, "sudo ip tuntap add dev tap0 mode tap user $USER && sudo ip link set "
                              "tap0 up, for --net=tap:tap0");
    }
}

void doctor_check_networks(struct doctor *doctor)
{
    check_passt(doctor);
    check_tap(doctor);
}

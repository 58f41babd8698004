// SPDX-License-Identifier: Apache-2.0
/* Opening a tap: by its name, or as a descriptor that somebody else has opened.
 *
 * What the kernel answers to TUNSETIFF says little (EINVAL stands for three mistakes, EPERM for
 * two), so after a refusal the interface is asked what it is, and the user reads that. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "host/fd.h"
#include "host/log.h"
#include "net_tap.h"

/* --- asking the host about interfaces --- */

/* The socket through which interfaces are asked and set; any family does. */
static int open_control(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

static void name_interface(struct ifreq *request, const char *interface)
{
    memset(request, 0, sizeof(*request));
    memcpy(request->ifr_name, interface, strnlen(interface, IFNAMSIZ - 1));
}

/* The interface's flags (IFF_UP ...), or -errno: -ENODEV if there is no such interface. */
static int read_flags(int control, const char *interface)
{
    struct ifreq request;

    name_interface(&request, interface);
    return ioctl(control, SIOCGIFFLAGS, &request) < 0 ? -errno : (unsigned short)request.ifr_flags;
}

static bool is_tap(int control, const char *interface)
{
    struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
    struct ifreq request;

    name_interface(&request, interface);
    request.ifr_data = (void *)&info;
    return ioctl(control, SIOCETHTOOL, &request) == 0 && strcmp(info.driver, "tun") == 0 &&
           strcmp(info.bus_info, "tap") == 0;
}

static int bring_up(int control, const char *interface, int flags)
{
    struct ifreq request;

    name_interface(&request, interface);
    request.ifr_flags = (short)(flags | IFF_UP);
    return ioctl(control, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/* --- by name --- */

/* Attaches a fresh descriptor to the interface, which is created if there is none. A tap that is
 * there already must be asked for with the IFF_MULTI_QUEUE that it was made with. */
static int attach_queue(int fd, const char *interface, bool *multi_queue, bool is_first)
{
    const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    struct ifreq request;

    name_interface(&request, interface);
    request.ifr_flags = (short)(flags | (*multi_queue ? IFF_MULTI_QUEUE : 0));
    if (ioctl(fd, TUNSETIFF, &request) == 0)
        return 0;
    if (errno != EINVAL || *multi_queue || !is_first)
        return -errno;
    name_interface(&request, interface);
    request.ifr_flags = (short)(flags | IFF_MULTI_QUEUE);
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return -errno;
    *multi_queue = true;
    return 0;
}

static int explain_device(int err)
{
    const char *hint = err == -ENOENT || err == -ENODEV || err == -ENXIO
                           ? "; load the driver (modprobe tun), or give a container this device"
                       : err == -EACCES ? "; ask for access to it, or use --net=user"
                                        : "";

    log_error("network: /dev/net/tun: %s%s", strerror(-err), hint);
    return err;
}

/* What a refused TUNSETIFF means for the user. */
static int explain_attach(int err, int control, const char *interface, unsigned pair_count)
{
    bool exists = read_flags(control, interface) >= 0;

    if (!exists && err == -EPERM) {
        log_error("network 'tap:%s': there is no such interface, and creating it takes "
                  "CAP_NET_ADMIN; as root: ip tuntap add dev %s mode tap user USER%s",
                  interface, interface, pair_count > 1 ? " multi_queue" : "");
    } else if (!exists) {
        log_errno(err, "network 'tap:%s': creating the interface", interface);
    } else if (!is_tap(control, interface)) {
        log_error("network 'tap:%s': the interface is not a tap device", interface);
    } else if (err == -EPERM) {
        log_error("network 'tap:%s': the interface belongs to another user; as root: "
                  "ip tuntap add dev NAME mode tap user USER makes one of your own",
                  interface);
    } else if (err == -EBUSY) {
        log_error("network 'tap:%s': another program uses the interface", interface);
    } else if (err == -EINVAL && pair_count > 1) {
        log_error("network 'tap:%s': the interface has one queue, not %u; make it with "
                  "ip tuntap add ... multi_queue, or use queues=1",
                  interface, pair_count);
    } else {
        log_errno(err, "network 'tap:%s': attaching", interface);
    }
    return err;
}

static int open_queues(struct tap *tap, int control, const char *interface, unsigned pair_count)
{
    bool multi_queue = pair_count > 1;

    for (unsigned i = 0; i < pair_count; i++) {
        AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return explain_device(-errno);
        int err = attach_queue(fd, interface, &multi_queue, i == 0);
        if (err)
            return explain_attach(err, control, interface, pair_count);
        err = tap_add_queue(tap, take_fd(&fd));
        if (err)
            return log_errno(err, "network 'tap:%s': setting the header up", interface);
    }
    tap_find_offloads(tap);
    return 0;
}

/* One that we created is brought up; one that others made may be down on purpose. */
static int check_up(int control, const char *interface, bool is_ours)
{
    int flags = read_flags(control, interface);

    if (flags < 0 || (flags & IFF_UP))
        return 0;
    if (is_ours) {
        int err = bring_up(control, interface, flags);

        return err ? log_errno(err, "network 'tap:%s': bringing it up", interface) : 0;
    }
    log_warn("network 'tap:%s': the interface is down; as root: ip link set %s up", interface,
             interface);
    return 0;
}

static int check_name(const char *interface)
{
    size_t len = strlen(interface);

    if (len > 0 && len < IFNAMSIZ && !strpbrk(interface, "/:% \t\n") &&
        strcmp(interface, ".") != 0 && strcmp(interface, "..") != 0)
        return 0;
    log_error("network 'tap:%s': not a name for an interface (1 to %d characters, no '/', ':', "
              "'%%' or blanks)",
              interface, IFNAMSIZ - 1);
    return -EINVAL;
}

static int tap_open(struct tap *tap, const char *interface, unsigned pair_count)
{
    int err = check_name(interface);

    if (err)
        return err;
    if (pair_count < 1 || pair_count > NET_MAX_QUEUE_PAIRS) {
        log_error("network 'tap:%s': %u queues; it can have 1 to %d", interface, pair_count,
                  NET_MAX_QUEUE_PAIRS);
        return -EINVAL;
    }
    AUTO_CLOSE int control = open_control();
    if (control < 0)
        return log_errno(control, "network 'tap:%s': socket", interface);

    bool is_ours = read_flags(control, interface) == -ENODEV;

    (void)snprintf(tap->name, sizeof(tap->name), "tap:%s", interface);
    err = open_queues(tap, control, interface, pair_count);
    return err ? err : check_up(control, interface, is_ours);
}

int net_tap_open(const char *interface, unsigned pair_count, struct net_backend **ret)
{
    struct tap *tap = tap_alloc();

    if (!tap)
        return log_errno(-ENOMEM, "network 'tap:%s'", interface);
    int err = tap_open(tap, interface, pair_count);
    if (err) {
        net_backend_destroy(&tap->base);
        return err;
    }
    *ret = &tap->base;
    return 0;
}

/* --- a descriptor of somebody else's --- */

/* Whether the kernel puts a struct tun_pi before each frame. TUNGETIFF says IFF_NO_PI, but has the
 * same bit for the absence of a socket filter: so for a moment there is one, which passes all.
 * macvtap has neither. */
static bool has_packet_info(int fd)
{
    struct sock_filter pass_all = { .code = BPF_RET | BPF_K, .k = UINT32_MAX };
    struct sock_fprog program = { 0 }, found = { 0 };
    struct ifreq request = { 0 };

    if (ioctl(fd, TUNGETFILTER, &found) == 0 && found.len == 0) {
        program = (struct sock_fprog){ .len = 1, .filter = &pass_all };
        if (ioctl(fd, TUNATTACHFILTER, &program) < 0)
            program.len = 0;
    }
    bool has_info = ioctl(fd, TUNGETIFF, &request) == 0 && !(request.ifr_flags & IFF_NO_PI);

    if (program.len > 0)
        (void)ioctl(fd, TUNDETACHFILTER, &program);
    return has_info;
}

static int check_fd(struct tap *tap, int fd, const char *name)
{
    struct ifreq request = { 0 };

    if (fcntl(fd, F_GETFD) < 0) {
        log_error("network '%s': this descriptor is not open", name);
        return -EBADF;
    }
    if (ioctl(fd, TUNGETIFF, &request) < 0 || !(request.ifr_flags & IFF_TAP)) {
        log_error("network '%s': not a tap device", name);
        return -EINVAL;
    }
    if (!(request.ifr_flags & IFF_VNET_HDR) || has_packet_info(fd)) {
        log_error("network '%s': the tap device '%.*s' must be opened with IFF_VNET_HDR and "
                  "IFF_NO_PI",
                  name, IFNAMSIZ, request.ifr_name);
        return -EINVAL;
    }
    (void)snprintf(tap->name, sizeof(tap->name), "%s", name);
    return 0;
}

static int warn_if_down(int fd)
{
    struct ifreq request = { 0 };
    AUTO_CLOSE int control = open_control();

    if (control < 0 || ioctl(fd, TUNGETIFF, &request) < 0)
        return 0; /* it may be in another network namespace: nothing to be said */
    request.ifr_name[IFNAMSIZ - 1] = '\0';
    return check_up(control, request.ifr_name, false);
}

static int tap_adopt(struct tap *tap, int fd, const char *name)
{
    AUTO_CLOSE int owned = fd;
    int err = check_fd(tap, fd, name);

    if (err)
        return err;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return log_errno(-errno, "network '%s'", name);
    err = tap_add_queue(tap, take_fd(&owned));
    if (err)
        return log_errno(err, "network '%s': setting the header up", name);
    tap_find_offloads(tap);
    return warn_if_down(fd);
}

int net_tap_from_fd(int fd, const char *name, struct net_backend **ret)
{
    struct tap *tap = tap_alloc();

    if (!tap) {
        fd_close(&fd);
        return log_errno(-ENOMEM, "network '%s'", name);
    }
    int err = tap_adopt(tap, fd, name);
    if (err) {
        net_backend_destroy(&tap->base);
        return err;
    }
    *ret = &tap->base;
    return 0;
}

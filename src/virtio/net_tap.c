// SPDX-License-Identifier: Apache-2.0
/* Frames through a tap (or macvtap) interface of the host.
 *
 * How this works: one descriptor is one queue pair, and one read() or write() one frame behind a
 * virtio_net_hdr, whose offloads the kernel understands: what the driver can take
 * (TUNSETOFFLOAD) comes unsegmented and without checksums. Frames go from and to the guest's
 * buffers without a copy of ours. The kernel spreads frames over the attached queues, so those
 * that the driver does not use are detached (TUNSETQUEUE), or their frames would be lost. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "devices/device.h"
#include "host/fd.h"
#include "host/log.h"
#include "host/loop.h"
#include "virtio/net.h"
#include "virtio/net_backend.h"

struct tap;

struct tap_queue {
    struct tap *tap;
    unsigned pair;
    int fd;
    struct loop_source *source;
    bool is_attached; /* the kernel gives it frames and takes them */
    bool wants_frames, wants_room;
};

struct tap {
    struct net_backend base;
    char name[IFNAMSIZ + 8]; /* the user's word for it */
    bool is_lost;            /* the interface was removed */
    struct net_events events;
    struct tap_queue queues[NET_MAX_QUEUE_PAIRS];
};

#define FEATURE(bit) (UINT64_C(1) << (bit))

static struct tap *to_tap(struct net_backend *backend)
{
    return container_of(backend, struct tap, base);
}

/* --- frames --- */

static void update_events(struct tap_queue *queue)
{
    unsigned events =
        (queue->wants_frames ? LOOP_READABLE : 0) | (queue->wants_room ? LOOP_WRITABLE : 0);

    /* A detached queue reports errors all the time. */
    if (queue->source)
        (void)loop_set_events(queue->source, queue->is_attached ? events : 0);
}

static int tap_send(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                    size_t count)
{
    struct tap *tap = to_tap(backend);
    struct tap_queue *queue = &tap->queues[pair];
    ssize_t len;

    if (tap->is_lost)
        return -ENOTCONN;
    do {
        len = writev(queue->fd, iov, (int)count);
    } while (len < 0 && errno == EINTR);
    if (len >= 0)
        return 0;
    int err = -errno;
    if (err == -EAGAIN) {
        queue->wants_room = true;
        update_events(queue);
    }
    return err;
}

static ssize_t tap_receive(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                           size_t count)
{
    struct tap *tap = to_tap(backend);
    ssize_t len;

    if (tap->is_lost)
        return -ENOTCONN;
    do {
        len = readv(tap->queues[pair].fd, iov, (int)count);
    } while (len < 0 && errno == EINTR);
    return len < 0 ? -errno : len;
}

static void tap_set_receiving(struct net_backend *backend, unsigned pair, bool wanted)
{
    struct tap_queue *queue = &to_tap(backend)->queues[pair];

    queue->wants_frames = wanted;
    update_events(queue);
}

/* The interface was removed: its descriptors report an error for ever. */
static void lose(struct tap *tap)
{
    tap->is_lost = true;
    for (unsigned i = 0; i < tap->base.pair_count; i++) {
        loop_remove(tap->queues[i].source);
        tap->queues[i].source = NULL;
    }
    log_warn("network '%s': the interface is gone; the guest's link is down", tap->name);
    tap->events.link_lost(tap->events.ctx);
}

static void wake_up(void *ctx, unsigned events)
{
    struct tap_queue *queue = ctx;
    struct tap *tap = queue->tap;

    if (events & LOOP_HANGUP) {
        lose(tap);
        return;
    }
    if ((events & LOOP_WRITABLE) && queue->wants_room) {
        queue->wants_room = false;
        update_events(queue);
        tap->events.can_send(tap->events.ctx, queue->pair);
    }
    if ((events & LOOP_READABLE) && queue->wants_frames)
        tap->events.can_receive(tap->events.ctx, queue->pair);
}

/* --- settings --- */

static int tap_set_offloads(struct net_backend *backend, uint64_t features)
{
    static const struct {
        unsigned bit;
        unsigned tun_flag;
    } offloads[] = {
        { VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
        { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
        { VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
        { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
    };
    unsigned long flags = 0;

    for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++)
        if (features & FEATURE(offloads[i].bit))
            flags |= offloads[i].tun_flag;
    /* One setting for the interface, whichever queue it is set through. */
    return ioctl(to_tap(backend)->queues[0].fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int set_attached(struct tap_queue *queue, bool attached)
{
    struct ifreq request = { .ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

    if (queue->is_attached == attached)
        return 0;
    if (ioctl(queue->fd, TUNSETQUEUE, &request) < 0)
        return -errno;
    queue->is_attached = attached;
    update_events(queue);
    return 0;
}

static int tap_set_pairs(struct net_backend *backend, unsigned pairs)
{
    struct tap *tap = to_tap(backend);
    int err = 0;

    if (tap->is_lost)
        return -ENOTCONN;
    for (unsigned i = 0; !err && i < tap->base.pair_count; i++)
        err = set_attached(&tap->queues[i], i < pairs);
    return err;
}

static int tap_attach(struct net_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                      const struct net_events *events)
{
    struct tap *tap = to_tap(backend);
    int err = tap_set_pairs(backend, 1);

    tap->events = *events;
    for (unsigned i = 0; !err && i < tap->base.pair_count; i++)
        err = loop_add_fd(loop, tap->queues[i].fd, 0, guard, wake_up, &tap->queues[i],
                          &tap->queues[i].source);
    return err;
}

static void tap_destroy(struct net_backend *backend)
{
    struct tap *tap = to_tap(backend);

    for (unsigned i = 0; i < NET_MAX_QUEUE_PAIRS; i++) {
        loop_remove(tap->queues[i].source);
        fd_close(&tap->queues[i].fd);
    }
    free(tap);
}

static const struct net_backend_ops tap_ops = {
    .attach = tap_attach,
    .send = tap_send,
    .receive = tap_receive,
    .set_receiving = tap_set_receiving,
    .set_offloads = tap_set_offloads,
    .set_pairs = tap_set_pairs,
    .destroy = tap_destroy,
};

/* --- opening --- */

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

static struct tap *tap_alloc(void)
{
    struct tap *tap = calloc(1, sizeof(*tap));

    if (!tap)
        return NULL;
    tap->base.ops = &tap_ops;
    for (unsigned i = 0; i < NET_MAX_QUEUE_PAIRS; i++)
        tap->queues[i] = (struct tap_queue){ .tap = tap, .pair = i, .fd = -1 };
    return tap;
}

/* Sets what every queue needs: our header, little-endian on every host, and no waiting. */
static int prepare_queue(int fd)
{
    int header_len = sizeof(struct virtio_net_hdr_v1);
    int little_endian = 1;

    if (ioctl(fd, TUNSETVNETHDRSZ, &header_len) < 0)
        return -errno;
    if (ioctl(fd, TUNSETVNETLE, &little_endian) < 0)
        return -errno;
    return fd_set_nonblocking(fd, true);
}

static int add_queue(struct tap *tap, int fd)
{
    struct tap_queue *queue = &tap->queues[tap->base.pair_count];

    queue->fd = fd;
    queue->is_attached = true;
    tap->base.pair_count++;
    return prepare_queue(fd);
}

/* Finds out what the kernel takes; towards it there is nothing that it does not take. */
static void find_offloads(struct tap *tap)
{
    const uint64_t to_host = FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_TSO4) |
                             FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_HOST_ECN);
    const uint64_t to_guest = FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
                              FEATURE(VIRTIO_NET_F_GUEST_TSO6) | FEATURE(VIRTIO_NET_F_GUEST_ECN);

    tap->base.offloads = to_host;
    if (tap_set_offloads(&tap->base, to_guest) == 0)
        tap->base.offloads |= to_guest;
    (void)tap_set_offloads(&tap->base, 0);
}

/* Attaches a fresh descriptor to the interface, which is created if there is none. A tap that is
 * there already must be asked for with the IFF_MULTI_QUEUE that it was made with. */
static int attach_queue(int fd, const char *interface, bool *multi_queue, bool is_first)
{
    const short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    struct ifreq request;

    name_interface(&request, interface);
    request.ifr_flags = (short)(flags | (*multi_queue ? IFF_MULTI_QUEUE : 0));
    if (ioctl(fd, TUNSETIFF, &request) == 0)
        return 0;
    if (errno != EINVAL || *multi_queue || !is_first)
        return -errno;
    name_interface(&request, interface);
    request.ifr_flags = flags | IFF_MULTI_QUEUE;
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

    if (!exists && err == -EPERM)
        log_error("network 'tap:%s': there is no such interface, and creating it takes "
                  "CAP_NET_ADMIN; as root: ip tuntap add dev %s mode tap user USER%s",
                  interface, interface, pair_count > 1 ? " multi_queue" : "");
    else if (!exists)
        log_errno(err, "network 'tap:%s': creating the interface", interface);
    else if (!is_tap(control, interface))
        log_error("network 'tap:%s': the interface is not a tap device", interface);
    else if (err == -EPERM)
        log_error("network 'tap:%s': the interface belongs to another user; as root: "
                  "ip tuntap add dev NAME mode tap user USER makes one of your own",
                  interface);
    else if (err == -EBUSY)
        log_error("network 'tap:%s': another program uses the interface", interface);
    else if (err == -EINVAL && pair_count > 1)
        log_error("network 'tap:%s': the interface has one queue, not %u; make it with "
                  "ip tuntap add ... multi_queue, or use queues=1",
                  interface, pair_count);
    else
        log_errno(err, "network 'tap:%s': attaching", interface);
    return err;
}

static int open_queues(struct tap *tap, int control, const char *interface, unsigned pair_count)
{
    bool multi_queue = pair_count > 1;

    for (unsigned i = 0; i < pair_count; i++) {
        AUTO_CLOSE
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return explain_device(-errno);
        int err = attach_queue(fd, interface, &multi_queue, i == 0);
        if (err)
            return explain_attach(err, control, interface, pair_count);
        err = add_queue(tap, take_fd(&fd));
        if (err)
            return log_errno(err, "network 'tap:%s': setting the header up", interface);
    }
    find_offloads(tap);
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
    AUTO_CLOSE
    int control = open_control();
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
    int err = tap ? tap_open(tap, interface, pair_count) : -ENOMEM;

    if (err) {
        net_backend_destroy(tap ? &tap->base : NULL);
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
    AUTO_CLOSE
    int control = open_control();

    if (control < 0 || ioctl(fd, TUNGETIFF, &request) < 0)
        return 0; /* it may be in another network namespace: nothing to be said */
    request.ifr_name[IFNAMSIZ - 1] = '\0';
    return check_up(control, request.ifr_name, false);
}

static int tap_adopt(struct tap *tap, int fd, const char *name)
{
    AUTO_CLOSE
    int owned = fd;
    int err = check_fd(tap, fd, name);

    if (err)
        return err;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return log_errno(-errno, "network '%s'", name);
    err = add_queue(tap, take_fd(&owned));
    if (err)
        return log_errno(err, "network '%s': setting the header up", name);
    find_offloads(tap);
    return warn_if_down(fd);
}

int net_tap_from_fd(int fd, const char *name, struct net_backend **ret)
{
    struct tap *tap = tap_alloc();

    if (!tap) {
        fd_close(&fd);
        return -ENOMEM;
    }
    int err = tap_adopt(tap, fd, name);
    if (err) {
        tap_destroy(&tap->base);
        return err;
    }
    *ret = &tap->base;
    return 0;
}

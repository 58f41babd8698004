// SPDX-License-Identifier: Apache-2.0
/* User-mode networking by passt, which we start.
 *
 * passt gets one end of a socket pair and ends when the other is closed: by us, or by the kernel
 * when we are killed. A parent-death signal would not do, as passt changes its user and so loses
 * it. When passt ends by itself, the guest's link goes down and the user reads why.
 *
 * Whether passt works is known when it reads: it is sent a frame of an unassigned type, which it
 * throws away, and the kernel tells when that has left the socket. */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "devices/device.h"
#include "host/fd.h"
#include "host/log.h"
#include "host/process.h"
#include "net_stream.h"

enum { START_TIMEOUT_MS = 10000 };

struct passt {
    struct net_stream stream;
    struct process *process;
    bool has_ended; /* and the user has read how */
};

static struct passt *to_passt(struct net_backend *backend)
{
    return container_of(backend, struct passt, stream.base);
}

/* What the user can do, by passt's last words. */
static const char *way_out(const char *obituary)
{
    if (strstr(obituary, "user namespace"))
        return "; passt needs user namespaces, which this host or container forbids (see sysctl "
               "user.max_user_namespaces, kernel.unprivileged_userns_clone): allow them, or use "
               "--net=tap:IF or --net=none";
    if (strstr(obituary, "xternal interface") || strstr(obituary, "routable interface"))
        return "; passt needs a default route on the host: add one, or use --net=none";
    return "";
}

static void on_end(void *ctx)
{
    struct passt *passt = ctx;

    passt->has_ended = true;
    log_warn("network 'user': passt ended with %s; the guest's link is down",
             process_obituary(passt->process));
    net_stream_end(&passt->stream);
}

/* The end of the stream is the end of passt: on_end() will say how it was. */
static void on_end_of_stream(struct net_stream *stream)
{
    fd_close(&stream->fd);
}

static int passt_attach(struct net_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                        const struct net_events *events)
{
    struct passt *passt = to_passt(backend);
    int err = net_stream_attach(backend, loop, guard, events);

    if (err || passt->has_ended)
        return err;
    return process_watch(passt->process, loop, guard, on_end, passt);
}

static void passt_detach(struct net_backend *backend)
{
    struct passt *passt = to_passt(backend);

    net_stream_detach(backend);
    if (passt->process)
        process_unwatch(passt->process);
}

static void passt_destroy(struct net_backend *backend)
{
    struct passt *passt = to_passt(backend);

    net_stream_fini(&passt->stream);
    process_destroy(passt->process);
    free(passt);
}

static const struct net_backend_ops passt_ops = {
    .attach = passt_attach,
    .detach = passt_detach,
    .send = net_stream_send,
    .receive = net_stream_receive,
    .set_receiving = net_stream_set_receiving,
    .set_offloads = net_stream_set_offloads,
    .set_pairs = net_stream_set_pairs,
    .destroy = passt_destroy,
};

/* --- starting --- */

static int start_process(const struct net_passt_params *params, int fd, struct process **ret)
{
    char fd_arg[16], mtu_arg[16];
    const char *argv[] = { "passt",
                           "--foreground",
                           "--quiet",
                           "--fd",
                           fd_arg,
                           "--tcp-ports",
                           "none",
                           "--udp-ports",
                           "none",
                           "--address",
                           NET_PASST_ADDRESS,
                           "--netmask",
                           NET_PASST_PREFIX,
                           "--gateway",
                           NET_PASST_GATEWAY,
                           "--dns-forward",
                           NET_PASST_RESOLVER,
                           NULL,
                           NULL,
                           NULL };
    const size_t mtu_at = sizeof(argv) / sizeof(argv[0]) - 3;

    (void)snprintf(fd_arg, sizeof(fd_arg), "%d", PROCESS_FD);
    (void)snprintf(mtu_arg, sizeof(mtu_arg), "%u", params->mtu);
    if (params->mtu) {
        argv[mtu_at] = "--mtu";
        argv[mtu_at + 1] = mtu_arg;
    }
    int err = process_start(argv, fd, ret);

    if (err == -ENOENT)
        log_error("network 'user': passt is not installed; install it (apt install passt), or "
                  "use --net=tap:IF or --net=none");
    else if (err)
        log_errno(err, "network 'user': starting passt");
    return err;
}

static int send_probe(int fd)
{
    const uint8_t probe[] = {
        0,    0,    0,    14,               /* the length of the frame */
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* to everybody */
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, /* from a local address */
        0x88, 0xb5,                         /* IEEE 802, local experiments */
    };

    return send(fd, probe, sizeof(probe), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Waits until passt reads, or has ended. There is no event for what the other side has read, so
 * this looks every millisecond; passt takes about 16. */
static int wait_for_passt(struct process *process, int fd)
{
    for (int waited_ms = 0; waited_ms < START_TIMEOUT_MS; waited_ms++) {
        struct pollfd hang_up = { .fd = fd };
        int unread = 0;

        if (process_wait(process, 1)) {
            const char *obituary = process_obituary(process);

            log_error("network 'user': passt ended with %s%s", obituary, way_out(obituary));
            return -ECHILD;
        }
        /* An end in the making closes the socket, too, and so empties it. */
        if (ioctl(fd, SIOCOUTQ, &unread) == 0 && unread == 0 && poll(&hang_up, 1, 0) == 0)
            return 0;
    }
    log_error("network 'user': passt does not answer");
    return -ETIMEDOUT;
}

/* Makes room for what passt sends while the guest is busy elsewhere. passt drops what does not fit,
 * and then sends all that the guest has not acknowledged again for every third duplicate of an
 * acknowledgement, of which there are hundreds: so the room should hold the window that a guest
 * opens. Without privileges the kernel gives less (net.core.wmem_max), which is only slower. */
static void widen_buffer(int passt_end)
{
    const int bytes = 8 << 20;

    if (setsockopt(passt_end, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
        (void)setsockopt(passt_end, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static int start(const struct net_passt_params *params, struct passt *passt)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return log_errno(-errno, "network 'user': socketpair");
    AUTO_CLOSE int far_end = ends[1];
    widen_buffer(far_end);
    int err = net_stream_init(&passt->stream, ends[0], "user", &passt_ops);

    if (!err)
        err = send_probe(ends[0]);
    if (err)
        return log_errno(err, "network 'user'");
    passt->stream.on_end_of_stream = on_end_of_stream;
    err = start_process(params, far_end, &passt->process);
    fd_close(&far_end);
    return err ? err : wait_for_passt(passt->process, ends[0]);
}

int net_passt_start(const struct net_passt_params *params, struct net_backend **ret)
{
    struct passt *passt = calloc(1, sizeof(*passt));

    if (!passt)
        return log_errno(-ENOMEM, "network 'user'");
    passt->stream.fd = -1;
    int err = start(params, passt);

    if (err) {
        passt_destroy(&passt->stream.base);
        return err;
    }
    *ret = &passt->stream.base;
    return 0;
}

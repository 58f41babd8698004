// SPDX-License-Identifier: Apache-2.0
/* The tap back-end among its parts: net_tap.c moves frames, net_tap_open.c finds and opens
 * interfaces, and explains to the user what is wrong with them. */
#pragma once

#include <linux/if.h>

#include "virtio/net.h"

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
    unsigned long tun_flags; /* TUN_F_* that were set last */
    struct net_events events;
    struct tap_queue queues[NET_MAX_QUEUE_PAIRS];
};

/* A tap without queues, to be destroyed by net_backend_destroy(); NULL if there is no memory. */
struct tap *tap_alloc(void);
/* Makes @fd, which is attached to the interface and taken over, also on failure, the next queue.
 * Returns 0 or -errno. */
int tap_add_queue(struct tap *tap, int fd);
/* Finds out which offloads the kernel has; once there is a queue. */
void tap_find_offloads(struct tap *tap);

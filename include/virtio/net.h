// SPDX-License-Identifier: Apache-2.0
/* virtio-net (virtio 1.2, 5.1): the guest's side of a network card. */
#pragma once

#include <stdint.h>

#include "virtio/net_backend.h"
#include "virtio/virtio_dev.h"

enum { NET_MAC_LEN = 6, NET_MAX_QUEUE_PAIRS = 8 };

struct net_params {
    const char *name; /* for logs, copied: "network 'tap0'" */
    const struct guest_mem *mem;
    struct loop *loop;
    struct net_backend *backend; /* taken over, also on failure */
    uint8_t mac[NET_MAC_LEN];
    uint16_t mtu; /* 0: not told to the guest */
};

int net_create(const struct net_params *params, struct virtio_dev **ret);

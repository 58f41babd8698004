// SPDX-License-Identifier: Apache-2.0
/* The stream back-end as a part of another one (passt's), which embeds struct net_stream and
 * takes these functions into its own operations. */
#pragma once

#include "virtio/net_backend.h"

struct net_stream {
    struct net_backend base;
    char *name; /* the user's word for it, owned */
    int fd;
    struct loop_source *source;
    struct net_events events;
    /* Somebody else says that the other side has closed the connection; NULL: we do. */
    void (*on_end_of_stream)(struct net_stream *stream);
    bool wants_frames; /* the card does */
    bool wants_room;   /* the card has a frame for us, or we have half of one left */
    bool is_drained;   /* the socket had less than we asked for: the loop tells of more */
    bool is_lost;      /* nothing is sent or received any more */
    char lost_why[80]; /* empty: it closed the connection */
    uint8_t *in, *out; /* received and not yet taken; of a frame that did not fit in whole */
    size_t in_start, in_end;
    size_t out_start, out_end;
};

/* Takes over @fd, also on failure; net_stream_fini() is to be called then, too. */
int net_stream_init(struct net_stream *stream, int fd, const char *name,
                    const struct net_backend_ops *ops);
void net_stream_fini(struct net_stream *stream);

/* The other side is known to be gone. On the loop's thread, with the guard held. */
void net_stream_end(struct net_stream *stream);

int net_stream_attach(struct net_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                      const struct net_events *events);
void net_stream_detach(struct net_backend *backend);
int net_stream_send(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                    size_t count);
ssize_t net_stream_receive(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                           size_t count);
void net_stream_set_receiving(struct net_backend *backend, unsigned pair, bool wanted);
int net_stream_set_offloads(struct net_backend *backend, uint64_t features);
int net_stream_set_pairs(struct net_backend *backend, unsigned pairs);

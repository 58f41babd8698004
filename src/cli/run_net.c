// SPDX-License-Identifier: Apache-2.0
/* `hutch run --net`: a kind of network, and sub-options of the card. */
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/un.h>

#include "host/fd.h"
#include "machine/config.h"
#include "options.h"
#include "run_options.h"
#include "values.h"

enum { MTU_MIN = 68, MTU_MAX = 65535 };

static int set_net_kind(struct net_config *net, char *item, struct usage_error *error)
{
    static const char *const kinds[] = { "user", "tap:", "fd:", "stream:", "none", NULL };
    static_assert(NET_KIND_USER == 0 && NET_KIND_TAP == 1 && NET_KIND_FD == 2 &&
                      NET_KIND_STREAM == 3,
                  "the kinds are in this order");
    char *colon = strchr(item, ':');
    const char *rest = colon ? colon + 1 : "";
    uint64_t fd;

    if (!strcmp(item, "user"))
        return 0; /* the default */
    if (!strncmp(item, "tap:", 4) && *rest && strlen(rest) < IFNAMSIZ && !strpbrk(rest, "/ :%")) {
        net->kind = NET_KIND_TAP;
        return option_replace_text(&net->target, rest);
    }
    if (!strncmp(item, "tap", 3) && (!item[3] || item[3] == ':'))
        return usage_fail(error, "tap:IF wants the name of an interface of 1 to %d characters",
                          IFNAMSIZ - 1);
    if (!strncmp(item, "fd:", 3)) {
        if (value_number(rest, 0, 1 << 20, &fd))
            return usage_fail(error, "fd:N wants the number of an open file descriptor");
        net->kind = NET_KIND_FD;
        net->fd = (int)fd;
        return 0;
    }
    if (!strncmp(item, "stream:", 7)) {
        if (!*rest || strlen(rest) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return usage_fail(error, "stream:SOCKET wants the path of a socket of 1 to %zu bytes",
                              sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
        net->kind = NET_KIND_STREAM;
        return option_replace_text(&net->target, rest);
    }
    const char *meant = value_suggest(item, kinds);
    return usage_fail(error, "no network '%.40s'; %s%s%s", item, meant ? "did you mean '" : "",
                      meant ? meant : "there are user, tap:IF, fd:N, stream:SOCKET and none",
                      meant ? "'?" : "");
}

static int set_net_mac(struct net_config *net, const char *value, struct usage_error *error)
{
    switch (value ? value_mac(value, net->mac) : -EINVAL) {
    case 0:
        net->has_mac = true;
        return 0;
    case -EADDRNOTAVAIL:
        return usage_fail(error, "mac=%s is the address of a group or of nobody", value);
    default:
        return usage_fail(error, "mac= is an address such as 02:00:00:00:00:01");
    }
}

static int set_net_item(struct net_config *net, char *item, struct usage_error *error)
{
    static const char *const keys[] = { "mac", "mtu", "queues", NULL };
    char *value = value_split(item);
    uint64_t mtu;

    switch (value_word(item, keys)) {
    case 0:
        return set_net_mac(net, value, error);
    case 1:
        if (!value || value_number(value, MTU_MIN, MTU_MAX, &mtu))
            return usage_fail(error, "mtu= is a number of bytes from %d to %d", MTU_MIN, MTU_MAX);
        net->mtu = (uint16_t)mtu;
        return 0;
    case 2:
        return option_set_queues(&net->queue_pairs, value, NET_MAX_QUEUE_PAIRS, error);
    default:
        return option_unknown_key(item, keys, error);
    }
}

/* --net=none takes back what was asked for before it. */
static int drop_nets(struct config *config, const char *rest, struct usage_error *error)
{
    if (rest)
        return usage_fail(error, "none takes no sub-options");
    while (config->net_count) {
        struct net_config *net = &config->nets[--config->net_count];
        free(net->target);
        *net = (struct net_config){ .fd = -1 };
    }
    return 0;
}

int option_set_net(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    AUTO_FREE char *items = strdup(value);
    char *rest = items;

    if (!items)
        return -ENOMEM;
    char *kind = value_next_item(&rest);
    if (!strcmp(kind, "none"))
        return drop_nets(config, rest, error);
    if (config->net_count == CONFIG_MAX_NETS)
        return usage_fail(error, "a machine has at most %d network cards", CONFIG_MAX_NETS);

    struct net_config *net = &config->nets[config->net_count++];
    *net = (struct net_config){ .kind = NET_KIND_USER, .fd = -1 };
    /* `--net=,mac=...` or `--net=mac=...`: the kind may be left out. */
    bool is_item = kind[strcspn(kind, "=:")] == '=';
    int err = is_item ? set_net_item(net, kind, error) : *kind ? set_net_kind(net, kind, error) : 0;
    for (char *item; !err && (item = value_next_item(&rest));)
        err = set_net_item(net, item, error);
    return err;
}

// SPDX-License-Identifier: Apache-2.0
/* The network that a COMMAND finds: that of the first card of --net=user, which passt makes.
 *
 * We tell passt the addresses, and so can tell the agent, which needs no DHCP client then. Of other
 * cards nobody knows what is behind them: they are left to the command. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/fd.h"
#include "machine/agent.h"
#include "root_private.h"
#include "virtio/net_backend.h"

enum { RESOLV_CONF_MAX = 65536, /* bytes; of a larger one nothing is taken */ };

const struct net_config *job_find_card(const struct config *config)
{
    for (size_t i = 0; i < config->net_count; i++) {
        if (config->nets[i].kind == NET_KIND_USER)
            return &config->nets[i];
    }
    return NULL;
}

static void add_addresses(const struct net_config *net, struct agent_job *job)
{
    struct agent_network network = { .prefix_len = (uint8_t)strtoul(NET_PASST_PREFIX, NULL, 10) };

    memcpy(network.mac, net->mac, sizeof(network.mac));
    (void)inet_pton(AF_INET, NET_PASST_ADDRESS, network.address);
    (void)inet_pton(AF_INET, NET_PASST_GATEWAY, network.gateway);
    agent_job_network(job, &network);
}

/* --- names --- */

/* Which domains are searched, and how: resolv.conf(5). */
static bool is_wanted(const char *line)
{
    static const char *const keywords[] = { "search", "domain", "options" };

    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        size_t len = strlen(keywords[i]);
        if (!strncmp(line, keywords[i], len) && (line[len] == ' ' || line[len] == '\t'))
            return true;
    }
    return false;
}

char *job_describe_resolver(const char *host)
{
    static const char resolver[] = "nameserver " NET_PASST_RESOLVER "\n";
    char *text = malloc(sizeof(resolver) + (host ? strlen(host) + 1 : 0));

    if (!text)
        return NULL;
    char *end = stpcpy(text, resolver);
    while (host && *host) {
        size_t len = strcspn(host, "\n");
        if (is_wanted(host)) {
            end = mempcpy(end, host, len);
            end = stpcpy(end, "\n");
        }
        host += len + (host[len] == '\n');
    }
    return text;
}

static void add_resolver(struct agent_job *job)
{
    AUTO_FREE char *host = NULL;

    (void)fd_read_file("/etc/resolv.conf", RESOLV_CONF_MAX, &host, NULL);
    AUTO_FREE char *text = job_describe_resolver(host);
    if (text)
        agent_job_file(job, "/etc/resolv.conf", text);
    else if (!job->err)
        job->err = -ENOMEM;
}

void job_add_network(const struct config *config, struct agent_job *job)
{
    const struct net_config *net = job_find_card(config);

    if (!net)
        return;
    add_addresses(net, job);
    add_resolver(job);
}

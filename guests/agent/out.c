// SPDX-License-Identifier: Apache-2.0
/* What goes to the host: it lies in @out until the port takes it. */
#include <asm/errno.h>

#include "conversation.h"

enum { WRITE_MAX = 32768 }; /* what a port takes at a time */

size_t out_room(const struct agent *agent)
{
    return OUT_SIZE - agent->out_len;
}

uint8_t *out_end(struct agent *agent, size_t len)
{
    if (agent->out_start + agent->out_len + len > OUT_SIZE) {
        memmove(agent->out, agent->out + agent->out_start, agent->out_len);
        agent->out_start = 0;
    }
    return agent->out + agent->out_start + agent->out_len;
}

static void append(struct agent *agent, const void *data, size_t len)
{
    memcpy(out_end(agent, len), data, len);
    agent->out_len += len;
}

void out_send_parts(struct agent *agent, uint16_t type, uint16_t stream, const void *first,
                    size_t first_len, const void *second, size_t second_len)
{
    const struct agent_header header = { (uint32_t)(first_len + second_len), type, stream };

    if (out_room(agent) < sizeof(header) + header.len)
        return;
    append(agent, &header, sizeof(header));
    append(agent, first, first_len);
    append(agent, second, second_len);
}

void out_send(struct agent *agent, uint16_t type, const void *data, size_t len)
{
    out_send_parts(agent, type, 0, data, len, NULL, 0);
}

_Noreturn void out_leave(struct agent *agent)
{
    if (agent->is_init)
        machine_power_off();
    sys_exit(0);
}

void out_write(struct agent *agent)
{
    size_t len = agent->out_len < WRITE_MAX ? agent->out_len : WRITE_MAX;
    long put = len ? SYS(write, agent->port, agent->out + agent->out_start, len) : 0;

    if (put == -EPIPE || put == -ENODEV)
        out_leave(agent);
    if (put <= 0)
        return;
    agent->out_start += (size_t)put;
    agent->out_len -= (size_t)put;
    if (agent->out_len == 0)
        agent->out_start = 0;
}

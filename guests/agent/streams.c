// SPDX-License-Identifier: Apache-2.0
/* The command's stdin, stdout and stderr, each by credit: who takes says how much he has room for.
 * What of them is at the end of the command is told in agent.c. */
#include <asm/errno.h>
#include <asm/ioctls.h>

#include "conversation.h"

enum {
    TERMINAL_KEEPS = 65536, /* at most, of output that nobody has read */
    CREDIT_STEP = 65536,    /* less is not worth a message */
};

/* --- stdin of the command --- */

void input_give_credit(struct agent *agent)
{
    if (agent->input_ended || agent->command.input < 0)
        return;

    uint32_t room = (uint32_t)(INPUT_SIZE - agent->input_len) - agent->input_credit;
    if (room < CREDIT_STEP)
        return;
    agent->input_credit += room;
    out_send(agent, AGENT_INPUT_CREDIT, &room, sizeof(room));
}

void input_write(struct agent *agent)
{
    int *fd = &agent->command.input;

    while (*fd >= 0 && agent->input_len > 0) {
        long put = SYS(write, *fd, agent->input + agent->input_start, agent->input_len);

        if (put == -EAGAIN || put == -EINTR)
            break;
        if (put <= 0) { /* the command closed it: the host keeps what it has */
            sys_close(fd);
            break;
        }
        agent->input_start += (size_t)put;
        agent->input_len -= (size_t)put;
    }
    if (agent->input_len == 0)
        agent->input_start = 0;
    if (agent->input_ended && agent->input_len == 0)
        sys_close(fd);
    input_give_credit(agent);
}

static void keep_input(struct agent *agent, const uint8_t *data, uint32_t len)
{
    if (agent->input_start + agent->input_len + len > sizeof(agent->input)) {
        memmove(agent->input, agent->input + agent->input_start, agent->input_len);
        agent->input_start = 0;
    }
    memcpy(agent->input + agent->input_start + agent->input_len, data, len);
    agent->input_len += len;
}

/* Within the credit there is room; a command that is gone, or reads no more, needs none. */
bool input_take(struct agent *agent, const uint8_t *data, uint32_t len)
{
    if (len > agent->input_credit)
        return false;
    agent->input_credit -= len;
    if (agent->command.input < 0 || len == 0)
        return true;
    agent->has_open_line = data[len - 1] != '\n';
    keep_input(agent, data, len);
    return true;
}

/* A terminal's end is not that of its input, but a character that means it: at the beginning of a
 * line. Anywhere else it ends the line. */
void input_end(struct agent *agent)
{
    static const uint8_t ends[TERMINAL_END_MAX] = { '\004', '\004' };

    if (agent->job.has_tty && !agent->input_ended && agent->command.input >= 0)
        keep_input(agent, ends, agent->has_open_line ? 2 : 1);
    agent->input_ended = true;
}

/* --- its output --- */

/* With our last descriptor of it a terminal hangs up, as its writers are to learn. */
void output_end(struct agent *agent, struct out_stream *output)
{
    sys_close(output->fd);
    if (agent->job.has_tty)
        sys_close(&agent->command.input);
    output->has_ended = output->end_is_due = true;
}

/* Reads a frame's bytes to where they are sent from. Returns what read() does. */
static long read_frame(struct agent *agent, uint16_t stream, size_t len)
{
    uint8_t *frame = out_end(agent, FRAME_MAX);
    struct agent_header header = { 0, AGENT_OUTPUT, stream };
    long got = SYS(read, *agent->outputs[stream].fd, frame + sizeof(header), len);

    if (got <= 0)
        return got;
    header.len = (uint32_t)got;
    memcpy(frame, &header, sizeof(header));
    agent->out_len += sizeof(header) + header.len;
    return got;
}

/* All that the command wrote is there when it is reaped. Of a terminal it cannot be told how much
 * that is. */
void outputs_count_left(struct agent *agent)
{
    for (uint16_t stream = AGENT_STDOUT; stream <= AGENT_STDERR; stream++) {
        struct out_stream *output = &agent->outputs[stream];
        int32_t len = 0;

        if (agent->job.has_tty)
            output->left = TERMINAL_KEEPS;
        else if (output->fd && SYS(ioctl, *output->fd, FIONREAD, &len) >= 0)
            output->left = (uint32_t)len;
    }
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void output_read(struct agent *agent, uint16_t stream)
{
    struct out_stream *output = &agent->outputs[stream];

    while (!output->has_ended && output->credit > 0 && out_room(agent) >= FRAME_MAX + OUT_RESERVE) {
        uint32_t len = smaller(output->credit, AGENT_PAYLOAD_MAX);
        if (agent->is_reaped)
            len = smaller(len, output->left);
        long got = len > 0 ? read_frame(agent, stream, len) : 0;

        if (got == -EAGAIN && !agent->is_reaped)
            return;
        if (got <= 0) { /* EIO: the terminal's last user closed it */
            output_end(agent, output);
            return;
        }
        output->credit -= (uint32_t)got;
        if (agent->is_reaped)
            output->left -= (uint32_t)got;
    }
}

void output_look_for_end(struct agent *agent, uint16_t stream)
{
    struct out_stream *output = &agent->outputs[stream];
    struct sys_pollfd look = { output->fd ? *output->fd : -1, SYS_POLLIN, 0 };
    const struct sys_timespec now = { 0, 0 };

    if (output->has_ended || !agent->is_reaped || output->credit > 0)
        return;
    (void)SYS(ppoll, &look, 1, &now, NULL, SIGNAL_SET_SIZE);
    if (output->left == 0 || !(look.revents & SYS_POLLIN))
        output_end(agent, output);
}

void outputs_send_ends(struct agent *agent)
{
    for (uint16_t stream = AGENT_STDOUT; stream <= AGENT_STDERR; stream++) {
        if (agent->outputs[stream].end_is_due)
            out_send_parts(agent, AGENT_OUTPUT_END, stream, NULL, 0, NULL, 0);
        agent->outputs[stream].end_is_due = false;
    }
}

int output_wants(const struct agent *agent, uint16_t stream)
{
    const struct out_stream *output = &agent->outputs[stream];
    bool has_room = out_room(agent) >= FRAME_MAX + OUT_RESERVE;

    return output->fd && !output->has_ended && output->credit > 0 && has_room ? *output->fd : -1;
}

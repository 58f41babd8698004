// SPDX-License-Identifier: Apache-2.0
/* The conversation with the agent, as a state machine that callbacks drive.
 *
 * To the guest goes one frame at a time. There is no queue of frames: what is to be said is noted
 * (a credit that grew, a signal, a new size), and when the last frame is out, the most urgent of it
 * becomes the next one, in the order of next_frames[]; input comes last, and waits with our stdin
 * until then. So nothing that the guest does or leaves undone makes us keep more than that.
 *
 * From the guest comes a frame after the other, each gathered in one buffer and then judged. Output
 * is within the credit that we gave, and so fits into the stream that writes it. The command has
 * ended for our caller only when all its output was written: who is slow to read it loses none. */
#include "machine/agent.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "host/stream.h"

enum {
    FRAME_MAX = sizeof(struct agent_header) + AGENT_PAYLOAD_MAX,
    CREDIT_STEP = 4096, /* less is not worth a frame */
    SIGNAL_MAX = 64,
    OUTPUTS = 2,
};

/* stdout, together with stdin, or stderr. */
struct output {
    struct agent *agent;
    struct stream *stream;
    uint16_t id;         /* enum agent_stream */
    uint32_t credit;     /* what the guest may send */
    uint32_t credit_due; /* part of it that the guest does not know yet */
    bool is_closed, close_is_due;
    bool has_ended; /* the guest said so */
};

struct agent {
    struct agent_params params;
    struct agent_result result;
    bool run_is_sent, is_told_ended, bye_is_due;
    size_t job_sent; /* bytes of the job's records */
    uint64_t signals_due;
    bool resize_is_due, input_end_is_due;
    struct agent_window window;
    uint32_t input_credit;
    struct output outputs[OUTPUTS];
    size_t out_len, out_sent;
    size_t in_len;
    uint8_t out[FRAME_MAX], in[FRAME_MAX];
};

static bool is_over(const struct agent *agent)
{
    return agent->result.end != AGENT_END_NONE;
}

static bool is_running(const struct agent *agent)
{
    return agent->result.has_started && !is_over(agent);
}

/* --- to the guest --- */

static void make_frame(struct agent *agent, enum agent_message type, uint16_t stream,
                       const void *data, size_t len)
{
    const struct agent_header header = { htole32((uint32_t)len), htole16(type), htole16(stream) };

    memcpy(agent->out, &header, sizeof(header));
    if (len > 0)
        memcpy(agent->out + sizeof(header), data, len);
    agent->out_len = sizeof(header) + len;
    agent->out_sent = 0;
}

static bool make_job_frame(struct agent *agent)
{
    const struct agent_job *job = agent->params.job;
    size_t len = job->len - agent->job_sent;

    if (!agent->result.is_up || agent->run_is_sent || is_over(agent))
        return false;
    if (len == 0) {
        make_frame(agent, AGENT_RUN, 0, NULL, 0);
        agent->run_is_sent = true;
        return true;
    }
    if (len > AGENT_PAYLOAD_MAX)
        len = AGENT_PAYLOAD_MAX;
    make_frame(agent, AGENT_JOB, 0, job->data + agent->job_sent, len);
    agent->job_sent += len;
    return true;
}

static bool make_signal_frame(struct agent *agent)
{
    if (!agent->signals_due || !is_running(agent))
        return false;

    uint32_t number = (uint32_t)__builtin_ctzll(agent->signals_due) + 1;
    const uint32_t word = htole32(number);

    agent->signals_due &= agent->signals_due - 1;
    make_frame(agent, AGENT_SIGNAL, 0, &word, sizeof(word));
    return true;
}

static bool make_resize_frame(struct agent *agent)
{
    if (!agent->resize_is_due || !is_running(agent))
        return false;
    agent->resize_is_due = false;
    make_frame(agent, AGENT_RESIZE, 0, &agent->window, sizeof(agent->window));
    return true;
}

static bool make_closed_frame(struct agent *agent)
{
    for (size_t i = 0; i < OUTPUTS && is_running(agent); i++) {
        struct output *output = &agent->outputs[i];

        if (!output->close_is_due)
            continue;
        output->close_is_due = false;
        make_frame(agent, AGENT_OUTPUT_CLOSED, output->id, NULL, 0);
        return true;
    }
    return false;
}

static bool make_credit_frame(struct agent *agent)
{
    for (size_t i = 0; i < OUTPUTS && agent->run_is_sent; i++) {
        struct output *output = &agent->outputs[i];
        const uint32_t word = htole32(output->credit_due);

        if (!output->credit_due)
            continue;
        output->credit_due = 0;
        make_frame(agent, AGENT_OUTPUT_CREDIT, output->id, &word, sizeof(word));
        return true;
    }
    return false;
}

static bool make_input_end_frame(struct agent *agent)
{
    if (!agent->input_end_is_due || !is_running(agent))
        return false;
    agent->input_end_is_due = false;
    make_frame(agent, AGENT_INPUT_END, 0, NULL, 0);
    return true;
}

static bool make_bye_frame(struct agent *agent)
{
    if (!agent->bye_is_due)
        return false;
    agent->bye_is_due = false;
    make_frame(agent, AGENT_BYE, 0, NULL, 0);
    return true;
}

static bool (*const next_frames[])(struct agent *) = {
    make_job_frame,    make_signal_frame,    make_resize_frame, make_closed_frame,
    make_credit_frame, make_input_end_frame, make_bye_frame,
};

static bool make_next_frame(struct agent *agent)
{
    for (size_t i = 0; i < sizeof(next_frames) / sizeof(next_frames[0]); i++) {
        if (next_frames[i](agent))
            return true;
    }
    return false;
}

static bool out_is_empty(const struct agent *agent)
{
    return agent->out_sent == agent->out_len;
}

/* Sends until the guest takes no more, or there is nothing left to say but input. */
static void pump(struct agent *agent)
{
    while (!out_is_empty(agent) || make_next_frame(agent)) {
        size_t left = agent->out_len - agent->out_sent;
        size_t taken = agent->params.send(agent->params.ctx, agent->out + agent->out_sent, left);

        agent->out_sent += taken;
        if (taken < left)
            return;
    }
    if (agent->input_credit > 0 && is_running(agent))
        stream_receive_ready(agent->outputs[0].stream);
}

void agent_send_ready(struct agent *agent)
{
    pump(agent);
}

/* --- our stdin --- */

static size_t agent_take_input(void *ctx, const uint8_t *data, size_t len)
{
    struct output *output = ctx;
    struct agent *agent = output->agent;

    if (!out_is_empty(agent) || !is_running(agent))
        return 0;
    if (len > agent->input_credit)
        len = agent->input_credit;
    if (len > AGENT_PAYLOAD_MAX)
        len = AGENT_PAYLOAD_MAX;
    if (len == 0)
        return 0;
    agent->input_credit -= (uint32_t)len;
    make_frame(agent, AGENT_INPUT, 0, data, len);
    pump(agent);
    return len;
}

static void agent_input_ended(void *ctx)
{
    struct output *output = ctx;

    output->agent->input_end_is_due = true;
    pump(output->agent);
}

static void agent_filter_input(void *ctx, uint8_t *data, size_t *len)
{
    struct output *output = ctx;
    const struct agent_params *params = &output->agent->params;

    params->filter(params->ctx, data, len);
}

/* --- how it ends --- */

static void tell_changed(struct agent *agent)
{
    agent->params.changed(agent->params.ctx);
}

/* The end is told when nothing of the output waits any more; then the guest may go. */
static void try_to_end(struct agent *agent)
{
    if (!is_over(agent) || agent->is_told_ended)
        return;
    for (size_t i = 0; i < OUTPUTS; i++) {
        if (!stream_drain(agent->outputs[i].stream))
            return;
    }
    agent->is_told_ended = true;
    agent->bye_is_due = true;
    tell_changed(agent);
    pump(agent);
}

static void copy_text(char *to, size_t size, const uint8_t *text, size_t len)
{
    if (len > size - 1)
        len = size - 1;
    memcpy(to, text, len);
    to[len] = '\0';
}

static void end_with(struct agent *agent, enum agent_end end, uint32_t value)
{
    if (is_over(agent))
        return;
    agent->result.end = end;
    agent->result.value = value;
    try_to_end(agent);
}

static void fail(struct agent *agent, const char *why)
{
    if (is_over(agent))
        return;
    (void)snprintf(agent->result.text, sizeof(agent->result.text), "the agent in the guest %s",
                   why);
    end_with(agent, AGENT_END_FAILED, 125);
}

/* --- our stdout and stderr --- */

/* The guest may send what the stream has room for. */
static void give_credit(struct output *output)
{
    size_t room = output->is_closed ? 0 : stream_room(output->stream);

    if (output->has_ended || room < output->credit + CREDIT_STEP)
        return;
    output->credit_due += (uint32_t)(room - output->credit);
    output->credit = (uint32_t)room;
}

static void agent_output_ready(void *ctx)
{
    struct output *output = ctx;

    if (is_over(output->agent)) {
        try_to_end(output->agent);
        return;
    }
    give_credit(output);
    pump(output->agent);
}

static void agent_output_failed(void *ctx, int err)
{
    struct output *output = ctx;
    struct agent *agent = output->agent;

    output->is_closed = output->close_is_due = true;
    agent->params.output_failed(agent->params.ctx, err);
    pump(agent);
}

/* --- from the guest --- */

static void take_hello(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_hello hello;
    char why[64];

    if (agent->result.is_up || len < sizeof(hello)) {
        fail(agent, "said hello as none of ours does");
        return;
    }
    memcpy(&hello, data, sizeof(hello));
    if (le32toh(hello.version) != AGENT_VERSION) {
        (void)snprintf(why, sizeof(why), "speaks version %u of its protocol, not %d",
                       le32toh(hello.version), AGENT_VERSION);
        fail(agent, why);
        return;
    }
    agent->result.is_up = true;
    agent->result.uptime_ns = le64toh(hello.uptime_ns);
    copy_text(agent->result.release, sizeof(agent->result.release), data + sizeof(hello),
              len - sizeof(hello));
    tell_changed(agent);
}

static void take_started(struct agent *agent, size_t len)
{
    if (!agent->run_is_sent || agent->result.has_started || len > 0) {
        fail(agent, "said that it started something it was not asked to");
        return;
    }
    agent->result.has_started = true;
    for (size_t i = 0; i < OUTPUTS; i++) {
        agent->outputs[i].close_is_due = agent->outputs[i].is_closed;
        give_credit(&agent->outputs[i]);
    }
    tell_changed(agent);
}

static void take_failed(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_failed failed;

    if (len < sizeof(failed)) {
        fail(agent, "failed, and does not say why");
        return;
    }
    memcpy(&failed, data, sizeof(failed));
    uint32_t status = le32toh(failed.status);
    copy_text(agent->result.text, sizeof(agent->result.text), data + sizeof(failed),
              len - sizeof(failed));
    end_with(agent, AGENT_END_FAILED, status == 126 || status == 127 ? status : 125);
}

static struct output *find_output(struct agent *agent, uint16_t stream)
{
    for (size_t i = 0; i < OUTPUTS; i++) {
        if (agent->outputs[i].id == stream)
            return &agent->outputs[i];
    }
    return NULL;
}

static void take_output(struct agent *agent, uint16_t stream, const uint8_t *data, size_t len)
{
    struct output *output = find_output(agent, stream);

    if (!output || !agent->result.has_started || output->has_ended || len > output->credit) {
        fail(agent, "sent output that it may not send");
        return;
    }
    output->credit -= (uint32_t)len;
    (void)stream_write(output->stream, data, len);
    give_credit(output);
}

static void take_output_end(struct agent *agent, uint16_t stream, size_t len)
{
    struct output *output = find_output(agent, stream);

    if (!output || !agent->result.has_started || output->has_ended || len > 0)
        fail(agent, "ended output that it may not end");
    else
        output->has_ended = true;
}

static void take_input_credit(struct agent *agent, const uint8_t *data, size_t len)
{
    uint32_t word;

    if (len != sizeof(word)) {
        fail(agent, "sent a credit that is none");
        return;
    }
    memcpy(&word, data, sizeof(word));
    uint32_t more = le32toh(word);
    if (more > AGENT_CREDIT_MAX - agent->input_credit) {
        fail(agent, "gave more credit than anybody needs");
        return;
    }
    agent->input_credit += more;
}

static void take_event(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_result *result = &agent->result;
    uint32_t word;

    if (len < sizeof(word)) {
        fail(agent, "sent an event that is none");
        return;
    }
    memcpy(&word, data, sizeof(word));
    data += sizeof(word);
    len -= sizeof(word);
    if (le32toh(word) == AGENT_EVENT_OOPS && !result->has_oops) {
        result->has_oops = true;
        copy_text(result->oops, sizeof(result->oops), data, len);
    } else if (le32toh(word) == AGENT_EVENT_OOM && !result->has_oom) {
        result->has_oom = true;
        copy_text(result->oom, sizeof(result->oom), data, len);
    }
}

static void take_ended(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_ended ended;

    if (len != sizeof(ended) || !agent->result.has_started) {
        fail(agent, "reports an end of nothing");
        return;
    }
    memcpy(&ended, data, sizeof(ended));
    uint32_t signal_number = le32toh(ended.signal), status = le32toh(ended.status);
    if (signal_number > SIGNAL_MAX || status > 255)
        fail(agent, "reports an end that no program has");
    else if (signal_number)
        end_with(agent, AGENT_END_SIGNAL, signal_number);
    else
        end_with(agent, AGENT_END_EXIT, status);
}

static void take_frame(struct agent *agent, enum agent_message type, uint16_t stream,
                       const uint8_t *data, size_t len)
{
    if (!agent->result.is_up && type != AGENT_HELLO) {
        fail(agent, "did not say hello");
        return;
    }
    switch (type) {
    case AGENT_HELLO:
        take_hello(agent, data, len);
        break;
    case AGENT_STARTED:
        take_started(agent, len);
        break;
    case AGENT_FAILED:
        take_failed(agent, data, len);
        break;
    case AGENT_OUTPUT:
        take_output(agent, stream, data, len);
        break;
    case AGENT_OUTPUT_END:
        take_output_end(agent, stream, len);
        break;
    case AGENT_INPUT_CREDIT:
        take_input_credit(agent, data, len);
        break;
    case AGENT_EVENT:
        take_event(agent, data, len);
        break;
    case AGENT_ENDED:
        take_ended(agent, data, len);
        break;
    default:
        fail(agent, "sent a message that only a host sends, or nobody");
        break;
    }
}

/* How many bytes the frame in @in has in all, as far as that is known. */
static size_t frame_size(struct agent *agent)
{
    struct agent_header header;

    if (agent->in_len < sizeof(header))
        return sizeof(header);
    memcpy(&header, agent->in, sizeof(header));
    uint32_t len = le32toh(header.len);
    if (len > AGENT_PAYLOAD_MAX) {
        fail(agent, "sent a message that is too long");
        return sizeof(header);
    }
    return sizeof(header) + len;
}

/* Judges the frame if it is whole. */
static void try_frame(struct agent *agent)
{
    struct agent_header header;

    if (agent->in_len < sizeof(header) || agent->in_len < frame_size(agent) || is_over(agent))
        return;
    memcpy(&header, agent->in, sizeof(header));
    take_frame(agent, (enum agent_message)le16toh(header.type), le16toh(header.stream),
               agent->in + sizeof(header), le32toh(header.len));
    agent->in_len = 0;
}

void agent_receive(struct agent *agent, const uint8_t *data, size_t len)
{
    while (len > 0 && !is_over(agent)) {
        size_t want = frame_size(agent) - agent->in_len;

        if (is_over(agent))
            break;
        if (want > len)
            want = len;
        memcpy(agent->in + agent->in_len, data, want);
        agent->in_len += want;
        data += want;
        len -= want;
        try_frame(agent);
    }
    pump(agent);
}

/* --- from the caller --- */

void agent_signal(struct agent *agent, int signal_number)
{
    if (signal_number > 0 && signal_number <= SIGNAL_MAX)
        agent->signals_due |= UINT64_C(1) << (signal_number - 1);
    pump(agent);
}

void agent_resize(struct agent *agent, uint16_t columns, uint16_t rows)
{
    agent->window = (struct agent_window){ htole16(columns), htole16(rows) };
    agent->resize_is_due = true;
    pump(agent);
}

const struct agent_result *agent_result(const struct agent *agent)
{
    return &agent->result;
}

static int open_output(struct agent *agent, size_t index, int input_fd, int output_fd)
{
    struct output *output = &agent->outputs[index];
    const struct stream_params params = {
        .loop = agent->params.loop,
        .guard = agent->params.guard,
        .input_fd = input_fd,
        .output_fd = output_fd,
        .filter = input_fd >= 0 && agent->params.filter ? agent_filter_input : NULL,
        .receive = agent_take_input,
        .transmit_ready = agent_output_ready,
        .input_ended = input_fd >= 0 ? agent_input_ended : NULL,
        .output_failed = agent_output_failed,
        .ctx = output,
    };

    output->agent = agent;
    output->id = index == 0 ? AGENT_STDOUT : AGENT_STDERR;
    return stream_create(&params, &output->stream);
}

int agent_create(const struct agent_params *params, struct agent **ret)
{
    struct agent *agent = calloc(1, sizeof(*agent));

    if (!agent)
        return -ENOMEM;
    agent->params = *params;
    agent->input_end_is_due = params->input_fd < 0;
    int err = open_output(agent, 0, params->input_fd, params->output_fd);
    if (!err)
        err = open_output(agent, 1, -1, params->error_fd);
    if (err) {
        agent_destroy(agent);
        return err;
    }
    *ret = agent;
    return 0;
}

void agent_destroy(struct agent *agent)
{
    if (!agent)
        return;
    for (size_t i = 0; i < OUTPUTS; i++)
        stream_destroy(agent->outputs[i].stream);
    free(agent);
}

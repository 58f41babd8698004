// SPDX-License-Identifier: Apache-2.0
/* What the agent says: a frame after the other, each gathered in one buffer and then judged.
 *
 * Output is within the credit that we gave, and so fits into the stream that writes it. Whatever is
 * wrong, in a length or in its turn, ends the conversation with a sentence. */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "agent_private.h"

static void copy_text(char *to, size_t size, const uint8_t *text, size_t len)
{
    if (len > size - 1)
        len = size - 1;
    memcpy(to, text, len);
    to[len] = '\0';
}

static void take_hello(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_hello hello;
    char why[64];

    if (agent->result.is_up || len < sizeof(hello)) {
        agent_fail(agent, "said hello as none of ours does");
        return;
    }
    memcpy(&hello, data, sizeof(hello));
    if (le32toh(hello.version) != AGENT_VERSION) {
        (void)snprintf(why, sizeof(why), "speaks version %u of its protocol, not %d",
                       le32toh(hello.version), AGENT_VERSION);
        agent_fail(agent, why);
        return;
    }
    agent->result.is_up = true;
    agent->result.uptime_ns = le64toh(hello.uptime_ns);
    copy_text(agent->result.release, sizeof(agent->result.release), data + sizeof(hello),
              len - sizeof(hello));
    agent_tell_changed(agent);
}

static void take_started(struct agent *agent, size_t len)
{
    if (!agent->run_is_sent || agent->result.has_started || len > 0) {
        agent_fail(agent, "said that it started something it was not asked to");
        return;
    }
    agent->result.has_started = true;
    for (size_t i = 0; i < OUTPUTS; i++) {
        agent->outputs[i].close_is_due = agent->outputs[i].is_closed;
        agent_give_credit(&agent->outputs[i]);
    }
    agent_tell_changed(agent);
}

static void take_failed(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_failed failed;

    if (len < sizeof(failed)) {
        agent_fail(agent, "failed, and does not say why");
        return;
    }
    memcpy(&failed, data, sizeof(failed));
    uint32_t status = le32toh(failed.status);
    copy_text(agent->result.text, sizeof(agent->result.text), data + sizeof(failed),
              len - sizeof(failed));
    bool is_known = status == 123 || status == 126 || status == 127;
    agent_end_with(agent, AGENT_END_FAILED, is_known ? status : 125);
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
        agent_fail(agent, "sent output that it may not send");
        return;
    }
    output->credit -= (uint32_t)len;
    (void)stream_write(output->stream, data, len);
    agent_give_credit(output);
}

static void take_output_end(struct agent *agent, uint16_t stream, size_t len)
{
    struct output *output = find_output(agent, stream);

    if (!output || !agent->result.has_started || output->has_ended || len > 0)
        agent_fail(agent, "ended output that it may not end");
    else
        output->has_ended = true;
}

static void take_input_credit(struct agent *agent, const uint8_t *data, size_t len)
{
    uint32_t word;

    if (len != sizeof(word)) {
        agent_fail(agent, "sent a credit that is none");
        return;
    }
    memcpy(&word, data, sizeof(word));
    uint32_t more = le32toh(word);
    if (more > AGENT_CREDIT_MAX - agent->input_credit) {
        agent_fail(agent, "gave more credit than anybody needs");
        return;
    }
    agent->input_credit += more;
}

static void take_event(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_result *result = &agent->result;
    uint32_t word;

    if (len < sizeof(word)) {
        agent_fail(agent, "sent an event that is none");
        return;
    }
    memcpy(&word, data, sizeof(word));
    uint32_t event = le32toh(word);
    data += sizeof(word);
    len -= sizeof(word);
    if (event == AGENT_EVENT_OOPS && !result->has_oops) {
        result->has_oops = true;
        copy_text(result->oops, sizeof(result->oops), data, len);
        agent_tell_changed(agent);
    } else if (event == AGENT_EVENT_OOM && !result->has_oom) {
        result->has_oom = true;
        copy_text(result->oom, sizeof(result->oom), data, len);
        agent_tell_changed(agent);
    }
}

static void take_ended(struct agent *agent, const uint8_t *data, size_t len)
{
    struct agent_ended ended;

    if (len != sizeof(ended) || !agent->result.has_started) {
        agent_fail(agent, "reports an end of nothing");
        return;
    }
    memcpy(&ended, data, sizeof(ended));
    uint32_t signal_number = le32toh(ended.signal), status = le32toh(ended.status);
    if (signal_number > SIGNAL_MAX || status > 255)
        agent_fail(agent, "reports an end that no program has");
    else if (signal_number)
        agent_end_with(agent, AGENT_END_SIGNAL, signal_number);
    else
        agent_end_with(agent, AGENT_END_EXIT, status);
}

static void take_frame(struct agent *agent, enum agent_message type, uint16_t stream,
                       const uint8_t *data, size_t len)
{
    if (!agent->result.is_up && type != AGENT_HELLO) {
        agent_fail(agent, "did not say hello");
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
        agent_fail(agent, "sent a message that only a host sends, or nobody");
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
        agent_fail(agent, "sent a message that is too long");
        return sizeof(header);
    }
    return sizeof(header) + len;
}

/* Judges the frame if it is whole. */
static void try_frame(struct agent *agent)
{
    struct agent_header header;

    if (agent->in_len < sizeof(header) || agent->in_len < frame_size(agent) || agent_is_over(agent))
        return;
    memcpy(&header, agent->in, sizeof(header));
    take_frame(agent, (enum agent_message)le16toh(header.type), le16toh(header.stream),
               agent->in + sizeof(header), le32toh(header.len));
    agent->in_len = 0;
}

void agent_receive(struct agent *agent, const uint8_t *data, size_t len)
{
    while (len > 0 && !agent_is_over(agent)) {
        size_t want = frame_size(agent) - agent->in_len;

        if (agent_is_over(agent))
            break;
        if (want > len)
            want = len;
        memcpy(agent->in + agent->in_len, data, want);
        agent->in_len += want;
        data += want;
        len -= want;
        try_frame(agent);
    }
    agent_pump(agent);
}

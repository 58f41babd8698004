// SPDX-License-Identifier: Apache-2.0
/* The records of a job for the agent, one behind the other. */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/agent.h"

void agent_job_fini(struct agent_job *job)
{
    free(job->data);
    *job = (struct agent_job){ 0 };
}

/* Makes room for @len more bytes. */
static int job_grow(struct agent_job *job, size_t len)
{
    if (len > AGENT_JOB_MAX - job->len)
        return -E2BIG;
    if (job->len + len <= job->capacity)
        return 0;

    size_t capacity = (job->len + len) * 2;
    uint8_t *data = realloc(job->data, capacity);

    if (!data)
        return -ENOMEM;
    job->data = data;
    job->capacity = capacity;
    return 0;
}

static void job_append(struct agent_job *job, const void *data, size_t len)
{
    if (!job->err)
        job->err = job_grow(job, len);
    if (job->err)
        return;
    if (len > 0)
        memcpy(job->data + job->len, data, len);
    job->len += len;
}

static void job_begin(struct agent_job *job, enum agent_record_type type, size_t len)
{
    const struct agent_record record = {
        .type = htole32(type),
        .len = htole32(len > AGENT_JOB_MAX ? AGENT_JOB_MAX : (uint32_t)len),
    };

    job_append(job, &record, sizeof(record));
}

void agent_job_text(struct agent_job *job, enum agent_record_type type, const char *text)
{
    size_t len = strlen(text) + 1;

    job_begin(job, type, len);
    job_append(job, text, len);
}

void agent_job_user(struct agent_job *job, uid_t uid, gid_t gid, const gid_t *groups,
                    size_t group_count)
{
    assert(group_count <= AGENT_GROUPS_MAX);
    uint32_t numbers[2 + AGENT_GROUPS_MAX] = { htole32(uid), htole32(gid) };

    for (size_t i = 0; i < group_count; i++)
        numbers[2 + i] = htole32(groups[i]);
    job_begin(job, AGENT_RECORD_USER, (2 + group_count) * sizeof(numbers[0]));
    job_append(job, numbers, (2 + group_count) * sizeof(numbers[0]));
}

void agent_job_umask(struct agent_job *job, mode_t mask)
{
    const uint32_t word = htole32(mask);

    job_begin(job, AGENT_RECORD_UMASK, sizeof(word));
    job_append(job, &word, sizeof(word));
}

void agent_job_tty(struct agent_job *job, uint16_t columns, uint16_t rows)
{
    const struct agent_window window = { htole16(columns), htole16(rows) };

    job_begin(job, AGENT_RECORD_TTY, sizeof(window));
    job_append(job, &window, sizeof(window));
}

void agent_job_network(struct agent_job *job, const struct agent_network *network)
{
    job_begin(job, AGENT_RECORD_NETWORK, sizeof(*network));
    job_append(job, network, sizeof(*network));
}

void agent_job_file(struct agent_job *job, const char *path, const char *text)
{
    job_begin(job, AGENT_RECORD_FILE, strlen(path) + 1 + strlen(text) + 1);
    job_append(job, path, strlen(path) + 1);
    job_append(job, text, strlen(text) + 1);
}

void agent_job_mount(struct agent_job *job, const char *type, const char *source,
                     const char *target, unsigned long flags, const char *options)
{
    const char *const texts[] = { type, source, target, options };
    const uint32_t word = htole32((uint32_t)flags);
    size_t len = sizeof(word);

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        len += strlen(texts[i]) + 1;
    job_begin(job, AGENT_RECORD_MOUNT, len);
    job_append(job, &word, sizeof(word));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        job_append(job, texts[i], strlen(texts[i]) + 1);
}

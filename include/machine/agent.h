// SPDX-License-Identifier: Apache-2.0
/* The host's side of the conversation with the agent in the guest (machine/agent_protocol.h).
 *
 * An agent sends a job, connects the command's streams with descriptors of ours, and knows at the
 * end how the command ended. What the guest sends is not believed: every length and every turn is
 * checked, and what is wrong ends the conversation with a sentence.
 *
 * All is called with the guard held, the lock of the device that carries the bytes, and so are the
 * callbacks; the loop takes it for the streams. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "machine/agent_protocol.h"

/* --- what the agent is to do, in this order --- */

struct agent_job {
    uint8_t *data; /* the job's, until agent_job_fini() */
    size_t len, capacity;
    int err; /* the first failure: -ENOMEM, or -E2BIG beyond AGENT_JOB_MAX */
};

/* A zeroed one is empty; failures are kept in it. */
void agent_job_fini(struct agent_job *job);
/* AGENT_RECORD_ARG, ENV, FOLDER, MKDIR, ROOT, HOST_NAME, USER_NAME or HOME. */
void agent_job_text(struct agent_job *job, enum agent_record_type type, const char *text);
/* @group_count: at most AGENT_GROUPS_MAX. */
void agent_job_user(struct agent_job *job, uid_t uid, gid_t gid, const gid_t *groups,
                    size_t group_count);
void agent_job_umask(struct agent_job *job, mode_t mask);
void agent_job_tty(struct agent_job *job, uint16_t columns, uint16_t rows);
void agent_job_network(struct agent_job *job, const struct agent_network *network);
/* @text is what is to be in the file @path. */
void agent_job_file(struct agent_job *job, const char *path, const char *text);
/* As mount(2); @flags are MS_*, @options may be "". */
void agent_job_mount(struct agent_job *job, const char *type, const char *source,
                     const char *target, unsigned long flags, const char *options);

/* --- how it went --- */

enum agent_end {
    AGENT_END_NONE,   /* not yet */
    AGENT_END_EXIT,   /* value: its status */
    AGENT_END_SIGNAL, /* value: the signal */
    AGENT_END_FAILED, /* value: as in struct agent_failed; text says why */
    AGENT_END_BROKEN, /* it is none of ours, or not any more; text says why */
};

struct agent_result {
    bool is_up;       /* the agent said hello */
    bool has_started; /* the command was started */
    enum agent_end end;
    uint32_t value;
    uint64_t uptime_ns; /* of the guest's kernel, when the agent said hello */
    bool has_oops, has_oom;
    int lost_err; /* what writing its stdout failed with, unless its reader went: -errno, or 0 */
    char release[AGENT_RELEASE_MAX + 1];
    char text[AGENT_TEXT_MAX + 1], oops[AGENT_TEXT_MAX + 1], oom[AGENT_TEXT_MAX + 1];
};

struct agent;
struct loop;

struct agent_params {
    struct loop *loop;
    pthread_mutex_t *guard;
    int input_fd, output_fd, error_fd; /* the caller's; -1: none */
    const struct agent_job *job;       /* the caller's */
    /* As in struct stream_params; NULL: none. */
    void (*filter)(void *ctx, uint8_t *data, size_t *len);
    /* Sends bytes to the guest; returns how many were taken, the rest waits for
     * agent_send_ready(). */
    size_t (*send)(void *ctx, const uint8_t *data, size_t len);
    /* The result changed: it is up, started, the kernel had a fault or no memory, or it ended and
     * all its output was written. */
    void (*changed)(void *ctx);
    /* Writing output failed, as in struct stream_params. */
    void (*output_failed)(void *ctx, int err);
    void *ctx;
};

int agent_create(const struct agent_params *params, struct agent **ret);
/* The loop does not run any more. NULL is fine. */
void agent_destroy(struct agent *agent);

/* The guest sent these bytes. */
void agent_receive(struct agent *agent, const uint8_t *data, size_t len);
/* send() would take bytes again. */
void agent_send_ready(struct agent *agent);

/* Sends a signal to the command, if it runs. */
void agent_signal(struct agent *agent, int signal_number);
/* The terminal has another size. */
void agent_resize(struct agent *agent, uint16_t columns, uint16_t rows);

const struct agent_result *agent_result(const struct agent *agent);

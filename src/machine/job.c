// SPDX-License-Identifier: Apache-2.0
/* What the agent in the guest is asked to do: the user's COMMAND, and what it is to find there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/terminal.h"
#include "machine_private.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void add_variable(struct agent_job *job, const char *name, const char *value)
{
    char *text = NULL;

    if (asprintf(&text, "%s=%s", name, value) < 0) {
        job->err = -ENOMEM;
        return;
    }
    agent_job_text(job, AGENT_RECORD_ENV, text);
    free(text);
}

static void describe_terminal(struct agent_job *job)
{
    uint16_t columns = 80, rows = 24;
    const char *term = getenv("TERM");

    (void)terminal_size(STDOUT_FILENO, &columns, &rows);
    agent_job_tty(job, columns, rows);
    add_variable(job, "TERM", term ? term : "linux");
}

int machine_make_job(const struct config *config, struct agent_job *job)
{
    add_variable(job, "PATH", DEFAULT_PATH);
    add_variable(job, "HOME", "/");
    agent_job_text(job, AGENT_RECORD_FOLDER, "/");
    if (config->tty == TTY_ON)
        describe_terminal(job);
    for (char **arg = config->command; *arg; arg++)
        agent_job_text(job, AGENT_RECORD_ARG, *arg);
    return job->err;
}

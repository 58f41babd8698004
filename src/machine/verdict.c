// SPDX-License-Identifier: Apache-2.0
/* The order of what counts: a panic, whatever was said before it; a fault of the kernel's own, if
 * the user wants to know of it; the command's end, as soon as all of its output was written; then
 * what became of the machine. A command whose output we lost has not succeeded, whatever it thinks.
 * What a console says is the guest's word: it explains, and decides nothing. */
#include "verdict.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "host/log.h"

static_assert((int)OUTCOME_TEXT_MAX == (int)AGENT_TEXT_MAX &&
                  (int)OUTCOME_RELEASE_MAX == (int)AGENT_RELEASE_MAX,
              "the agent's texts fit");

/* --- what the console tells --- */

struct clue {
    const char *words;  /* of the kernel or the agent */
    const char *advice; /* NULL: what stands behind the words says it all */
};

/* The first of these that a line has; of a panic only those of the kernel. */
static const struct clue clues[] = {
    { "hutch-agent: ", NULL },
    { "VFS: Unable to mount root fs",
      "the kernel did not take the initial RAM disk: is it built with CONFIG_BLK_DEV_INITRD?" },
    { "No working init found", "the kernel could not run the agent: is it built with "
                               "CONFIG_BINFMT_ELF, for this host's architecture?" },
    { "Initramfs unpacking failed", "the kernel could not unpack the initial RAM disk: does it "
                                    "know that compression (CONFIG_RD_GZIP, CONFIG_RD_XZ ...)?" },
    { "Kernel panic - not syncing: ", NULL },
};

enum { FIRST_CLUE_OF_KERNEL = 1 };

struct search {
    size_t first; /* index of the best clue there can be */
    size_t best;  /* and of the best so far */
    char text[OUTCOME_TEXT_MAX];
};

/* Of clues of one kind the last one counts. */
static void look_at_line(void *ctx, const char *line)
{
    struct search *search = ctx;

    for (size_t i = search->first; i < sizeof(clues) / sizeof(clues[0]) && i <= search->best; i++) {
        const char *at = strstr(line, clues[i].words);

        if (!at)
            continue;
        const char *text = clues[i].advice ? clues[i].advice : at + strlen(clues[i].words);
        search->best = i;
        (void)snprintf(search->text, sizeof(search->text), "%s", text);
        return;
    }
}

/* --- the reason, as a sentence --- */

static void say(struct outcome *outcome, const char *sentence, const char *detail)
{
    (void)snprintf(outcome->reason, sizeof(outcome->reason), "%s%s%s", sentence,
                   *detail ? ": " : "", detail);
}

/* Whether a success is none, as nobody has what came of it. */
static bool has_lost_output(const struct agent_result *agent)
{
    return agent->end == AGENT_END_EXIT && agent->value == 0 && agent->lost_err;
}

static void find_reason(const struct verdict_facts *facts, enum outcome_kind machine_kind,
                        struct outcome *outcome)
{
    struct search search = { .first = outcome->kind == OUTCOME_PANIC ? FIRST_CLUE_OF_KERNEL : 0,
                             .best = SIZE_MAX };
    char sentence[96];

    if (facts->agent->text[0] && facts->agent->end != AGENT_END_NONE &&
        outcome->kind != OUTCOME_PANIC && outcome->kind != OUTCOME_OOPS) {
        say(outcome, facts->agent->text, "");
        return;
    }
    tail_each(facts->console, look_at_line, &search);
    switch (outcome->kind) {
    case OUTCOME_BOOT_FAILURE:
        (void)snprintf(sentence, sizeof(sentence),
                       "the guest did not start the command within %ju ms",
                       (uintmax_t)facts->boot_timeout_ms);
        if (facts->console_is_kept && facts->console->head == 0)
            (void)snprintf(search.text, sizeof(search.text),
                           "its console says nothing; -a loglevel=7 makes the kernel tell more, "
                           "and hutch doctor whether KVM can run one here");
        say(outcome, sentence, search.text);
        break;
    case OUTCOME_GUEST_DOWN:
        say(outcome,
            machine_kind == OUTCOME_POWEROFF ? "the guest powered off before the command ended"
            : machine_kind == OUTCOME_REBOOT ? "the guest rebooted before the command ended"
                                             : "the guest went down before the command ended",
            "");
        break;
    case OUTCOME_PANIC:
        say(outcome, "the guest's kernel panicked", search.text);
        break;
    case OUTCOME_OOPS:
        say(outcome, "the guest's kernel has a fault", outcome->oops);
        break;
    case OUTCOME_TIMEOUT:
        say(outcome,
            facts->agent->has_started ? "the command did not end within --timeout"
                                      : "the guest did not start the command within --timeout",
            "");
        break;
    case OUTCOME_TOOL_ERROR:
        if (has_lost_output(facts->agent))
            say(outcome, "the command ended with status 0, but its output is lost",
                strerror(-facts->agent->lost_err));
        break;
    default:
        break;
    }
}

/* --- the verdict --- */

/* What the agent's last word means. */
static void take_end(const struct agent_result *agent, struct outcome *outcome)
{
    switch (agent->end) {
    case AGENT_END_NONE:
        if (outcome->kind == OUTCOME_POWEROFF || outcome->kind == OUTCOME_REBOOT)
            outcome->kind = OUTCOME_GUEST_DOWN;
        return;
    case AGENT_END_EXIT:
        outcome->kind = has_lost_output(agent) ? OUTCOME_TOOL_ERROR : OUTCOME_EXIT;
        break;
    case AGENT_END_SIGNAL:
        outcome->kind = OUTCOME_SIGNAL;
        break;
    case AGENT_END_FAILED:
        outcome->kind =
            agent->value == STATUS_BOOT_FAILURE ? OUTCOME_BOOT_FAILURE : OUTCOME_NOT_STARTED;
        break;
    case AGENT_END_BROKEN:
        outcome->kind = agent->has_started ? OUTCOME_GUEST_DOWN : OUTCOME_BOOT_FAILURE;
        break;
    }
    outcome->value = agent->value;
}

static void copy_text(char *to, size_t size, const char *text)
{
    (void)snprintf(to, size, "%s", text);
}

void verdict_reach(const struct verdict_facts *facts, struct outcome *outcome)
{
    const struct agent_result *agent = facts->agent;
    enum outcome_kind machine_kind = outcome->kind;
    bool was_ended_by_us = machine_kind == OUTCOME_TIMEOUT || machine_kind == OUTCOME_STOPPED;

    copy_text(outcome->kernel, sizeof(outcome->kernel), agent->release);
    copy_text(outcome->oops, sizeof(outcome->oops), agent->oops);
    copy_text(outcome->oom, sizeof(outcome->oom), agent->oom);
    if (machine_kind == OUTCOME_PANIC)
        outcome->value = 0;
    else if (facts->oops_counts && agent->has_oops && machine_kind != OUTCOME_STOPPED)
        outcome->kind = OUTCOME_OOPS;
    else if (facts->has_ended || !was_ended_by_us)
        take_end(agent, outcome);
    find_reason(facts, machine_kind, outcome);
}

/* --- telling it --- */

static void print_line(void *ctx, const char *text)
{
    (void)ctx;
    log_error("| %s", text);
}

/* Whether the console may have more about it: not if the agent has said it all, nor of what went
 * wrong on our side. */
static bool concerns_the_console(const struct verdict_facts *facts, const struct outcome *outcome)
{
    return outcome->reason[0] && facts->agent->end != AGENT_END_FAILED &&
           outcome->kind != OUTCOME_TOOL_ERROR;
}

void verdict_tell(const struct verdict_facts *facts, const struct outcome *outcome)
{
    if (outcome->oops[0] && outcome->kind != OUTCOME_OOPS)
        log_warn("the guest's kernel has a fault, and went on: %s", outcome->oops);
    if (outcome->oom[0] && outcome_status(outcome) != 0)
        log_warn("the guest's memory did not suffice: %s", outcome->oom);
    if (outcome->reason[0])
        log_error("%s", outcome->reason);
    if (!concerns_the_console(facts, outcome) || facts->console->head == 0)
        return;
    log_error("the end of its console:");
    tail_each(facts->console, print_line, NULL);
}

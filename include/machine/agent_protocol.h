// SPDX-License-Identifier: Apache-2.0
/* What hutch and its agent in the guest say to each other; both are built from this header.
 *
 * The agent is PID 1 of the guest. The stream is a console port called AGENT_PORT_NAME. Both sides
 * send frames: a header (struct agent_header, little-endian as all of it) and up to
 * AGENT_PAYLOAD_MAX bytes. A frame of an unknown type, with a length that its type cannot have, or
 * out of turn is an error of the sender, and the end of the conversation.
 *
 *   agent                                  host
 *   HELLO (version, kernel, uptime)  -->
 *                                    <--   JOB, JOB ... RUN: what to do, as records,
 *                                          and what time it is
 *   STARTED, or FAILED (status, why) -->
 *   OUTPUT, OUTPUT_END, EVENT        -->
 *                                    <--   INPUT, INPUT_END, SIGNAL, RESIZE,
 *                                          OUTPUT_CLOSED
 *   ENDED (how), the last word       -->
 *
 * With that the command's files are written, and the host ends the machine.
 *
 * Each stream of the command (enum agent_stream) has a credit: its sender sends no more bytes
 * than the receiver allowed (INPUT_CREDIT, OUTPUT_CREDIT, which add to what is left; nothing at
 * first). So every frame can be taken at once, a stream that nobody reads holds up no other and no
 * message, and what either side has to buffer is what it offered. All else is small and
 * bounded: the host sends what it has for the agent only as the agent takes it, and the agent
 * leaves out an EVENT for which it has no room.
 *
 * Both come from one build, except when somebody takes an old initramfs: so HELLO comes first, its
 * layout up to the version never changes, and the host refuses a version that is not its own. */
#pragma once

#include <stdint.h>

#define AGENT_PORT_NAME "hutch.agent"

enum {
    AGENT_VERSION = 6,
    AGENT_PAYLOAD_MAX = 32760,  /* with its header 32 KiB, what a port takes at once */
    AGENT_JOB_MAX = 4 << 20,    /* bytes of all records together: more than a program of ours
                                 * can have been started with, by default */
    AGENT_CREDIT_MAX = 1 << 20, /* that a stream may have left */
    AGENT_RELEASE_MAX = 64,     /* of the kernel, in HELLO */
    AGENT_TEXT_MAX = 512,       /* of FAILED and EVENT, without a NUL */
    AGENT_GROUPS_MAX = 64,      /* supplementary groups */
};

struct agent_header {
    uint32_t len; /* of the payload */
    uint16_t type;
    uint16_t stream; /* enum agent_stream where the type says so, else 0 */
};

enum agent_stream { AGENT_STDIN, AGENT_STDOUT, AGENT_STDERR };

enum agent_message {
    /* The agent's. */
    AGENT_HELLO = 1,    /* struct agent_hello, then the kernel's release */
    AGENT_STARTED,      /* the command runs */
    AGENT_FAILED,       /* struct agent_failed, then a sentence: the last word, too */
    AGENT_OUTPUT,       /* stream: stdout (a terminal's output, too) or stderr; bytes */
    AGENT_OUTPUT_END,   /* stream; nobody can write to it any more */
    AGENT_INPUT_CREDIT, /* uint32_t: so many more bytes of stdin */
    AGENT_EVENT,        /* uint32_t (enum agent_event), then the kernel's words */
    AGENT_ENDED,        /* struct agent_ended; all output was sent before */
    /* The host's. */
    AGENT_JOB = 32,      /* the next bytes of the records */
    AGENT_RUN,           /* struct agent_run: that were all */
    AGENT_INPUT,         /* bytes */
    AGENT_INPUT_END,     /* end of file */
    AGENT_OUTPUT_CREDIT, /* stream; uint32_t: so many more bytes */
    AGENT_OUTPUT_CLOSED, /* stream; nobody reads it any more, as the command is to learn */
    AGENT_SIGNAL,        /* uint32_t: a signal for the command's process group */
    AGENT_RESIZE,        /* struct agent_window */
};

struct agent_hello {
    uint32_t version;
    uint32_t reserved;  /* 0 */
    uint64_t uptime_ns; /* since the kernel started (CLOCK_BOOTTIME) */
};

/* A kernel takes the time from a chip that knows whole seconds only. But files in a share have the
 * host's times, and programs as make compare them with the clock. */
struct agent_run {
    uint64_t time_ns; /* the host's CLOCK_REALTIME, which becomes the guest's */
};

/* The command did not start. */
struct agent_failed {
    uint32_t status; /* 127: not found, 126: not executable, 125: something before that, 123: the
                      * kernel lacks something for it */
};

enum agent_event {
    AGENT_EVENT_OOPS = 1, /* the kernel found a fault of its own and goes on */
    AGENT_EVENT_OOM,      /* the kernel killed a process for want of memory */
};

struct agent_ended {
    uint32_t signal; /* that ended it, or 0 */
    uint32_t status; /* its exit status if no signal did */
};

struct agent_window {
    uint16_t columns, rows;
};

/* A network card by its address, and what it is to have of IPv4; IPv6 comes from routers. */
struct agent_network {
    uint8_t mac[6];
    uint8_t prefix_len; /* of the addresses that are reached without the gateway */
    uint8_t reserved;   /* 0 */
    uint8_t address[4], gateway[4];
};

/* A job is a row of records, done in this order: a header and @len bytes, not padded. Texts end in
 * a NUL, which @len counts. */
struct agent_record {
    uint32_t type;
    uint32_t len;
};

enum agent_record_type {
    AGENT_RECORD_ARG = 1, /* text; the first is the command */
    AGENT_RECORD_ENV,     /* text: NAME=VALUE */
    AGENT_RECORD_FOLDER,  /* text: the command's working folder */
    AGENT_RECORD_USER,    /* uint32_t: uid, gid, then up to AGENT_GROUPS_MAX groups */
    AGENT_RECORD_TTY,     /* struct agent_window: the command gets a terminal */
    AGENT_RECORD_MKDIR,   /* text: a folder is made, with those above it */
    AGENT_RECORD_MOUNT,   /* uint32_t flags (MS_*), then four texts: type, source, target (which is
                           * made if need be), options */
    AGENT_RECORD_ROOT,    /* text: this folder, a mount point, becomes the root */
    AGENT_RECORD_HOST_NAME, /* text */
    AGENT_RECORD_USER_NAME, /* text: the user is this one of /etc/passwd, with the groups of
                             * /etc/group, and gets a HOME, unless an ENV has one */
    AGENT_RECORD_HOME,      /* text: a folder, which is made for the user if it is not there, with
                             * those above it; after USER */
    AGENT_RECORD_NETWORK,   /* struct agent_network */
    AGENT_RECORD_FILE,      /* two texts: a path, and what is to be in that file, which is made
                             * anew, with the folders above it */
    AGENT_RECORD_UMASK,     /* uint32_t: the command's */
};

// SPDX-License-Identifier: Apache-2.0
/* The option parser, on arguments and variables of any bytes.
 *
 * The input is a row of texts that NULs end: the first byte picks the verb, texts up to an empty
 * one are arguments, those behind it the environment. Whatever they are, the parser must give a
 * sentence or a configuration that can be checked and printed, and must leave nothing behind. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/values.h"
#include "machine/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXTS_MAX = 64, TEXT_BYTES_MAX = 1 << 16 };

/* Cuts @text into its NUL-terminated parts up to an empty one. Returns what is left. */
static char *cut(char *text, const char *end, char **parts, int *count)
{
    *count = 0;
    while (text < end && *count < TEXTS_MAX) {
        size_t len = strlen(text);
        if (!len)
            return text + 1;
        parts[(*count)++] = text;
        text += len + 1;
    }
    return text;
}

static void parse_run(int argc, char **argv, char **environment)
{
    struct usage_error error = { "" };
    struct config config;
    struct parsed parsed;

    if (config_init(&config))
        abort();
    int err = options_parse(verb_find("run"), argc, argv, environment, &config, &parsed, &error);
    assert(!err == !error.text[0]);
    if (!err && !config_check(&config)) {
        char *cmdline = config_cmdline(&config);
        assert(cmdline);
        free(cmdline);
    }
    config_fini(&config);
}

static void parse_other(const struct verb *verb, int argc, char **argv, char **environment)
{
    struct usage_error error = { "" };
    struct parsed parsed;
    bool flag = false;

    int err = options_parse(verb, argc, argv, environment, &flag, &parsed, &error);
    assert(!err == !error.text[0]);
    assert(err || (parsed.operand_count >= 0 && parsed.operand_count <= argc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const others[] = { "doctor", "kernel", "help", "version" };
    char *argv[TEXTS_MAX + 1] = { NULL }, *environment[TEXTS_MAX + 1] = { NULL };
    int argc, count;

    if (size < 1 || size > TEXT_BYTES_MAX)
        return 0;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *rest = cut(text + 1, text + size, argv, &argc);
    (void)cut(rest, text + size, environment, &count);
    environment[count] = NULL;
    if (data[0] & 0x80)
        parse_other(verb_find(others[data[0] & 3]), argc, argv, environment);
    else
        parse_run(argc, argv, environment);
    (void)verb_suggest(text);
    free(text);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
/* Reads the values of options.
 *
 * A number is digits only: strtoul's blanks, signs and prefixes would let "-1" and "0x10" through.
 * A suggestion is the candidate with the fewest edits (a letter added, dropped, changed, or two
 * swapped), if these are few for the length of the word. */
#include "values.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

enum { WORD_MAX = 32 };

/* Reads digits from *@text and moves behind them. */
static int take_digits(const char **text, uint64_t *ret)
{
    uint64_t value = 0;
    const char *p = *text;

    if (!isdigit((unsigned char)*p))
        return -EINVAL;
    for (; isdigit((unsigned char)*p); p++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return -ERANGE;
    }
    *text = p;
    *ret = value;
    return 0;
}

int value_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t value;
    int err = take_digits(&text, &value);

    if (err)
        return err;
    if (*text)
        return -EINVAL;
    if (value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* A number and one of the suffixes of @units, which ends with a factor of 0. */
static int value_with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
    uint64_t value;
    int err = take_digits(&text, &value);

    if (err)
        return err;
    for (; units->factor; units++) {
        if (strcasecmp(text, units->suffix) != 0)
            continue;
        if (__builtin_mul_overflow(value, units->factor, &value))
            return -ERANGE;
        *ret = value;
        return 0;
    }
    return -EINVAL;
}

int value_size(const char *text, uint64_t *ret)
{
    static const struct unit units[] = {
        { "", UINT64_C(1) << 20 },  { "K", UINT64_C(1) << 10 }, { "M", UINT64_C(1) << 20 },
        { "G", UINT64_C(1) << 30 }, { "T", UINT64_C(1) << 40 }, { NULL, 0 },
    };
    return value_with_unit(text, units, ret);
}

int value_time(const char *text, uint64_t *ret_ms)
{
    static const struct unit units[] = {
        { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { 0 },
    };
    uint64_t value;
    int err = value_with_unit(text, units, &value);

    if (err)
        return err;
    if (value > VALUE_TIME_MAX_MS)
        return -ERANGE;
    *ret_ms = value;
    return 0;
}

int value_bool(const char *text, bool *ret)
{
    static const char *const words[] = {
        "no", "off", "false", "0", "yes", "on", "true", "1", NULL
    };
    int at = value_word(text, words);

    if (at < 0)
        return at;
    *ret = at >= 4;
    return 0;
}

int value_key(const char *text, int *ret)
{
    if (!strcmp(text, "none")) {
        *ret = -1;
        return 0;
    }
    if (text[0] != '^' || !text[1] || text[2])
        return -EINVAL;

    int key = toupper((unsigned char)text[1]) ^ 0x40;
    if (key < 1 || key > 0x1f)
        return -EINVAL;
    *ret = key;
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int value_mac(const char *text, uint8_t ret[6])
{
    uint8_t mac[6], any = 0;

    for (int i = 0; i < 6; i++, text += 3) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0 || text[2] != (i < 5 ? ':' : '\0'))
            return -EINVAL;
        mac[i] = (uint8_t)(high << 4 | low);
        any |= mac[i];
    }
    if (!any || mac[0] & 1)
        return -EADDRNOTAVAIL;
    memcpy(ret, mac, sizeof(mac));
    return 0;
}

int value_word(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        if (!strcmp(word, words[i]))
            return i;
    }
    return -EINVAL;
}

char *value_next_item(char **rest)
{
    char *item = *rest, *from = item, *to = item;

    if (!item)
        return NULL;
    for (; *from; from++) {
        if (*from == ',' && *++from != ',') { /* a single comma; @from is behind it */
            *to = '\0';
            *rest = from;
            return item;
        }
        *to++ = *from;
    }
    *to = '\0';
    *rest = NULL;
    return item;
}

char *value_split(char *item)
{
    char *equals = strchr(item, '=');

    if (!equals)
        return NULL;
    *equals = '\0';
    return equals + 1;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many edits make one word from the other (optimal string alignment distance). */
static unsigned edit_distance(const char *a, const char *b, size_t a_len, size_t b_len)
{
    unsigned rows[3][WORD_MAX + 1]; /* the row before the last, the last, this one; in turn */

    for (unsigned j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned changed = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smaller(changed, smaller(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], before[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *value_suggest(const char *word, const char *const *candidates)
{
    size_t len = strlen(word);
    unsigned best = len < 3 ? 1 : len < 6 ? 2 : 3; /* more edits than this are another word */
    const char *found = NULL;

    if (!len || len > WORD_MAX)
        return NULL;
    for (; *candidates; candidates++) {
        size_t candidate_len = strlen(*candidates);
        if (candidate_len > WORD_MAX)
            continue;
        unsigned distance = edit_distance(word, *candidates, len, candidate_len);
        /* Of a short word, not every letter may be another one. */
        if (distance < (found ? best : best + 1) && distance < candidate_len) {
            best = distance;
            found = *candidates;
        }
    }
    return found;
}

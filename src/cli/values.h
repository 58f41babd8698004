// SPDX-License-Identifier: Apache-2.0
/* The values that options take: numbers, sizes, times, words, and rows of sub-options.
 *
 * All of it is pure: text in, a value or -errno out, nothing logged. Outputs are untouched on
 * failure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decimal number of at least @min and at most @max, nothing before or after it.
 * Returns 0, -EINVAL if it is no number, -ERANGE if it is out of bounds. */
int value_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* A size in bytes: a number with K, M, G or T (powers of 1024) behind it; a plain number counts
 * MiB. Returns 0, -EINVAL, or -ERANGE if it does not fit 64 bits. */
int value_size(const char *text, uint64_t *ret);

/* A time in milliseconds: a number with ms, s, m or h behind it; a plain number counts seconds.
 * Returns 0, -EINVAL, or -ERANGE if it is more than VALUE_TIME_MAX_MS. */
int value_time(const char *text, uint64_t *ret_ms);
#define VALUE_TIME_MAX_MS (UINT64_C(366) * 24 * 3600 * 1000)

/* yes, on, true, 1; no, off, false, 0. Returns 0 or -EINVAL. */
int value_bool(const char *text, bool *ret);

/* A control character: ^a to ^z, ^[, ^\, ^], ^^ or ^_; "none" gives -1. Returns 0 or -EINVAL. */
int value_key(const char *text, int *ret);

/* The address of one network card, as six pairs of hexadecimal digits with colons.
 * Returns 0, -EINVAL if it is none, -EADDRNOTAVAIL if it is a group's address or all zero. */
int value_mac(const char *text, uint8_t ret[6]);

/* Where @word is in the NULL-terminated @words; -EINVAL if nowhere. */
int value_word(const char *word, const char *const *words);

/* Takes the next item of a row "a,b=c,d": cuts it off in place and moves *@rest behind it (NULL
 * after the last one). Two commas stand for one that belongs to the item. NULL at the end. */
char *value_next_item(char **rest);

/* Cuts "key=value" in two. Returns the value, or NULL if there is no '='. */
char *value_split(char *item);

/* The one of the NULL-terminated @candidates that @word was probably meant to be, or NULL. */
const char *value_suggest(const char *word, const char *const *candidates);

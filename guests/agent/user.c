// SPDX-License-Identifier: Apache-2.0
/* A user by name, as the guest's own lists have it: /etc/passwd and /etc/group. What is asked by
 * other ways (a directory on the network) is not known here. */
#include "agent.h"

enum { LIST_MAX = 1 << 20, HOME_MAX = 4096 };

/* One field of a line, up to ':' or the line's end. */
struct field {
    const char *text;
    size_t len;
};

/* The field after @number others; an empty one past the line's end. */
static struct field field_at(const char *line, unsigned number)
{
    struct field field = { line, 0 };

    for (; number > 0; number--) {
        while (*field.text && *field.text != ':' && *field.text != '\n')
            field.text++;
        if (*field.text != ':')
            return field;
        field.text++;
    }
    while (field.text[field.len] && field.text[field.len] != ':' && field.text[field.len] != '\n')
        field.len++;
    return field;
}

static bool field_is(struct field field, const char *text)
{
    return field.len == strlen(text) && memcmp(field.text, text, field.len) == 0;
}

static bool field_number(struct field field, uint32_t *ret)
{
    uint64_t number = 0;

    for (size_t i = 0; i < field.len; i++) {
        if (field.text[i] < '0' || field.text[i] > '9' || number > UINT32_MAX)
            return false;
        number = number * 10 + (uint64_t)(field.text[i] - '0');
    }
    if (field.len == 0 || number >= UINT32_MAX)
        return false;
    *ret = (uint32_t)number;
    return true;
}

static const char *next_line(const char *line)
{
    while (*line && *line != '\n')
        line++;
    return *line ? line + 1 : line;
}

static const char *read_list(const char *path)
{
    static char list[LIST_MAX];

    return read_text(path, list, sizeof(list)) > 0 ? list : "";
}

/* Whether "a,b,c" has @name. */
static bool has_member(struct field members, const char *name)
{
    size_t start = 0;

    for (size_t i = 0; i <= members.len; i++) {
        if (i < members.len && members.text[i] != ',')
            continue;
        if (field_is((struct field){ members.text + start, i - start }, name))
            return true;
        start = i + 1;
    }
    return false;
}

static void take_groups(struct job *job, const char *name)
{
    uint32_t gid;

    job->group_count = 0;
    for (const char *line = read_list("/etc/group"); *line; line = next_line(line)) {
        if (job->group_count < AGENT_GROUPS_MAX && has_member(field_at(line, 3), name) &&
            field_number(field_at(line, 2), &gid))
            job->groups[job->group_count++] = gid;
    }
}

/* A user without one, or with one that is too long, does without HOME. */
static void take_home(struct job *job, struct field home)
{
    static char variable[HOME_MAX];
    size_t start = TEXT_JOIN(variable, "HOME=");

    if (home.len == 0 || home.len >= sizeof(variable) - start)
        return;
    memcpy(variable + start, home.text, home.len);
    variable[start + home.len] = '\0';
    job->home = variable;
}

bool user_find(struct job *job, const char *name, struct failure *failure)
{
    for (const char *line = read_list("/etc/passwd"); *line; line = next_line(line)) {
        if (!field_is(field_at(line, 0), name))
            continue;
        if (!field_number(field_at(line, 2), &job->uid) ||
            !field_number(field_at(line, 3), &job->gid))
            break;
        take_home(job, field_at(line, 5));
        take_groups(job, name);
        job->has_user = true;
        return true;
    }
    failure->status = 125;
    TEXT_JOIN(failure->text, "user '", name, "': the guest's /etc/passwd does not have it");
    return false;
}

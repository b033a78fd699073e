/* SPDX-License-Identifier: MIT */
/*
 * --list and --explain: the catalogue as text.
 *
 * Owns:    nothing.
 * Threads: the runner's.
 * Always:  makes no io_uring call.
 */
#include "runner.h"

void kt_list_print(const struct kt_options *options, FILE *out)
{
    for (size_t a = 0; a < kt_area_count; a++) {
        for (size_t i = 0; i < kt_areas[a]->count; i++) {
            const struct kt_assertion *assertion = &kt_areas[a]->assertions[i];
            if (!kt_glob(options, assertion))
                continue;
            fprintf(out, "%-6s %-34s %-7s %s\n", assertion->alias != NULL ? assertion->alias : "-",
                    assertion->id, assertion->since, assertion->sentence);
        }
    }
}

static void line(FILE *out, const char *label, const char *text)
{
    if (text != NULL)
        fprintf(out, "  %-14s %s\n", label, text);
}

int kt_explain_print(const char *id, FILE *out)
{
    const struct kt_assertion *assertion = kt_find(id, NULL);
    if (assertion == NULL)
        return -ENOENT;
    fprintf(out, "%s%s%s%s\n  %s\n\n", assertion->id, assertion->alias != NULL ? " (" : "",
            assertion->alias != NULL ? assertion->alias : "", assertion->alias != NULL ? ")" : "",
            assertion->sentence);
    line(out, "Source:", assertion->source);
    line(out, "Since:", assertion->since);
    line(out, "Known broken:", assertion->broken);
    line(out, "If absent:", assertion->absence);
    line(out, "Impact:", assertion->impact);
    line(out, "Avoid:", assertion->avoid);
    line(out, "Guards:", assertion->guards);
    for (int i = 0; i < OURO__FEATURE_COUNT; i++)
        if ((assertion->needs >> i & 1) != 0)
            fprintf(out, "  %-14s %s (%s): %s\n", "Needs:", ouro__feature_table[i].name,
                    ouro__feature_table[i].since, ouro__feature_table[i].what);
    fprintf(out, "  %-14s%s%s%s\n", "Rings:", (assertion->rings & KT_ON_PLAIN) != 0 ? " plain" : "",
            (assertion->rings & KT_ON_DEFER) != 0 ? " defer" : "",
            (assertion->rings & KT_ON_NONE) != 0 ? " its own" : "");
    if (assertion->flags != 0)
        fprintf(out, "  %-14s%s%s%s%s\n",
                "Marked:", (assertion->flags & KT_F_SLOW) != 0 ? " slow" : "",
                (assertion->flags & KT_F_ROOT) != 0 ? " root" : "",
                (assertion->flags & KT_F_TIMING) != 0 ? " timing" : "",
                (assertion->flags & KT_F_INFO) != 0 ? " info" : "");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * `ouro probe`: which driver a runtime would use on this system, and why.
 *
 * Everything shown comes from the library's own probe, by which a runtime decides; this file only
 * lays it out.
 *
 * Owns:    the probe.
 * Threads: the main thread; no runtime is made.
 */
#include <string.h>

#include "cli.h"
#include "json_text.h"
#include "output.h"

/* One feature or quirk, by number. */
typedef int item_function(const struct ouro_probe *probe, uint32_t index,
                          struct ouro_probe_item *out_item);

static const char *feature_state(const struct ouro_probe_item *item)
{
    if (!item->present)
        return item->required ? "missing, required" : "missing";
    if (!item->trusted)
        return "present, wrong";
    return item->used ? "used" : "present, unused";
}

static const char *quirk_state(const struct ouro_probe_item *item)
{
    if (!item->present)
        return item->trusted ? "not seen" : "not tested";
    return item->used ? "wrong, avoided" : "wrong, no matter";
}

/* Each column is as wide as its widest text; the sentences are last, since they vary most. */
static void print_items(const struct ouro_probe *probe, item_function *get,
                        const char *(*state)(const struct ouro_probe_item *item),
                        const char *before_why)
{
    struct ouro_probe_item item;
    int name_width = 0, state_width = 0;
    for (uint32_t i = 0; get(probe, i, &item) == 0; i++) {
        int name = (int)strlen(item.name), text = (int)strlen(state(&item));
        name_width = name > name_width ? name : name_width;
        state_width = text > state_width ? text : state_width;
    }
    for (uint32_t i = 0; get(probe, i, &item) == 0; i++) {
        printf("  %-*s  %-*s  %-5s %s (%s)", name_width, item.name, state_width, state(&item),
               item.since, item.what, item.how);
        if (*item.why_not)
            printf("; %s: %s", before_why, item.why_not);
        putchar('\n');
    }
}

static bool print_people(const struct ouro_probe *probe)
{
    bool usable = ouro_probe_uring_usable(probe) != 0;
    printf("kernel   %s\n", ouro_probe_kernel(probe));
    printf("driver   %s\n", usable ? "io_uring" : "epoll");
    if (usable) {
        printf("why      io_uring has all that is required; epoll is for where it is refused\n");
    } else {
        printf("why      %s\n", ouro_probe_reason(probe));
        if (*ouro_probe_remedy(probe))
            printf("change   %s\n", ouro_probe_remedy(probe));
    }
    printf("\nFeatures of io_uring: state, kernel that brought it, what it is (how established)\n");
    print_items(probe, ouro_probe_feature, feature_state, "not used");
    printf("\nKnown faults of kernels: state, what is wrong (how established)\n");
    print_items(probe, ouro_probe_quirk, quirk_state, "so ouro");
    return output_flush();
}

static json_t *json_items(const struct ouro_probe *probe, item_function *get)
{
    json_t *array = json_array();
    struct ouro_probe_item item;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && get(probe, i, &item) == 0; i++)
        rc = json_array_append_new(
            array, json_pack("{s:i,s:s,s:s,s:s,s:s,s:b,s:b,s:b,s:b,s:s}", "bit", (int)i, "name",
                             item.name, "what", item.what, "since", item.since, "how", item.how,
                             "present", item.present, "required", item.required, "trusted",
                             item.trusted, "used", item.used, "why_not", item.why_not));
    if (rc == 0)
        return array;
    json_decref(array);
    return NULL; /* no memory; what it was for becomes NULL too */
}

static bool print_json(const struct ouro_probe *probe)
{
    bool usable = ouro_probe_uring_usable(probe) != 0;
    return json_text_print(json_pack(
        "{s:s,s:s,s:s,s:b,s:s,s:s,s:o,s:o}", "version", ouro_version(), "kernel",
        ouro_probe_kernel(probe), "driver",
        cli_driver_name(usable ? OURO_DRIVER_URING : OURO_DRIVER_EPOLL), "uring_usable", usable,
        "reason", ouro_probe_reason(probe), "remedy", ouro_probe_remedy(probe), "features",
        json_items(probe, ouro_probe_feature), "quirks", json_items(probe, ouro_probe_quirk)));
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    switch (key) {
    case 'j':
        *(bool *)state->input = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "probe takes no arguments");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_probe(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"json", 'j', NULL, 0, "Print everything as a JSON object", 0},
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse_option,
        .doc =
            "Shows which driver a runtime chooses on this system and why, each kernel feature the "
            "library looks for, and what to change where io_uring is refused.",
    };
    bool json = false;
    cli_parse(&argp, "probe", argc, argv, &json);

    struct ouro_probe *probe = NULL;
    int rc = ouro_probe_new(&probe);
    if (rc < 0) {
        output_error("%s (%s)", ouro_strerror(rc), ouro_err_name(rc));
        return CLI_FAILED;
    }
    bool written = json ? print_json(probe) : print_people(probe);
    ouro_probe_free(probe);
    return written ? CLI_OK : CLI_FAILED;
}

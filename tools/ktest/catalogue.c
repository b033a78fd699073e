/* SPDX-License-Identifier: MIT */
/*
 * The catalogue: every area, in the order in which a person reads the report.
 *
 * Owns:    nothing; the arrays are constant.
 * Threads: any.
 * Always:  an assertion's id and alias are unique (checked by the tests).
 */
#include "runner.h"

extern const struct kt_area kt_area_connect;
extern const struct kt_area kt_area_connect_pending;
extern const struct kt_area kt_area_connect_unix;
extern const struct kt_area kt_area_accept;
extern const struct kt_area kt_area_accept_limits;
extern const struct kt_area kt_area_socket;
extern const struct kt_area kt_area_recv;
extern const struct kt_area kt_area_recv_multishot;
extern const struct kt_area kt_area_recv_eof;
extern const struct kt_area kt_area_recv_waitall;
extern const struct kt_area kt_area_message;
extern const struct kt_area kt_area_send;
extern const struct kt_area kt_area_cancel;
extern const struct kt_area kt_area_buffer;
extern const struct kt_area kt_area_buffer_inc;
extern const struct kt_area kt_area_buffer_many;
extern const struct kt_area kt_area_zerocopy;
extern const struct kt_area kt_area_splice;
extern const struct kt_area kt_area_link;
extern const struct kt_area kt_area_link_timeout;
extern const struct kt_area kt_area_timeout;
extern const struct kt_area kt_area_timeout_multishot;
extern const struct kt_area kt_area_futex;
extern const struct kt_area kt_area_wake;
extern const struct kt_area kt_area_wait;
extern const struct kt_area kt_area_ring;
extern const struct kt_area kt_area_ring_resize;
extern const struct kt_area kt_area_register;
extern const struct kt_area kt_area_poll;
extern const struct kt_area kt_area_close;
extern const struct kt_area kt_area_msgring;
extern const struct kt_area kt_area_probe;
extern const struct kt_area kt_area_workers;
extern const struct kt_area kt_area_cost;
extern const struct kt_area kt_area_cost_net;
extern const struct kt_area kt_area_selftest;

const struct kt_area *const kt_areas[] = {
    &kt_area_connect,       &kt_area_connect_pending,
    &kt_area_connect_unix,  &kt_area_accept,
    &kt_area_accept_limits, &kt_area_socket,
    &kt_area_recv,          &kt_area_recv_multishot,
    &kt_area_recv_eof,      &kt_area_recv_waitall,
    &kt_area_message,       &kt_area_send,
    &kt_area_cancel,        &kt_area_buffer,
    &kt_area_buffer_inc,    &kt_area_buffer_many,
    &kt_area_zerocopy,      &kt_area_splice,
    &kt_area_link,          &kt_area_link_timeout,
    &kt_area_timeout,       &kt_area_timeout_multishot,
    &kt_area_futex,         &kt_area_wake,
    &kt_area_wait,          &kt_area_ring,
    &kt_area_ring_resize,   &kt_area_register,
    &kt_area_poll,          &kt_area_close,
    &kt_area_msgring,       &kt_area_probe,
    &kt_area_workers,       &kt_area_cost,
    &kt_area_cost_net,      &kt_area_selftest,
};
const size_t kt_area_count = sizeof(kt_areas) / sizeof(kt_areas[0]);

const struct kt_assertion *kt_find(const char *id_or_alias, const struct kt_area **out_area)
{
    for (size_t a = 0; a < kt_area_count; a++) {
        for (size_t i = 0; i < kt_areas[a]->count; i++) {
            const struct kt_assertion *assertion = &kt_areas[a]->assertions[i];
            if (strcmp(assertion->id, id_or_alias) != 0 &&
                (assertion->alias == NULL || strcmp(assertion->alias, id_or_alias) != 0))
                continue;
            if (out_area != NULL)
                *out_area = kt_areas[a];
            return assertion;
        }
    }
    return NULL;
}

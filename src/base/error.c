/* SPDX-License-Identifier: MIT */
/*
 * Texts and names of every code the library returns.
 *
 * There are three disjoint ranges: the kernel's numbers (below 4096), ouro's own (from 4097), and
 * the resolver's EAI_ codes, moved up to OURO_ERESOLVE.  The C library numbers those negatively and
 * with gaps; the absolute value keeps a code readable in a debugger: 4202 is EAI_NONAME (-2).
 *
 * Owns:    nothing; all texts are constants.
 * Threads: any.
 * Always:  returns a text, whatever the code.
 * Tests:   tests/base/test_error.c
 */
#include <ouro/error.h>

#include <errno.h>
#include <netdb.h>

#include "base/compiler.h"

struct error_text {
    const char *name;
    const char *text;
};

#define ENTRY(number, sentence) [number] = {#number, sentence}
static const struct error_text kernel_errors[] = {
#include "base/error_table.h"
};
#undef ENTRY

#define OWN_FIRST OURO_EIODISABLED
#define ENTRY(number, sentence) [(number)-OWN_FIRST] = {#number, sentence}
static const struct error_text own_errors[] = {
    ENTRY(OURO_EIODISABLED, "the runtime was made without I/O"),
    ENTRY(OURO_ETIMEDISABLED, "the runtime was made without time"),
    ENTRY(OURO_ESHUTDOWN, "the runtime is shutting down"),
    ENTRY(OURO_ENORUNTIME, "not inside a runtime"),
    ENTRY(OURO_EFORKED, "the runtime belongs to the parent process"),
    ENTRY(OURO_ENESTED, "called from inside a task, or from inside itself"),
    ENTRY(OURO_EWRONGTHREAD, "the runtime belongs to another thread"),
    ENTRY(OURO_ENODRIVER, "io_uring cannot run here"),
    ENTRY(OURO_ENOADDRESS, "no address to use"),
    ENTRY(OURO_EADDRSYNTAX, "not an address"),
    ENTRY(OURO_ELOANED, "buffers on loan have not been released"),
    ENTRY(OURO_ECREDIT, "the stream has all the loans it may have"),
    ENTRY(OURO_ESTREAMEND, "the stream ended too early"),
    ENTRY(OURO_EBYTELIMIT, "the connection's limit on bytes is reached"),
};
#undef ENTRY

#define ENTRY(code, sentence) [-(code)] = {#code, sentence}
static const struct error_text resolver_errors[] = {
    ENTRY(EAI_BADFLAGS, "name resolution: bad flags"),
    ENTRY(EAI_NONAME, "name or service not known"),
    ENTRY(EAI_AGAIN, "temporary failure in name resolution"),
    ENTRY(EAI_FAIL, "permanent failure in name resolution"),
    ENTRY(EAI_NODATA, "no address associated with the name"),
    ENTRY(EAI_FAMILY, "name resolution: address family not supported"),
    ENTRY(EAI_SOCKTYPE, "name resolution: socket type not supported"),
    ENTRY(EAI_SERVICE, "name resolution: service not supported for this socket type"),
    ENTRY(EAI_ADDRFAMILY, "no address of this family for the name"),
    ENTRY(EAI_MEMORY, "name resolution: cannot allocate memory"),
    ENTRY(EAI_SYSTEM, "name resolution: system error"),
    ENTRY(EAI_OVERFLOW, "name resolution: the name is too long"),
    ENTRY(EAI_INPROGRESS, "name resolution: request in progress"),
    ENTRY(EAI_CANCELED, "name resolution: request cancelled"),
    ENTRY(EAI_NOTCANCELED, "name resolution: request not cancelled"),
    ENTRY(EAI_ALLDONE, "name resolution: all requests done"),
    ENTRY(EAI_INTR, "name resolution: interrupted by a signal"),
    ENTRY(EAI_IDN_ENCODE, "the name cannot be encoded"),
};
#undef ENTRY

static const struct error_text success = {"0", "success"};
static const struct error_text unknown = {"UNKNOWN", "unknown error"};

/* The entry at @index, if the table has one there: all three have gaps. */
static const struct error_text *entry(const struct error_text *table, size_t count, unsigned index)
{
    return index < count && table[index].name != NULL ? &table[index] : &unknown;
}

static const struct error_text *find(int code)
{
    /* In unsigned arithmetic, since INT_MIN has no positive counterpart. */
    unsigned number = code < 0 ? 0u - (unsigned)code : (unsigned)code;
    if (number == 0)
        return &success;
    if (number >= OURO_ERESOLVE)
        return entry(resolver_errors, OURO__ARRAY_LEN(resolver_errors), number - OURO_ERESOLVE);
    if (number >= OWN_FIRST)
        return entry(own_errors, OURO__ARRAY_LEN(own_errors), number - OWN_FIRST);
    return entry(kernel_errors, OURO__ARRAY_LEN(kernel_errors), number);
}

const char *ouro_strerror(int code)
{
    return find(code)->text;
}

const char *ouro_err_name(int code)
{
    return find(code)->name;
}

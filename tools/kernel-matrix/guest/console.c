/* SPDX-License-Identifier: MIT */
/*
 * console.c - everything the test machine tells the outside, over one serial line.
 *
 * The line is shared with the kernel, which writes on it when it dies. So everything of ours is
 * marked with a nonce from the kernel's command line, which a program cannot guess and therefore
 * not forge:
 *
 *   @ouro NONCE KIND TEXT\n                    a fact
 *   @ouro NONCE out|err LENGTH\n<bytes>        a piece of a job's output, byte for byte
 *
 * With the length in front a program may print anything, NULs and our own marks included, and
 * stdout and stderr stay two streams on one wire.
 *
 * Owns:    the console's descriptor and the nonce
 * Threads: one, PID 1's
 * Always:  a mark starts a line, whatever was printed before it
 */
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static int console = -1;
static char mark[80] = "@ouro -";
static int at_line_start = 1;

int console_open(void)
{
    console = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (console < 0)
        return -1;

    struct termios tio;
    if (tcgetattr(console, &tio) == 0) {
        cfmakeraw(&tio); /* no CR before LF: the programs' bytes as they are */
        tcsetattr(console, TCSANOW, &tio);
    }
    return 0;
}

void console_name(const char *nonce)
{
    snprintf(mark, sizeof(mark), "@ouro %.64s", nonce);
}

void console_drain(void)
{
    if (console >= 0)
        tcdrain(console);
}

static void put(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(console, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        at_line_start = bytes[written - 1] == '\n';
        bytes += written;
        length -= (size_t)written;
    }
}

static void put_line(const char *line)
{
    if (!at_line_start)
        put("\n", 1);
    put(line, strlen(line));
    put("\n", 1);
}

void console_say(const char *format, ...)
{
    char text[1024];
    char line[sizeof(text) + sizeof(mark) + 1];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(line, sizeof(line), "%s %s", mark, text);
    put_line(line);
}

void console_frame(const char *stream, const char *bytes, size_t length)
{
    console_say("%s %zu", stream, length);
    put(bytes, length);
}

char *guest_slurp(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;

    size_t capacity = 1 << 16, length = 0;
    char *text = malloc(capacity + 1);
    ssize_t got;
    while (text != NULL && (got = read(fd, text + length, capacity - length)) > 0) {
        length += (size_t)got;
        if (length == capacity) {
            capacity *= 2;
            text = realloc(text, capacity + 1);
        }
    }
    close(fd);
    if (text != NULL)
        text[length] = '\0';
    return text;
}

static void show_thread(long pid, const char *tid)
{
    static const char *const files[] = {"comm", "wchan", "syscall", "stack"};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[300];
        snprintf(path, sizeof(path), "/proc/%ld/task/%.20s/%s", pid, tid, files[i]);
        char *text = guest_slurp(path);
        for (char *line = text ? strtok(text, "\n") : NULL; line; line = strtok(NULL, "\n"))
            console_say("hang %ld/%s %s: %s", pid, tid, files[i], line);
        free(text);
    }
}

/* Where is everybody? Asked when a job is about to be killed for its time: the kernel stack of
 * each thread is what tells a lost wake-up from a busy loop. */
void console_show_threads(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *process;

    while (proc != NULL && (process = readdir(proc)) != NULL) {
        char path[300];
        long pid = strtol(process->d_name, NULL, 10);
        if (pid <= 1)
            continue;
        snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
        char *command = guest_slurp(path);
        int is_user = command != NULL && *command != '\0'; /* kernel threads have none */
        free(command);
        if (!is_user)
            continue;

        snprintf(path, sizeof(path), "/proc/%ld/task", pid);
        DIR *tasks = opendir(path);
        struct dirent *task;
        while (tasks != NULL && (task = readdir(tasks)) != NULL)
            if (task->d_name[0] != '.')
                show_thread(pid, task->d_name);
        if (tasks != NULL)
            closedir(tasks);
    }
    if (proc != NULL)
        closedir(proc);
}

/* What the kernel logged as a warning or worse since `kmsg` was last read. */
void console_show_kernel_log(int kmsg)
{
    char record[4096];
    ssize_t length;

    if (kmsg < 0)
        return;
    for (;;) {
        length = read(kmsg, record, sizeof(record) - 1);
        if (length < 0 && (errno == EPIPE || errno == EINTR))
            continue; /* EPIPE: records were overwritten before we came; the rest is there */
        if (length <= 0)
            return;
        record[length] = '\0';
        long level = strtol(record, NULL, 10) & 7;
        char *text = strchr(record, ';');
        if (level > 4 || text == NULL)
            continue;
        text++;
        text[strcspn(text, "\n")] = '\0';
        console_say("kmsg <%ld> %s", level, text);
    }
}

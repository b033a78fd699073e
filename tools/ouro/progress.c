/* SPDX-License-Identifier: MIT */
/*
 * Progress bar: one line that is drawn over itself.
 *
 * A line that is wider than the terminal wraps, and "\r" goes back to the beginning of its last row
 * only: every drawing would leave rows behind.  So the line is made to fit: the bar shrinks, and
 * what does not fit without a bar is cut.  The last column stays empty, as some terminals wrap when
 * it is written.  The width is asked for each time, since a window can change.
 *
 * Owns:    nothing.
 * Threads: one at a time.
 */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "output.h"

#define BAR_WIDTH_MAX 40
#define BAR_WIDTH_MIN 5
#define LINE_MAX_BYTES 128
#define COLUMNS_UNKNOWN 80 /* of a terminal that does not tell, a serial line */

static int columns_to_use(void)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return (known ? size.ws_col : COLUMNS_UNKNOWN) - 1;
}

void progress_draw(double part, const char *text)
{
    char numbers[LINE_MAX_BYTES], bar[BAR_WIDTH_MAX + 1] = "", line[2 * LINE_MAX_BYTES];
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    int length = snprintf(numbers, sizeof(numbers), "%3.0f %%  %s", part * 100, text);
    int columns = columns_to_use();
    int width = columns - length - 3; /* "[", "] " */
    if (width > BAR_WIDTH_MAX)
        width = BAR_WIDTH_MAX;
    if (width >= BAR_WIDTH_MIN) {
        memset(bar, '.', (size_t)width);
        memset(bar, '#', (size_t)(part * width));
        snprintf(line, sizeof(line), "\r\033[K[%s] %s", bar, numbers);
    } else {
        snprintf(line, sizeof(line), "\r\033[K%.*s", columns, numbers);
    }
    /* A drawing that the terminal does not take now, stopped by ^S say, is not worth waiting for:
     * the next one says more. */
    (void)output_offer(line);
}

void progress_clear(void)
{
    (void)output_offer("\r\033[K");
}

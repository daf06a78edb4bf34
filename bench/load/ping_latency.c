/* Latency of pings, from when each was due to its reply.
 *
 * Owns the times of the pings in flight and their evaluation. Does not depend on sockets.
 */
#include "ping_latency.h"

#include <stdio.h>
#include <stdlib.h>

static double *times; /* when each ping was due (s); from its reply on, its latency (s) */
static unsigned first, count, capacity;

void ping_latency_start(unsigned number)
{
    first = number;
    count = 0;
}

void ping_latency_due(double at)
{
    if (count == capacity) {
        capacity = capacity ? 2 * capacity : 1024;
        times = realloc(times, capacity * sizeof *times);
        if (times == NULL)
            exit(1);
    }
    times[count++] = at;
}

void ping_latency_reply(unsigned number, double at)
{
    if (number - first < count)
        times[number - first] = at - times[number - first];
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return a < b ? -1 : a > b;
}

void ping_latency_print(void)
{
    if (count == 0)
        return;
    qsort(times, count, sizeof *times, by_size);
    printf("\"p50\":%.6f,\"p99\":%.6f,\"max\":%.6f,", times[count / 2], times[(size_t)(count * 0.99)],
           times[count - 1]);
}

void ping_latency_end(void)
{
    free(times);
    times = NULL;
    count = capacity = 0;
}

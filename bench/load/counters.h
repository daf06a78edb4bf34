/* What the running command has received. */
#ifndef BENCH_COUNTERS_H
#define BENCH_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "pool.h"

struct counters {
    const char *update, *reply; /* how updates and replies begin; NULL: none are expected */
    size_t update_length, reply_length;
    unsigned expected; /* updates that each watcher should have by now */
    int timed;         /* whether latency is recorded */
    long updates, bytes, replies, errors, duplicates, regressions;
    long complete;     /* watchers that have the expected updates */
    uint64_t newest;   /* the highest version that a reply named */
};

/* The catch-up of the connections in RETURNING. */
struct catch_up {
    double resumed, seconds; /* when reading resumed (s); how long until the newest version, or -1 */
    uint64_t wanted;         /* the newest version when reading resumed */
    long outdated;           /* updates older than that, received first */
};

extern struct counters counters;
extern struct catch_up catch_up;

/* Starts counting anew, for the arguments of the command. */
void counters_reset(void);
/* Counts a message; the callback of the pool. */
void counters_message(struct connection *connection, const char *text, size_t length);
/* Prints the members that every response ends with, and ends the JSON object. */
void counters_print(void);

#endif

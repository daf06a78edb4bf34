/* Latency from each message sent to the first update that includes it, at every watcher of its item. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

/* Starts a series of at most so many messages, numbered from first. */
void latency_start(long messages, unsigned first);
/* Adds the next message and when it was sent (s). */
void latency_sent(double at, int item);
/* Takes the version that the reply to a message named. */
void latency_reply(uint64_t number, uint64_t version);
/* Adds an update that a watcher received. */
void latency_update(double at, int watcher, uint64_t version);

/* Prints the percentiles (µs) as members of a JSON object. Watcher n watches item n % items. */
void latency_print(int watchers, int items);

#endif

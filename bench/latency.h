/* From a message that was sent to the first update that shows it, at each watcher. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

/* Forget what was noted; so many messages are to come, numbered from first. */
void latency_start(long messages, unsigned first);
void latency_sent(double at, int item);
void latency_answered(uint64_t number, uint64_t version);
void latency_shown(double at, int watcher, uint64_t version);

/* Print the result as members of a JSON object. Watcher n watches item n % items. */
void latency_print(int watchers, int items);

#endif

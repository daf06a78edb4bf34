/* Latency of pings, from when each was due to its reply. */
#ifndef BENCH_PING_LATENCY_H
#define BENCH_PING_LATENCY_H

/* Starts a series of pings, numbered from first. */
void ping_latency_start(unsigned first);
/* Adds the next ping and the time at which it was due (s): one that is sent late counts as late. */
void ping_latency_due(double at);
/* Takes the reply with this number; ignored when it belongs to no ping of the series. */
void ping_latency_reply(unsigned number, double at);
/* Prints the percentiles as members of a JSON object. Every ping must have its reply. */
void ping_latency_print(void);
/* Ends the series. */
void ping_latency_end(void);

#endif

/* From when a ping was due to its answer. */
#ifndef BENCH_PINGS_H
#define BENCH_PINGS_H

/* Pings are to come, numbered from first; they end with pings_end. */
void pings_start(unsigned first);
/* The next one was due at this time: a late one counts as late. */
void pings_due(double at);
/* A message with this number was answered; nothing when it was no ping. */
void pings_answered(unsigned number, double at);
/* Print the result, once all were answered, as members of a JSON object. */
void pings_print(void);
void pings_end(void);

#endif

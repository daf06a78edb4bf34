/* Latency from each message sent to the first update that includes it, at every watcher of its item.
 *
 * Owns the recorded times and their evaluation. Updates may be conflated: a message is included in the first update
 * whose version is not lower than the one that its reply named. Every pair of a message and a watcher of its item is one
 * sample. Does not depend on sockets.
 */
#include "latency.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_LATENCY = 4 * 1000 * 1000 /* µs */ };

struct message {
    double at;
    uint64_t version;
    int item;
};

struct update {
    double at;
    uint64_t version;
    int watcher;
};

static struct message *messages;
static struct update *updates;
static unsigned message_count, message_capacity, first_number;
static size_t update_count, update_capacity;

void latency_start(long capacity, unsigned first)
{
    free(messages);
    messages = calloc(capacity + 1, sizeof *messages);
    if (messages == NULL)
        exit(1);
    message_capacity = capacity;
    first_number = first;
    message_count = update_count = 0;
}

void latency_sent(double at, int item)
{
    if (message_count < message_capacity)
        messages[message_count++] = (struct message){at, 0, item};
}

void latency_reply(uint64_t number, uint64_t version)
{
    if (number >= first_number && number - first_number < message_count)
        messages[number - first_number].version = version;
}

void latency_update(double at, int watcher, uint64_t version)
{
    if (update_count == update_capacity) {
        update_capacity = update_capacity ? 2 * update_capacity : 1 << 16;
        updates = realloc(updates, update_capacity * sizeof *updates);
        if (updates == NULL)
            exit(1);
    }
    updates[update_count++] = (struct update){at, version, watcher};
}

static int by_item_and_version(const void *left, const void *right)
{
    const struct message *a = left, *b = right;

    if (a->item != b->item)
        return a->item < b->item ? -1 : 1;
    return a->version < b->version ? -1 : a->version > b->version;
}

static int by_watcher_and_version(const void *left, const void *right)
{
    const struct update *a = left, *b = right;

    if (a->watcher != b->watcher)
        return a->watcher < b->watcher ? -1 : 1;
    return a->version < b->version ? -1 : a->version > b->version;
}

static void print_percentiles(const unsigned *histogram, long total)
{
    static const struct { const char *name; double share; } points[] = {
        {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    long passed = histogram[0];
    int at = 0;

    printf("\"samples\":%ld,", total);
    for (size_t i = 0; i < sizeof points / sizeof *points && total; i++) {
        while (at < MAX_LATENCY && passed < points[i].share * total)
            passed += histogram[++at];
        printf("\"%s\":%d,", points[i].name, at);
    }
}

/* Adds the samples of one watcher, whose updates start at this index. Returns how many messages it never received. */
static long add_samples(int watcher, int items, size_t at, unsigned *histogram, long *total)
{
    long missing = 0;

    for (unsigned i = 0; i < message_count; i++) {
        if (messages[i].item != watcher % items || messages[i].version == 0)
            continue;
        while (at < update_count && updates[at].watcher == watcher && updates[at].version < messages[i].version)
            at++;
        if (at == update_count || updates[at].watcher != watcher) {
            missing++;
            continue;
        }
        double latency = (updates[at].at - messages[i].at) * 1e6;
        histogram[latency < 0 ? 0 : latency > MAX_LATENCY ? MAX_LATENCY : (int)latency]++;
        ++*total;
    }
    return missing;
}

void latency_print(int watchers, int items)
{
    unsigned *histogram = calloc(MAX_LATENCY + 1, sizeof *histogram);
    long total = 0, missing = 0;
    size_t at = 0;

    if (histogram == NULL)
        exit(1);
    qsort(messages, message_count, sizeof *messages, by_item_and_version);
    qsort(updates, update_count, sizeof *updates, by_watcher_and_version);
    for (int watcher = 0; watcher < watchers; watcher++) {
        while (at < update_count && updates[at].watcher < watcher)
            at++;
        missing += add_samples(watcher, items, at, histogram, &total);
    }
    print_percentiles(histogram, total);
    printf("\"missing\":%ld,", missing);
    free(histogram);
}

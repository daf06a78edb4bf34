/* From a message that was sent to the first update that shows it, at each watcher.
 *
 * Owns the notes of a run and their evaluation afterwards. Updates may be conflated: a message is shown by the first
 * update whose version is not lower than the one that its answer named. Every pair of a message and a watcher of its item
 * is one sample. Must not know sockets.
 */
#include "latency.h"

#include <stdio.h>
#include <stdlib.h>

enum { LONGEST = 4 * 1000 * 1000 /* µs */ };

struct sent {
    double at;
    uint64_t version;
    int item;
};

struct shown {
    double at;
    uint64_t version;
    int watcher;
};

static struct sent *sent;
static struct shown *shown;
static unsigned sent_count, sent_room, sent_first;
static size_t shown_count, shown_room;

void latency_start(long messages, unsigned first)
{
    free(sent);
    sent = calloc(messages + 1, sizeof *sent);
    if (sent == NULL)
        exit(1);
    sent_room = messages;
    sent_first = first;
    sent_count = shown_count = 0;
}

void latency_sent(double at, int item)
{
    if (sent_count < sent_room)
        sent[sent_count++] = (struct sent){at, 0, item};
}

void latency_answered(uint64_t number, uint64_t version)
{
    if (number >= sent_first && number - sent_first < sent_count)
        sent[number - sent_first].version = version;
}

void latency_shown(double at, int watcher, uint64_t version)
{
    if (shown_count == shown_room) {
        shown_room = shown_room ? 2 * shown_room : 1 << 16;
        shown = realloc(shown, shown_room * sizeof *shown);
        if (shown == NULL)
            exit(1);
    }
    shown[shown_count++] = (struct shown){at, version, watcher};
}

static int by_version(const void *left, const void *right)
{
    const struct sent *a = left, *b = right;

    if (a->item != b->item)
        return a->item < b->item ? -1 : 1;
    return a->version < b->version ? -1 : a->version > b->version;
}

static int by_watcher(const void *left, const void *right)
{
    const struct shown *a = left, *b = right;

    if (a->watcher != b->watcher)
        return a->watcher < b->watcher ? -1 : 1;
    return a->version < b->version ? -1 : a->version > b->version;
}

static void print(const unsigned *histogram, long total)
{
    static const struct { const char *name; double share; } points[] = {
        {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    long passed = histogram[0];
    int at = 0;

    printf("\"samples\":%ld,", total);
    for (size_t i = 0; i < sizeof points / sizeof *points && total; i++) {
        while (at < LONGEST && passed < points[i].share * total)
            passed += histogram[++at];
        printf("\"%s\":%d,", points[i].name, at);
    }
}

/* Add one watcher's samples, whose updates start at this place; how many messages it was never shown. */
static long add(int watcher, int items, size_t at, unsigned *histogram, long *total)
{
    long missing = 0;

    for (unsigned i = 0; i < sent_count; i++) {
        if (sent[i].item != watcher % items || sent[i].version == 0)
            continue;
        while (at < shown_count && shown[at].watcher == watcher && shown[at].version < sent[i].version)
            at++;
        if (at == shown_count || shown[at].watcher != watcher) {
            missing++;
            continue;
        }
        double late = (shown[at].at - sent[i].at) * 1e6;
        histogram[late < 0 ? 0 : late > LONGEST ? LONGEST : (int)late]++;
        ++*total;
    }
    return missing;
}

void latency_print(int watchers, int items)
{
    unsigned *histogram = calloc(LONGEST + 1, sizeof *histogram);
    long total = 0, missing = 0;
    size_t at = 0;

    if (histogram == NULL)
        exit(1);
    qsort(sent, sent_count, sizeof *sent, by_version);
    qsort(shown, shown_count, sizeof *shown, by_watcher);
    for (int watcher = 0; watcher < watchers; watcher++) {
        while (at < shown_count && shown[at].watcher < watcher)
            at++;
        missing += add(watcher, items, at, histogram, &total);
    }
    print(histogram, total);
    printf("\"missing\":%ld,", missing);
    free(histogram);
}

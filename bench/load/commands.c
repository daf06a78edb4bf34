/* The commands of the load generator; main.c describes them.
 *
 * Owns which message is sent when, and on which connection. Does not depend on whose server it loads, beyond the prefixes
 * in the arguments.
 */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command_line.h"
#include "counters.h"
#include "latency.h"
#include "ping_latency.h"
#include "pool.h"

#define BROADCAST_WAIT 0.002 /* s */
/* At high rates a few messages at a time: a generator that never sleeps would take a core from the server. */
#define MIN_WAIT 0.0005 /* s */
#define TAIL 0.5 /* s; the last updates may come after the last replies */

/* A prime, so that the senders start at different items. */
enum { MAX_MESSAGE = 4096, ITEM_STRIDE = 7919 };

static unsigned broadcast_rounds, next_number;

/* Fills in the message of the command and sends it; odd turns dislike, even ones like. */
static void send_message(struct connection *sender, int item, unsigned turn)
{
    static char out[MAX_MESSAGE];
    const char *from = argument("message");
    size_t at = 0;

    for (; *from && at < sizeof out - 32; from++) {
        if (from[0] != '$' || from[1] == 0)
            out[at++] = *from;
        else if (*++from == 'I')
            at += sprintf(out + at, "%03d", item);
        else if (*from == 'R')
            at += sprintf(out + at, "%s", turn % 2 ? "dislike" : "like");
        else
            at += sprintf(out + at, "%u", next_number++);
    }
    sender->sent++;
    sender->in_flight++;
    pool_send(sender, out, at);
}

/* Sends a sender's next message: two in a row for each item. Returns the item. */
static int send_next(struct connection *sender, int items)
{
    long turn = (long)sender->index * ITEM_STRIDE + sender->sent / 2;
    int one_in = number_argument("one_in", 0), item = one_in ? turn % one_in != 0 : turn % items;

    send_message(sender, item, sender->sent);
    return item;
}

static int group_argument(void)
{
    int group = number_argument("group", 0);

    return group >= 0 && group < GROUPS ? group : WATCHERS;
}

static void collect(double seconds)
{
    for (double until = pool_now() + seconds; pool_now() < until;)
        pool_poll(0.01);
}

void command_connect(void)
{
    /* The pool refers to all of this for as long as the connections are being set up. */
    static char path[512], protocol[128], ready[128];
    static char **first_messages;
    static int first_message_count;
    int group = group_argument(), count = number_argument("count", 1);

    while (first_message_count)
        free(first_messages[--first_message_count]);
    free(first_messages);
    first_messages = argument("first_messages") ? read_lines(argument("first_messages"), &first_message_count) : NULL;
    snprintf(path, sizeof path, "%s", argument("path") ? argument("path") : "/");
    snprintf(protocol, sizeof protocol, "%s", argument("protocol") ? argument("protocol") : "");
    snprintf(ready, sizeof ready, "%s", argument("ready") ? argument("ready") : "");
    pool_connect(group, &(struct connect_options){
        .count = count,
        .items = number_argument("items", 1),
        .concurrency = number_argument("concurrency", count),
        .receive_buffer = number_argument("receive_buffer", 0),
        .path = path,
        .protocol = protocol[0] ? protocol : NULL,
        .first_messages = first_messages,
        .first_message_count = first_message_count,
        .ready = ready[0] ? ready : NULL,
        .ready_count = number_argument("ready_count", 1),
        .timeout = number_argument("timeout", 30),
    });
    printf("\"ready\":%d,", groups[group].ready);
}

void command_disconnect(void) { pool_disconnect(group_argument()); }

void command_pause(void) { pool_read(group_argument(), 0); }

void command_collect(void) { collect(number_argument("seconds", 0)); }

void command_broadcast(void)
{
    int rounds = number_argument("rounds", 1), messages = number_argument("messages", 1), done = 0, late = 0;
    double timeout = number_argument("timeout", 10);

    while (done < rounds && !late && groups[SENDERS].ready > 0) {
        double deadline = pool_now() + timeout;
        counters.complete = 0;
        counters.expected = done + 1;
        for (int item = 0; item < messages; item++)
            send_message(groups[SENDERS].members, item, broadcast_rounds);
        broadcast_rounds++;
        while (!late && (counters.complete < groups[WATCHERS].count ||
                         (counters.reply && counters.replies < (long)counters.expected * messages))) {
            pool_poll_after(BROADCAST_WAIT);
            late = pool_now() > deadline;
        }
        done += !late;
    }
    printf("\"rounds\":%d,", done);
}

void command_closed_loop(void)
{
    long total = number_argument("total", 1), sent = 0;
    int items = number_argument("items", 1);
    double deadline = pool_now() + number_argument("timeout", 60);

    while (counters.replies + counters.errors < total && pool_now() < deadline && groups[SENDERS].ready > 0) {
        for (int i = 0; i < groups[SENDERS].count && sent < total; i++) {
            struct connection *sender = &groups[SENDERS].members[i];
            for (; sender->state == READY && sender->in_flight == 0 && sent < total; sent++)
                send_next(sender, items);
        }
        pool_poll(0.1);
    }
}

/* Sends what is due by now. Returns how many messages are sent so far. */
static long send_due(double started, double rate, int items, long sent, long total)
{
    static int next_sender;
    long due = (long)((pool_now() - started) * rate) + 1;

    for (due = due > total ? total : due; sent < due && groups[SENDERS].ready > 0; next_sender++) {
        struct connection *sender = &groups[SENDERS].members[next_sender % groups[SENDERS].count];
        if (sender->state != READY)
            continue;
        double at = pool_now();
        latency_sent(at, send_next(sender, items));
        sent++;
    }
    return sent;
}

enum reading { NEVER_PAUSED, PAUSED, RESUMED };

/* Pauses and resumes reading in RETURNING when the seconds since the start say so. */
static enum reading pause_or_resume(enum reading reading, double passed)
{
    double pause_at = number_argument("pause_at", -1);

    if (reading == NEVER_PAUSED && pause_at >= 0 && passed >= pause_at) {
        pool_read(RETURNING, 0);
        return PAUSED;
    }
    if (reading == PAUSED && passed >= number_argument("resume_at", pause_at)) {
        catch_up.resumed = pool_now();
        catch_up.wanted = counters.newest;
        pool_read(RETURNING, 1);
        return RESUMED;
    }
    return reading;
}

/* How many connections of a group do not have the newest version. */
static int count_behind(int group)
{
    int count = 0;

    for (int i = 0; i < groups[group].count; i++)
        count += groups[group].members[i].version != counters.newest;
    return count;
}

void command_open_loop(void)
{
    double rate = number_argument("rate", 1), seconds = number_argument("seconds", 1), started = pool_now();
    double deadline = started + seconds + number_argument("timeout", 10), elapsed;
    int items = number_argument("items", 1);
    long total = rate * seconds, sent = 0;
    enum reading reading = NEVER_PAUSED;

    counters.timed = number_argument("latency", 0) != 0;
    latency_start(total, next_number);
    while (counters.replies + counters.errors < total && pool_now() < deadline && groups[SENDERS].ready > 0) {
        double wait = started + sent / rate - pool_now();
        pool_poll(sent == total ? 0.01 : wait < MIN_WAIT ? MIN_WAIT : wait);
        sent = send_due(started, rate, items, sent, total);
        reading = pause_or_resume(reading, pool_now() - started);
    }
    elapsed = pool_now() - started;
    if (counters.timed)
        collect(TAIL);
    printf("\"elapsed\":%.6f,\"regressions\":%ld,", elapsed, counters.regressions);
    if (counters.timed && items == 1)
        printf("\"behind\":%d,", count_behind(WATCHERS) + count_behind(RETURNING));
    if (reading == RESUMED)
        printf("\"outdated\":%ld,\"catch_up\":%.6f,", catch_up.outdated, catch_up.seconds);
    if (counters.timed)
        latency_print(groups[WATCHERS].count, items);
}

void command_ping(void)
{
    double interval = number_argument("interval", 0.002), due = pool_now(), deadline;
    unsigned sent = 0;

    ping_latency_start(next_number);
    for (int input = 0; !input && groups[SENDERS].ready > 0;) {
        double wait = due - pool_now();
        input = pool_poll(wait > 0 ? wait : 0);
        for (; pool_now() >= due; due += interval, sent++) {
            ping_latency_due(due);
            send_message(&groups[SENDERS].members[sent % groups[SENDERS].count], 0, 0);
        }
    }
    deadline = pool_now() + number_argument("timeout", 5);
    while (counters.replies < sent && pool_now() < deadline)
        pool_poll(0.01);
    printf("\"sent\":%u,", sent);
    if (counters.replies == sent)
        ping_latency_print();
    ping_latency_end();
}

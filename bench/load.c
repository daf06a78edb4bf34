/* The load program: opens WebSocket connections, sends what it is told, counts and times what comes back.
 *
 * Owns the commands and what is counted. It runs as a process of its own and is much cheaper than any server it
 * measures. Must not know whose server it talks to, beyond the patterns that it is given.
 *
 * Usage: load <host> <port>, then one command a line on standard input: words separated by tabs, the first one the
 * command, the others key=value. Each is answered by one line of JSON. In messages and paths $I is the number of an item,
 * $R is "like" and "dislike" in turn, so that every message changes something, and $N numbers the messages.
 *
 *   open       group count path [items window protocol hello ready greetings timeout buffer]
 *   broadcast  rounds messages message match [reply timeout]   round by round: the first sender sends, all watchers get
 *   closed     total window items message reply [timeout]      every sender keeps so many messages unanswered
 *   rate       rate seconds [items rare] message reply update [latency timeout from until]   senders send on schedule; with
 *              "rare", one in so many is to item 0 and all others to item 1; group 3 does not read between "from" and "until"
 *   ping       every message reply                             senders in turn send on schedule until the next command
 *   rest       seconds                                         send nothing; what came since the last command began
 *   pause      group                                           read nothing of it any more
 *   close      group
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "latency.h"
#include "pings.h"
#include "pool.h"
#include "words.h"

#define NAP 0.002

enum { LINE = 65536, MESSAGE = 4096, STRIDE = 7919 };

/* What the running command looks for, and what it has found. */
static struct {
    const char *match, *reply;
    size_t match_length, reply_length;
    unsigned seen; /* updates that a watcher should have had so far */
    int timed;
    long matched, bytes, replies, errors, other, extra, backwards, complete;
    uint64_t newest; /* version that was answered */
} run;

/* The reader that was away, since when it reads again, and how many updates it was shown before one that was not older
 * than that. */
static struct {
    double since, late;
    uint64_t wanted;
    long stale;
} back;

static unsigned rounds_ever, numbered;

static int starts(const char *text, size_t length, const char *with, size_t with_length)
{
    return with && length >= with_length && memcmp(text, with, with_length) == 0;
}

/* An update of the reader that goes away and comes back. */
static void returned(struct connection *reader, const char *text, size_t length)
{
    uint64_t version = field_of(text, length, "\"version\":");

    run.backwards += version <= reader->version;
    reader->version = version;
    if (back.since > 0 && back.late < 0 && version >= back.wanted)
        back.late = pool_now() - back.since;
    else if (back.since > 0 && back.late < 0)
        back.stale++;
}

static void updated(struct connection *watcher, const char *text, size_t length)
{
    run.matched++;
    run.bytes += length;
    watcher->seen++;
    if (watcher->seen == run.seen)
        run.complete++;
    else if (watcher->seen > run.seen)
        run.extra++;
    if (run.timed) {
        uint64_t version = field_of(text, length, "\"version\":");
        run.backwards += version <= watcher->version;
        watcher->version = version;
        latency_shown(pool_now(), watcher->index, version);
    }
}

static void replied(struct connection *sender, const char *text, size_t length)
{
    run.replies++;
    sender->flight--;
    if (run.timed) {
        uint64_t version = field_of(text, length, "\"version\":");
        run.newest = version > run.newest ? version : run.newest;
        latency_answered(field_of(text, length, "\"ref\":"), version);
    }
    pings_answered(field_of(text, length, "\"ref\":"), pool_now());
}

static void heard(struct connection *connection, const char *text, size_t length)
{
    static const char error[] = "{\"type\":\"error\"";

    if (connection->group == WATCHERS && starts(text, length, run.match, run.match_length))
        updated(connection, text, length);
    else if (connection->group == AWAY && starts(text, length, run.match, run.match_length))
        returned(connection, text, length);
    else if (connection->group == SENDERS && starts(text, length, run.reply, run.reply_length))
        replied(connection, text, length);
    else if (starts(text, length, error, sizeof error - 1))
        run.errors++;
    else
        run.other++;
}

static void begin(void)
{
    memset(&run, 0, sizeof run);
    memset(&back, 0, sizeof back);
    back.late = -1;
    run.match = text_of("match") ? text_of("match") : text_of("update");
    run.reply = text_of("reply");
    run.match_length = run.match ? strlen(run.match) : 0;
    run.reply_length = run.reply ? strlen(run.reply) : 0;
    for (int group = 0; group < GROUPS; group++)
        for (int i = 0; i < groups[group].count; i++) {
            groups[group].members[i].seen = 0;
            groups[group].members[i].flight = 0;
        }
}

/* The closing part of every answer. */
static void answer(double started)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    printf("\"matched\":%ld,\"bytes\":%ld,\"replies\":%ld,\"errors\":%ld,\"other\":%ld,\"extra\":%ld,\"lost\":%d,"
           "\"seconds\":%.6f,\"cpu\":%.6f}\n",
           run.matched, run.bytes, run.replies, run.errors, run.other, run.extra,
           groups[WATCHERS].lost + groups[SENDERS].lost + groups[AWAY].lost, pool_now() - started,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6);
    fflush(stdout);
}

static void rest(double seconds)
{
    for (double until = pool_now() + seconds; pool_now() < until;)
        pool_turn(0.01);
}

static void say(struct connection *sender, int item, unsigned turn)
{
    static char out[MESSAGE];
    const char *from = text_of("message");
    size_t at = 0;

    for (; *from && at < sizeof out - 32; from++) {
        if (from[0] != '$' || from[1] == 0)
            out[at++] = *from;
        else if (*++from == 'I')
            at += sprintf(out + at, "%03d", item);
        else if (*from == 'R')
            at += sprintf(out + at, "%s", turn % 2 ? "dislike" : "like");
        else
            at += sprintf(out + at, "%u", numbered++);
    }
    sender->sent++;
    sender->flight++;
    pool_send(sender, out, at);
}

/* A sender's next message: it takes each item twice before it goes on to the next one. */
static int say_next(struct connection *sender, int items)
{
    long turn = (long)sender->index * STRIDE + sender->sent / 2;
    int rare = number_of("rare", 0), item = rare ? turn % rare != 0 : turn % items;

    say(sender, item, sender->sent);
    return item;
}

static int group_named(void)
{
    int group = number_of("group", 0);

    return group >= 0 && group < GROUPS ? group : WATCHERS;
}

static void do_open(void)
{
    /* What an opening points to stays, because connections may still be greeted when it is over. */
    static char path[512], protocol[128], ready[128];
    static char **hellos;
    static int hello_count;
    double started = pool_now();
    int group = group_named();
    struct opening how = {.count = number_of("count", 1), .items = number_of("items", 1), .buffer = number_of("buffer", 0),
                          .greetings = number_of("greetings", 1), .timeout = number_of("timeout", 30)};

    begin();
    while (hello_count)
        free(hellos[--hello_count]);
    free(hellos);
    hellos = text_of("hello") ? lines_of(text_of("hello"), &hello_count) : NULL;
    snprintf(path, sizeof path, "%s", text_of("path") ? text_of("path") : "/");
    snprintf(protocol, sizeof protocol, "%s", text_of("protocol") ? text_of("protocol") : "");
    snprintf(ready, sizeof ready, "%s", text_of("ready") ? text_of("ready") : "");
    how.path = path;
    how.protocol = protocol[0] ? protocol : NULL;
    how.ready = ready[0] ? ready : NULL;
    how.hellos = hellos;
    how.hello_count = hello_count;
    how.window = number_of("window", how.count);
    pool_open(group, &how);
    printf("{\"ready\":%d,", groups[group].ready);
    answer(started);
}

static void do_broadcast(void)
{
    int rounds = number_of("rounds", 1), messages = number_of("messages", 1), done = 0, late = 0;
    double started = pool_now(), timeout = number_of("timeout", 10);

    begin();
    while (done < rounds && !late && groups[SENDERS].ready > 0) {
        double deadline = pool_now() + timeout;
        run.complete = 0;
        run.seen = done + 1;
        for (int i = 0; i < messages; i++)
            say(groups[SENDERS].members, i, rounds_ever);
        rounds_ever++;
        while (!late && (run.complete < groups[WATCHERS].count ||
                         (run.reply && run.replies < (long)run.seen * messages))) {
            pool_nap(NAP);
            late = pool_now() > deadline;
        }
        done += !late;
    }
    printf("{\"rounds\":%d,", done);
    answer(started);
}

static void do_closed(void)
{
    long total = number_of("total", 1), sent = 0;
    int window = number_of("window", 1), items = number_of("items", 1);
    double started = pool_now(), deadline = started + number_of("timeout", 60);

    begin();
    while (run.replies + run.errors < total && pool_now() < deadline && groups[SENDERS].ready > 0) {
        for (int i = 0; i < groups[SENDERS].count && sent < total; i++) {
            struct connection *sender = &groups[SENDERS].members[i];
            for (; sender->state == READY && (int)sender->flight < window && sent < total; sent++)
                say_next(sender, items);
        }
        pool_turn(0.1);
    }
    printf("{\"sent\":%ld,", sent);
    answer(started);
}

/* Send what is due by now; the number sent so far. */
static long send_due(double since, double rate, int items, long sent, long total)
{
    static int next;
    long due = (long)((pool_now() - since) * rate) + 1;

    for (due = due > total ? total : due; sent < due && groups[SENDERS].ready > 0; next++) {
        struct connection *sender = &groups[SENDERS].members[next % groups[SENDERS].count];
        if (sender->state != READY)
            continue;
        double at = pool_now();
        latency_sent(at, say_next(sender, items));
        sent++;
    }
    return sent;
}

/* The reader goes away, and comes back; how far it has come with that. */
static int come_and_go(int stage, double passed)
{
    double from = number_of("from", -1);

    if (stage == 0 && from >= 0 && passed >= from) {
        pool_listen(AWAY, 0);
        return 1;
    }
    if (stage == 1 && passed >= number_of("until", from)) {
        back.since = pool_now();
        back.wanted = run.newest;
        pool_listen(AWAY, 1);
        return 2;
    }
    return stage;
}

/* How many of a group do not show the version that was answered last. */
static int behind(int number)
{
    int count = 0;

    for (int i = 0; i < groups[number].count; i++)
        count += groups[number].members[i].version != run.newest;
    return count;
}

static void do_rate(void)
{
    double rate = number_of("rate", 1), started = pool_now(), spent;
    double deadline = started + number_of("seconds", 1) + number_of("timeout", 10);
    int items = number_of("items", 1), stage = 0;
    long total = rate * number_of("seconds", 1), sent = 0;

    begin();
    run.timed = number_of("latency", 0) != 0;
    latency_start(total, numbered);
    while (run.replies + run.errors < total && pool_now() < deadline && groups[SENDERS].ready > 0) {
        double wait = started + sent / rate - pool_now();
        /* At high rates a few at a time: a load that never sleeps would take a core from the server. */
        pool_turn(sent == total ? 0.01 : wait < 0.0005 ? 0.0005 : wait);
        sent = send_due(started, rate, items, sent, total);
        stage = come_and_go(stage, pool_now() - started);
    }
    spent = pool_now() - started;
    if (run.timed)
        rest(0.5); /* The last updates may come after the last answers. */
    printf("{\"sent\":%ld,\"sending\":%.6f,\"backwards\":%ld,", sent, spent, run.backwards);
    if (run.timed && items == 1)
        printf("\"behind\":%d,", behind(WATCHERS) + behind(AWAY));
    if (stage == 2)
        printf("\"stale\":%ld,\"back\":%.6f,", back.stale, back.late);
    if (run.timed)
        latency_print(groups[WATCHERS].count, items);
    answer(started);
}

static void do_ping(void)
{
    double started = pool_now(), every = number_of("every", 0.002), due = started, deadline;
    unsigned sent = 0;

    begin();
    pings_start(numbered);
    for (int asked = 0; !asked && groups[SENDERS].ready > 0;) {
        double wait = due - pool_now();
        asked = pool_turn(wait > 0 ? wait : 0);
        for (; pool_now() >= due; due += every, sent++) {
            pings_due(due);
            say(&groups[SENDERS].members[sent % groups[SENDERS].count], 0, 0);
        }
    }
    deadline = pool_now() + number_of("timeout", 5);
    while (run.replies < sent && pool_now() < deadline)
        pool_turn(0.01);
    printf("{\"sent\":%u,", sent);
    if (run.replies == sent)
        pings_print();
    pings_end();
    answer(started);
}

static void do_command(char *line)
{
    const char *command = words_split(line);

    if (strcmp(command, "open") == 0) {
        do_open();
    } else if (strcmp(command, "broadcast") == 0) {
        do_broadcast();
    } else if (strcmp(command, "closed") == 0) {
        do_closed();
    } else if (strcmp(command, "rate") == 0) {
        do_rate();
    } else if (strcmp(command, "rest") == 0) {
        double started = pool_now();
        rest(number_of("seconds", 0));
        printf("{");
        answer(started);
    } else if (strcmp(command, "ping") == 0) {
        do_ping();
    } else if (strcmp(command, "pause") == 0) {
        double started = pool_now();
        begin();
        pool_listen(group_named(), 0);
        printf("{");
        answer(started);
    } else {
        double started = pool_now();
        begin();
        pool_close(group_named());
        printf("{");
        answer(started);
    }
}

int main(int count, char **arguments)
{
    static char line[LINE];
    size_t held = 0;

    if (count != 3)
        return 2;
    pool_heard = heard;
    pool_start(arguments[1], atoi(arguments[2]));
    for (;;) {
        char *end;
        ssize_t got;
        if (!pool_turn(1)) /* Between commands too, so that nothing piles up. */
            continue;
        got = read(STDIN_FILENO, line + held, sizeof line - held);
        if (got <= 0)
            return 0;
        held += got;
        while ((end = memchr(line, '\n', held)) != NULL) {
            *end++ = 0;
            do_command(line);
            held -= end - line;
            memmove(line, end, held);
        }
    }
}

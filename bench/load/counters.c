/* What the running command has received.
 *
 * Owns the classification of messages into updates, replies and errors, by how they begin.
 */
#include "counters.h"

#include <stdio.h>
#include <string.h>

#include "command_line.h"
#include "latency.h"
#include "ping_latency.h"

enum { MAX_PREFIX = 512 };

struct counters counters;
struct catch_up catch_up;

static int starts_with(const char *text, size_t length, const char *prefix, size_t prefix_length)
{
    return prefix && length >= prefix_length && memcmp(text, prefix, prefix_length) == 0;
}

/* Takes the version of an update, which must be higher than the one before. */
static uint64_t take_version(struct connection *connection, const char *text, size_t length)
{
    uint64_t version = message_field(text, length, "\"version\":");

    counters.regressions += version <= connection->version;
    connection->version = version;
    return version;
}

static void on_returning_update(struct connection *connection, const char *text, size_t length)
{
    uint64_t version = take_version(connection, text, length);

    if (catch_up.resumed == 0 || catch_up.seconds >= 0)
        return;
    if (version >= catch_up.wanted)
        catch_up.seconds = pool_now() - catch_up.resumed;
    else
        catch_up.outdated++;
}

static void on_update(struct connection *watcher, const char *text, size_t length)
{
    counters.updates++;
    counters.bytes += length;
    watcher->updates++;
    counters.complete += watcher->updates == counters.expected;
    counters.duplicates += watcher->updates > counters.expected;
    if (counters.timed)
        latency_update(pool_now(), watcher->index, take_version(watcher, text, length));
}

static void on_reply(struct connection *sender, const char *text, size_t length)
{
    uint64_t number = message_field(text, length, "\"ref\":");

    counters.replies++;
    sender->in_flight--;
    if (counters.timed) {
        uint64_t version = message_field(text, length, "\"version\":");
        counters.newest = version > counters.newest ? version : counters.newest;
        latency_reply(number, version);
    }
    ping_latency_reply(number, pool_now());
}

void counters_message(struct connection *connection, const char *text, size_t length)
{
    static const char error[] = "{\"type\":\"error\"";

    if (connection->group == WATCHERS && starts_with(text, length, counters.update, counters.update_length))
        on_update(connection, text, length);
    else if (connection->group == RETURNING && starts_with(text, length, counters.update, counters.update_length))
        on_returning_update(connection, text, length);
    else if (connection->group == SENDERS && starts_with(text, length, counters.reply, counters.reply_length))
        on_reply(connection, text, length);
    else if (starts_with(text, length, error, sizeof error - 1))
        counters.errors++;
}

/* Copies an argument, which must outlive its command: "collect" counts on. Returns NULL when it is missing. */
static const char *keep(char *copy, const char *key)
{
    const char *text = argument(key);

    if (text)
        snprintf(copy, MAX_PREFIX, "%s", text);
    return text ? copy : NULL;
}

void counters_reset(void)
{
    static char update[MAX_PREFIX], reply[MAX_PREFIX];

    memset(&counters, 0, sizeof counters);
    memset(&catch_up, 0, sizeof catch_up);
    catch_up.seconds = -1;
    counters.update = keep(update, "update");
    counters.reply = keep(reply, "reply");
    counters.update_length = counters.update ? strlen(counters.update) : 0;
    counters.reply_length = counters.reply ? strlen(counters.reply) : 0;
    for (int group = 0; group < GROUPS; group++)
        for (int i = 0; i < groups[group].count; i++)
            groups[group].members[i].updates = groups[group].members[i].in_flight = 0;
}

void counters_print(void)
{
    printf("\"updates\":%ld,\"bytes\":%ld,\"replies\":%ld,\"errors\":%ld,\"duplicates\":%ld,\"lost\":%d}\n",
           counters.updates, counters.bytes, counters.replies, counters.errors, counters.duplicates,
           groups[WATCHERS].lost + groups[SENDERS].lost + groups[RETURNING].lost);
    fflush(stdout);
}

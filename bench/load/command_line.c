/* The arguments of a command, and fields of messages. */
#define _GNU_SOURCE
#include "command_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 32 };

static char *words[MAX_WORDS];
static int word_count;

const char *command_parse(char *line)
{
    char *rest = line;

    word_count = 0;
    while (word_count < MAX_WORDS && (words[word_count] = strsep(&rest, "\t")) != NULL)
        word_count++;
    return words[0];
}

const char *argument(const char *key)
{
    size_t length = strlen(key);

    for (int i = 1; i < word_count; i++)
        if (strncmp(words[i], key, length) == 0 && words[i][length] == '=')
            return words[i] + length + 1;
    return NULL;
}

double number_argument(const char *key, double otherwise)
{
    const char *text = argument(key);

    return text ? atof(text) : otherwise;
}

uint64_t message_field(const char *text, size_t length, const char *name)
{
    const char *at = memmem(text, length, name, strlen(name));

    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

char **read_lines(const char *path, int *count)
{
    FILE *file = fopen(path, "r");
    char **lines = NULL, *line = NULL;
    size_t capacity = 0;
    ssize_t length;

    *count = 0;
    while (file && (length = getline(&line, &capacity, file)) > 0) {
        line[strcspn(line, "\n")] = 0;
        lines = realloc(lines, (*count + 1) * sizeof *lines);
        lines[(*count)++] = strdup(line);
    }
    if (file)
        fclose(file);
    free(line);
    return lines;
}

/* The words of a command, and the few things that are read out of messages. */
#define _GNU_SOURCE
#include "words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 32 };

static char *words[WORDS];
static int word_count;

const char *words_split(char *line)
{
    char *left = line;

    word_count = 0;
    while (word_count < WORDS && (words[word_count] = strsep(&left, "\t")) != NULL)
        word_count++;
    return words[0];
}

const char *text_of(const char *key)
{
    size_t length = strlen(key);

    for (int i = 1; i < word_count; i++)
        if (strncmp(words[i], key, length) == 0 && words[i][length] == '=')
            return words[i] + length + 1;
    return NULL;
}

double number_of(const char *key, double otherwise)
{
    const char *text = text_of(key);

    return text ? atof(text) : otherwise;
}

uint64_t field_of(const char *text, size_t length, const char *name)
{
    const char *at = memmem(text, length, name, strlen(name));

    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

char **lines_of(const char *path, int *count)
{
    FILE *file = fopen(path, "r");
    char **lines = NULL, *line = NULL;
    size_t room = 0;
    ssize_t length;

    *count = 0;
    while (file && (length = getline(&line, &room, file)) > 0) {
        line[strcspn(line, "\n")] = 0;
        lines = realloc(lines, (*count + 1) * sizeof *lines);
        lines[(*count)++] = strdup(line);
    }
    if (file)
        fclose(file);
    free(line);
    return lines;
}

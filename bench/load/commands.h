/* The commands of the load generator; main.c describes them. */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

/* Each runs with the arguments of the current command line and prints its own members of the response. */
void command_connect(void);
void command_disconnect(void);
void command_pause(void);
void command_collect(void);
void command_broadcast(void);
void command_closed_loop(void);
void command_open_loop(void);
void command_ping(void);

#endif

/*
 * Runs a program and writes what it cost to a file: {"wallMs","cpuMs","peakRssKiB","status"}.
 *
 *   gcc -O2 -o measure measure.c
 *   measure RESULT.json PROGRAM [ARGUMENT...]
 *
 * CPU and peak are of the program and of those of its descendants that were waited for (getrusage(2)); servers that it
 * finds running, or detaches, are not among them. Status is the exit status, 128 + the number for a signal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double ms_of(struct timeval time) { return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3; }

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  double started_ms = now_ms();
  pid_t child = fork();
  if (child == 0) {
    execvp(arguments[2], arguments + 2);
    perror(arguments[2]);
    _exit(127);
  }
  int status;
  struct rusage used;
  if (child < 0 || wait4(child, &status, 0, &used) != child) {
    perror("measure");
    return 1;
  }
  double wall_ms = now_ms() - started_ms;
  FILE *result = fopen(arguments[1], "w");
  if (result == NULL) {
    perror(arguments[1]);
    return 1;
  }
  fprintf(result, "{\"wallMs\":%.3f,\"cpuMs\":%.3f,\"peakRssKiB\":%ld,\"status\":%d}\n", wall_ms,
          ms_of(used.ru_utime) + ms_of(used.ru_stime), used.ru_maxrss,
          WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  return fclose(result) == 0 ? 0 : 1;
}

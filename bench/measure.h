/* Clocks, the line of JSON that every program of the bench prints, and
 * statistics of a list of samples. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define WARM_UP_SECONDS 0.3

static inline double now_seconds(void) {
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* Of all threads. */
static inline double cpu_seconds(void) {
  struct rusage use;

  getrusage(RUSAGE_SELF, &use);
  return (double) (use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         (double) (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static inline void report(uint64_t operations, double seconds, double cpu) {
  printf("{\"ops\":%llu,\"seconds\":%.6f,\"cpu\":%.6f}\n",
         (unsigned long long) operations, seconds, cpu);
}

static inline _Noreturn void die(const char* where, const char* why) {
  fprintf(stderr, "bench: %s: %s\n", where, why);
  exit(1);
}

static inline int compare_doubles(const void* a, const void* b) {
  double x = *(const double*) a;
  double y = *(const double*) b;

  return (x > y) - (x < y);
}

/* The `share` quantile; sorts the samples. */
static inline double quantile(double* samples, size_t count, double share) {
  size_t index = (size_t) (share * (double) count);

  if (count == 0)
    return 0;
  qsort(samples, count, sizeof(*samples), compare_doubles);
  return samples[index < count ? index : count - 1];
}

#endif

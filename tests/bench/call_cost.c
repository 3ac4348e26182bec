// SPDX-License-Identifier: GPL-2.0-only
// What a system call costs the program that makes it.
//
//   call_cost connect ADDRESS PORT COUNT   TCP connect() to a server that closes at once
//   call_cost call COUNT                   getppid(), which nothing captures; in hundreds
//
// Prints {"p50_us": …, "p99_us": …}.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kCallsOfOneTime = 100 };

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double time_connect(const struct sockaddr_in* address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const double began = now_us();
  const int done = connect(fd, (const struct sockaddr*)address, sizeof *address);
  const double took = now_us() - began;
  if (done != 0) {
    perror("connect");
    exit(1);
  }
  const struct linger reset = {.l_onoff = 1, .l_linger = 0};  // leaves no port behind
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
  return took;
}

static double time_call(void) {
  const double began = now_us();
  for (int i = 0; i < kCallsOfOneTime; i++) syscall(SYS_getppid);
  return (now_us() - began) / (double)kCallsOfOneTime;
}

static int by_size(const void* a, const void* b) {
  const double x = *(const double*)a;
  const double y = *(const double*)b;
  return (x > y) - (x < y);
}

int main(int count, char** words) {
  const int connects = count == 5 && strcmp(words[1], "connect") == 0;
  if (!connects && !(count == 3 && strcmp(words[1], "call") == 0)) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (connects) {
    inet_pton(AF_INET, words[2], &address.sin_addr);
    address.sin_port = htons((uint16_t)atoi(words[3]));
  }
  const size_t times = (size_t)atoi(words[count - 1]);
  double* took = calloc(times, sizeof *took);
  for (size_t i = 0; i < times; i++) took[i] = connects ? time_connect(&address) : time_call();
  qsort(took, times, sizeof *took, by_size);
  printf("{\"p50_us\": %.3f, \"p99_us\": %.3f}\n", took[times / 2], took[times * 99 / 100]);
  return 0;
}

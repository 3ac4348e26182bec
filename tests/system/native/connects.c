// SPDX-License-Identifier: GPL-2.0-only
// Programs that are hard on whoever answers their connect(): signals that come all the time,
// sockets that are closed or handed to another program at once. It is built static, and dynamically
// linked.
//
//   connects storm-blocking|storm-nonblocking|storm-refused COUNT ADDRESS PORT
//                                 a signal during each; what was said that should not have been
//   connects send-timeout ADDRESS PORT
//                                 SO_SNDTIMEO of a second, and a signal after 0.3
//   connects lingering ADDRESS PORT
//                                 a thread connects sockets that the main one closes, which linger
//   connects leave udp|tcp|exec ADDRESS PORT
//                                 a datagram or a connection, and ends or executes at once
//   connects forks COUNT ADDRESS PORT
//                                 a connection of each of so many processes
//
// Prints "ok", or what was wrong, with exit code 1.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "common.h"

enum { kSignalWithinUs = 400, kErrnos = 200, kRounds = 8, kLingerS = 8, kSlowUs = 2 * 1000 * 1000 };

static struct target target;

static void on_signal(int number) { (void)number; }

/// SIGALRM after `us` microseconds, once: a slow machine gets on, too. Calls go on by themselves
/// (SA_RESTART).
static void start_timer(int us) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval timer = {.it_value = {.tv_usec = us}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

static int open_stream(int flags) {
  return socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

static int connect_to_target(int fd) {
  const int done = connect(fd, (const struct sockaddr*)&target.address, target.length);
  return done == 0 ? 0 : errno;
}

static void reset(int fd) {
  const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
}

static int report(const int* said) {
  bool good = true;
  for (int i = 0; i < kErrnos; i++) {
    if (said[i] == 0) continue;
    printf("%s%d times %s", good ? "" : ", ", said[i], i == 0 ? "success" : strerror(i));
    good = false;
  }
  puts(good ? "ok" : "");
  return good ? 0 : 1;
}

/// SO_ERROR once the socket is writable.
static int await_outcome(int fd) {
  struct pollfd entry = {.fd = fd, .events = POLLOUT};
  while (poll(&entry, 1, 10000) < 0) {
  }
  int error = -1;
  socklen_t size = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

static int storm(bool blocking, int expected, int count) {
  int said[kErrnos] = {0};
  for (int i = 0; i < count; i++) {
    const int fd = open_stream(blocking ? 0 : SOCK_NONBLOCK);
    start_timer(1 + i * 7 % kSignalWithinUs);
    int error = connect_to_target(fd);
    if (!blocking && error == EINPROGRESS) error = await_outcome(fd);
    if (error != expected) said[error % kErrnos]++;
    reset(fd);
  }
  return report(said);
}

static int send_timeout(void) {
  const int fd = open_stream(0);
  const struct timeval second = {.tv_sec = 1};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
  start_timer(300 * 1000);
  const uint64_t started = now_us();
  const int error = connect_to_target(fd);
  printf("%d %u\n", error, (unsigned)((now_us() - started) / 1000));
  return 0;
}

static _Atomic int shared = -1;

static void* connect_again_and_again(void* unused) {
  (void)unused;
  for (;;) {
    const int fd = shared;
    if (fd >= 0) connect_to_target(fd);
  }
  return NULL;
}

static _Atomic unsigned slowest_us;

static void* connect_others(void* unused) {
  (void)unused;
  for (;;) {
    const uint64_t started = now_us();
    const int fd = open_stream(0);
    connect_to_target(fd);
    const unsigned took = (unsigned)(now_us() - started);
    if (took > slowest_us) slowest_us = took;
    reset(fd);
    usleep(10 * 1000);
  }
  return NULL;
}

/// Connected, with more to send than the other side takes.
static int open_full(void) {
  const int fd = open_stream(0);
  const struct linger lingers = {.l_onoff = 1, .l_linger = kLingerS};
  const int error = connect_to_target(fd);
  if (error != 0) die("connect: %s", strerror(error));
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &lingers, sizeof lingers);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  static char zeros[65536];
  struct pollfd entry = {.fd = fd, .events = POLLOUT};
  while (poll(&entry, 1, 250) > 0) send(fd, zeros, sizeof zeros, MSG_NOSIGNAL);
  return fd;
}

static void* close_it(void* fd) {
  close(*(int*)fd);
  return NULL;
}

/// Whoever closes such a socket last waits for its peer: not for that may others wait.
static int lingering(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, connect_again_and_again, NULL);
  pthread_create(&thread, NULL, connect_others, NULL);
  for (int round = 0; round < kRounds && slowest_us < kSlowUs; round++) {
    static int fds[kRounds];
    fds[round] = open_full();
    shared = fds[round];
    usleep((unsigned)(round * 37 % 200));
    shared = -1;
    pthread_create(&thread, NULL, close_it, &fds[round]);  // may linger
  }
  usleep(kSlowUs);  // for as long as one may be kept waiting
  if (slowest_us < kSlowUs)
    puts("ok");
  else
    printf("another connect() took %u ms\n", slowest_us / 1000);
  fflush(stdout);
  _exit(slowest_us < kSlowUs ? 0 : 1);
}

static int leave(const char* how) {
  if (strcmp(how, "udp") == 0) {
    const int fd = socket(target.address.ss_family, SOCK_DGRAM, 0);
    sendto(fd, "x", 1, 0, (const struct sockaddr*)&target.address, target.length);
    _exit(0);
  }
  const int fd = socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  connect_to_target(fd);
  if (strcmp(how, "exec") == 0) execl("/bin/sleep", "sleep", "0.05", (char*)NULL);
  _exit(0);
}

static int forks(int count) {
  int said[kErrnos] = {0};
  for (int i = 0; i < count; i++) {
    const pid_t child = fork();
    if (child == 0) _exit(connect_to_target(open_stream(0)));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WEXITSTATUS(status) != 0) said[WEXITSTATUS(status) % kErrnos]++;
  }
  return report(said);
}

int main(int count, char** words) {
  if (count < 4) die("usage: see the head of the source");
  const char* row = words[1];
  target = parse_target(words[count - 2], atoi(words[count - 1]), false);
  const int times = count > 4 ? atoi(words[2]) : 0;
  if (strcmp(row, "storm-blocking") == 0) return storm(true, 0, times);
  if (strcmp(row, "storm-nonblocking") == 0) return storm(false, 0, times);
  if (strcmp(row, "storm-refused") == 0) return storm(false, ECONNREFUSED, times);
  if (strcmp(row, "send-timeout") == 0) return send_timeout();
  if (strcmp(row, "lingering") == 0) return lingering();
  if (strcmp(row, "leave") == 0) return leave(words[2]);
  if (strcmp(row, "forks") == 0) return forks(times);
  die("no such row: %s", row);
}

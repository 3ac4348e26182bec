// SPDX-License-Identifier: GPL-2.0-only
// Rows of calls.c: what programs do with UDP sockets beside sending and receiving, all of it with
// the first address.
#pragma once

#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int connected_udp(void) {
  const int fd = open_socket(SOCK_DGRAM);
  return connect_first(fd) == 0 && ask(fd) ? fd : -1;
}

/// Disconnected, it gives up its port, and takes another one when it sends.
static bool udp_unspec(void) {
  const int fd = connected_udp();
  const struct sockaddr none = {.sa_family = AF_UNSPEC};
  if (fd < 0 || connect(fd, &none, sizeof none) != 0) return failed("disconnect", errno);
  if (write(fd, "question", 8) != -1 || errno != EDESTADDRREQ) return failed("write", errno);
  if (sendto(fd, "question", 8, 0, (struct sockaddr*)&targets[0].address, targets[0].length) != 8)
    return failed("sendto", errno);
  struct sockaddr_storage source;
  memset(&source, 0, sizeof source);
  socklen_t length = sizeof source;
  char answer[16];
  if (recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr*)&source, &length) != 8)
    return failed("recvfrom", errno);
  if (!same_address(&source, &targets[0].address)) return failed("the source", EADDRNOTAVAIL);
  return connect_first(fd) == 0 && ask(fd) && close(fd) == 0;
}

struct reader {
  int fd;
  int result, error;
  socklen_t length;
  pid_t thread;
};

static void* read_once(void* of) {
  struct reader* reader = of;
  struct sockaddr_storage source;
  char answer[16];
  reader->length = sizeof source;
  __atomic_store_n(&reader->thread, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
  reader->result = (int)recvfrom(reader->fd, answer, sizeof answer, 0, (struct sockaddr*)&source,
                                 &reader->length);
  reader->error = errno;
  return NULL;
}

static bool is_receiving(const struct reader* reader) {
  const pid_t thread = __atomic_load_n(&reader->thread, __ATOMIC_ACQUIRE);
  char path[64], text[32] = "";
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)thread);
  const int file = thread == 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  return got > 0 && atoi(text) == SYS_recvfrom;
}

static bool start_reader(pthread_t* thread, struct reader* reader) {
  pthread_create(thread, NULL, read_once, reader);
  const uint64_t end = now_us() + (uint64_t)kWaitS * 1000000;
  while (!is_receiving(reader)) {
    if (now_us() > end) return failed("wait for the reader", ETIMEDOUT);
    usleep(1000);
  }
  return true;
}

/// The usual way to stop a thread that reads.
static bool udp_shutdown(void) {
  const int fd = connected_udp();
  if (fd < 0) return false;
  struct reader reader = {.fd = fd}, after = {.fd = fd};
  pthread_t thread;
  const uint64_t start = now_us();
  if (!start_reader(&thread, &reader)) return false;
  if (shutdown(fd, SHUT_RDWR) != 0) return failed("shutdown", errno);
  pthread_join(thread, NULL);
  if (reader.result != 0 || reader.length != 0) return failed("recvfrom", reader.error);
  read_once(&after);
  if (after.result != 0 || after.length != 0) return failed("recvfrom afterwards", after.error);
  if (now_us() - start > (uint64_t)kWaitS * 500000) return failed("time", ETIMEDOUT);
  return close(fd) == 0;
}

/// Each of several threads on one socket gets one answer.
static bool udp_threads(void) {
  enum { kThreads = 8 };
  const int fd = connected_udp();
  struct reader readers[kThreads];
  pthread_t threads[kThreads];
  if (fd < 0) return false;
  for (int i = 0; i < kThreads; i++) {
    readers[i] = (struct reader){.fd = fd};
    if (!start_reader(&threads[i], &readers[i])) return false;
  }
  for (int i = 0; i < kThreads; i++)
    if (write(fd, "question", 8) != 8) return failed("write", errno);
  for (int i = 0; i < kThreads; i++) {
    pthread_join(threads[i], NULL);
    if (readers[i].result != 8) return failed("recvfrom", readers[i].error);
  }
  return close(fd) == 0;
}

static unsigned outer_interface(void) {
  struct if_nameindex* const all = if_nameindex();
  unsigned found = 0;
  for (struct if_nameindex* one = all; one != NULL && one->if_index != 0; one++)
    if (strcmp(one->if_name, "lo") != 0) found = one->if_index;
  if_freenameindex(all);
  return found;
}

/// A connected socket's message that names the interface to leave by, as those of QUIC do.
static bool udp_packet_info(void) {
  const int fd = connected_udp();
  const bool v4 = targets[0].address.ss_family == AF_INET;
  const struct in_pktinfo info4 = {.ipi_ifindex = (int)outer_interface()};
  const struct in6_pktinfo info6 = {.ipi6_ifindex = outer_interface()};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  } control;
  memset(&control, 0, sizeof control);
  control.header.cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  control.header.cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
  control.header.cmsg_len = CMSG_LEN(v4 ? sizeof info4 : sizeof info6);
  memcpy(CMSG_DATA(&control.header), v4 ? (const void*)&info4 : (const void*)&info6,
         v4 ? sizeof info4 : sizeof info6);
  struct iovec piece = {.iov_base = (void*)"question", .iov_len = 8};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = CMSG_SPACE(v4 ? sizeof info4 : sizeof info6)};
  char answer[16];
  if (fd < 0 || sendmsg(fd, &message, 0) != 8) return failed("sendmsg", errno);
  if (recv(fd, answer, sizeof answer, 0) != 8) return failed("recv", errno);
  message.msg_name = &targets[0].address;
  message.msg_namelen = targets[0].length;
  if (sendmsg(fd, &message, 0) != 8) return failed("sendmsg with a name", errno);
  if (recv(fd, answer, sizeof answer, 0) != 8) return failed("recv", errno);
  control.header.cmsg_len = 1;
  if (sendmsg(fd, &message, 0) != -1 || errno != EINVAL) return failed("a bad control", errno);
  return close(fd) == 0;
}

/// What the kernel says of lengths and addresses that are odd.
static bool udp_arguments(void) {
  const int fd = connected_udp();
  struct sockaddr_storage names[4];
  memset(names, 0, sizeof names);
  names[0] = targets[0].address;
  const struct sockaddr* const to = (const struct sockaddr*)names;
  if (fd < 0) return false;
  if (sendto(fd, "question", 8, 0, to, 0) != -1 || errno != EINVAL)
    return failed("a name of no length", errno);
  struct iovec piece = {.iov_base = (void*)"question", .iov_len = 8};
  struct msghdr message = {
      .msg_name = names, .msg_namelen = sizeof names, .msg_iov = &piece, .msg_iovlen = 1};
  if (sendmsg(fd, &message, 0) != 8) return failed("a long name", errno);
  message.msg_namelen = 0;
  if (sendmsg(fd, &message, 0) != 8) return failed("a message's name of no length", errno);
  char answer[16];
  piece = (struct iovec){.iov_base = answer, .iov_len = sizeof answer};
  message = (struct msghdr){.msg_namelen = 99, .msg_iov = &piece, .msg_iovlen = 1};
  if (recvmsg(fd, &message, 0) != 8 || message.msg_namelen != 99)
    return failed("a length without a name", errno);
  if (recvmsg(fd, &message, MSG_ERRQUEUE) != -1 || errno != EAGAIN)
    return failed("the queue of errors", errno);
  if (syscall(SYS_getpeername, fd, NULL, NULL) != -1 || errno != EFAULT)
    return failed("getpeername to nowhere", errno);
  const int stream = open_socket(SOCK_STREAM);
  const struct sockaddr_in other = {.sin_family = AF_INET};
  const int error = targets[0].address.ss_family == AF_INET6 ? EINVAL : ECONNREFUSED;
  if (connect(stream, (const struct sockaddr*)&other, sizeof other) != -1 || errno != error)
    return failed("another family", errno);
  return close(fd) == 0 && close(stream) == 0;
}

static volatile sig_atomic_t signals;
static void count_signal(int number) {
  (void)number;
  signals++;
}

/// Signals after which the kernel makes the same call again.
static void storm(int every_us) {
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval timer = {.it_interval = {.tv_usec = every_us},
                                  .it_value = {.tv_usec = every_us}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

/// SO_RCVTIMEO holds from the first call on, or ends with the first signal (signal(7)).
static bool udp_timeout(void) {
  const int fd = connected_udp();
  if (fd < 0) return false;
  set_deadline(fd, 1);
  struct reader reader = {.fd = fd};
  const uint64_t start = now_us();
  storm(300000);
  read_once(&reader);
  storm(0);
  const uint64_t ms = (now_us() - start) / 1000;
  if (reader.result >= 0) return failed("recvfrom", 0);
  if (reader.error == EINTR ? ms < 290 : reader.error != EAGAIN || ms < 950)
    return failed("recvfrom", reader.error);
  return ms < 1900 || failed("time in ms", (int)ms);
}

static void* ask_after_signals(void* fd) {
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &alarm, NULL);
  const uint64_t end = now_us() + (uint64_t)kWaitS * 1000000;
  while (signals < 3000 && now_us() < end) usleep(1000);
  if (write(*(const int*)fd, "question", 8) != 8) failed("write", errno);
  return NULL;
}

/// It waits while thousands of signals call it away.
static bool udp_storm(void) {
  int fd = connected_udp();
  if (fd < 0) return false;
  const struct timeval forever = {.tv_sec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
  struct reader reader = {.fd = fd};
  pthread_t thread;
  pthread_create(&thread, NULL, ask_after_signals, &fd);
  storm(100);
  read_once(&reader);
  storm(0);
  pthread_join(thread, NULL);
  if (signals < 1000) return failed("signals", EAGAIN);
  return reader.result == 8 ? close(fd) == 0 : failed("recvfrom", reader.error);
}

/// Datagrams get lost and come twice at times; signals add next to nothing to that.
static bool udp_storm_send(void) {
  enum { kMessages = 4000, kMost = kMessages / 200 };
  static unsigned char answers[kMessages];
  int lost = 0, twice = 0;
  const int fd = open_socket(SOCK_DGRAM);
  const struct timeval limit = {.tv_usec = 200000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  storm(300);
  for (int32_t i = 0; i < kMessages; i++) {
    while (sendto(fd, &i, 4, 0, (struct sockaddr*)&targets[0].address, targets[0].length) != 4)
      if (errno != EINTR) return failed("sendto", errno);
    for (bool over = false; !over;) {
      struct sockaddr_storage source;
      socklen_t length = sizeof source;
      int32_t number = -1;
      const bool got = recvfrom(fd, &number, 4, 0, (struct sockaddr*)&source, &length) == 4;
      if (!got && errno == EINTR) continue;  // SO_RCVTIMEO is set: signal(7)
      if (!got && errno != EAGAIN) return failed("recvfrom", errno);
      if (got && (number < 0 || number > i)) return failed("the answer", EILSEQ);
      if (got && answers[number]++ != 0) twice++;
      if (!got) lost++;
      over = !got || number == i;
    }
  }
  storm(0);
  if (getenv("SHOW_STORM") != NULL) fprintf(stderr, "lost %d twice %d\n", lost, twice);
  if (lost > kMost) return failed("answers that were lost", lost);
  if (twice > kMost) return failed("answers that came twice", twice);
  return close(fd) == 0;
}

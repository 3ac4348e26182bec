// SPDX-License-Identifier: GPL-2.0-only
// Sockets, and connections: shunt does what a captured program's connect() is to do, on a copy of
// its socket, and answers when that is over (capture/trapped_connects.h).
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "library.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262  // linux/in.h
#endif

static int fail(int error) {
  errno = error;
  return -1;
}

static bool is_internet_family(const struct sockaddr* address) {
  switch (address->sa_family) {
    case AF_UNSPEC:
    case AF_INET:
    case AF_INET6: return true;
    default: return false;
  }
}

static int mark_socket(int fd) {
  const struct shunt_settings* const mine = shunt_settings();
  int error = mine->broken ? EPERM : 0;
  if (error == 0 && mine->mark != 0 &&
      setsockopt(fd, SOL_SOCKET, SO_MARK, &mine->mark, sizeof mine->mark) != 0) {
    error = errno;
  }
  if (error == 0 && mine->device[0] != '\0' &&
      setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, mine->device,
                 (socklen_t)strlen(mine->device) + 1) != 0) {
    error = errno;
  }
  if (error == 0) return fd;
  close(fd);
  return fail(error);
}

/// Its connections are no TCP sockets that could be parked, nor its messages datagrams of UDP;
/// programs then take TCP.
static bool is_other_transport(int type, int protocol) {
  const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  return protocol == IPPROTO_MPTCP || protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP ||
         kind == SOCK_SEQPACKET || kind == SOCK_DCCP;
}

INTERPOSED(int, socket, int domain, int type, int protocol) {
  const struct shunt_settings* const mine = shunt_settings();
  const bool internet = domain == AF_INET || domain == AF_INET6;
  if (mine->captured && internet && is_other_transport(type, protocol)) {
    return fail(EPROTONOSUPPORT);
  }
  const int fd = next_socket(domain, type, protocol);
  return fd >= 0 && mine->marked && internet ? mark_socket(fd) : fd;
}

INTERPOSED(int, connect, int fd, const struct sockaddr* address, socklen_t size) {
  if (!shunt_settings()->captured || address == NULL || size < sizeof address->sa_family ||
      !is_internet_family(address) || shunt_internet_domain(fd) == 0) {
    return next_connect(fd, address, size);
  }
  if (size > sizeof(struct sockaddr_storage)) return fail(EINVAL);
  shunt_forget(fd);
  const struct shunt_question question = {
      .kind = SHUNT_PRELOAD_CONNECT, .socket = fd, .address = address, .size = size};
  struct shunt_preload_answer answer;
  const int error = shunt_ask(&question, &answer);
  if (error != 0) return fail(error);
  if (answer.verdict == SHUNT_PRELOAD_RUN) return next_connect(fd, address, size);
  return answer.error == 0 ? 0 : fail(answer.error);
}

/// 127.0.0.0/8 and ::1: where sockets are parked, and what stands for others.
static bool is_loopback(const struct sockaddr_storage* address) {
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in* const v4 = (const struct sockaddr_in*)address;
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  if (address->ss_family != AF_INET6) return false;
  const struct in6_addr* const v6 = &((const struct sockaddr_in6*)address)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

INTERPOSED(int, getpeername, int fd, struct sockaddr* address, socklen_t* size) {
  struct sockaddr_storage peer;
  socklen_t whole = sizeof peer;
  memset(&peer, 0, sizeof peer);
  if (!shunt_settings()->captured || address == NULL || size == NULL ||
      next_getpeername(fd, (struct sockaddr*)&peer, &whole) != 0 || !is_loopback(&peer)) {
    return next_getpeername(fd, address, size);
  }
  const struct shunt_question question = {.kind = SHUNT_PRELOAD_PEER, .socket = fd};
  struct shunt_preload_answer answer;
  // Without shunt nobody knows; the connection may last a moment still.
  const int error = shunt_ask(&question, &answer);
  if (error != 0 || answer.verdict == SHUNT_PRELOAD_RUN) {
    return next_getpeername(fd, address, size);
  }
  if (answer.error != 0) return fail(answer.error);
  if ((int32_t)*size < 0) return fail(EINVAL);
  return shunt_give_address(&answer, address, size);
}

/// Whether its connection failed: by what the kernel says of it, since its own word for a socket
/// that shunt disconnected is ECONNRESET, which it says but once.
static bool may_have_failed(int fd, int value) {
  if (value == ECONNRESET) return true;
  if (value != 0) return false;
  struct tcp_info info;
  socklen_t size = sizeof info;
  memset(&info, 0, sizeof info);
  return next_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         info.tcpi_state == TCP_CLOSE;
}

INTERPOSED(int, getsockopt, int fd, int level, int option, void* value, socklen_t* size) {
  const int done = next_getsockopt(fd, level, option, value, size);
  const bool asked = level == SOL_SOCKET && option == SO_ERROR;
  if (done != 0 || !asked || *size < sizeof(int) || !shunt_settings()->captured) return done;
  int error = 0;
  memcpy(&error, value, sizeof error);
  if (shunt_internet_domain(fd) == 0 || !may_have_failed(fd, error)) return done;
  const struct shunt_question question = {.kind = SHUNT_PRELOAD_FAILURE, .socket = fd};
  struct shunt_preload_answer answer;
  const int before = errno;
  const bool known = shunt_ask(&question, &answer) == 0 && answer.verdict == SHUNT_PRELOAD_DONE;
  errno = before;
  if (known) memcpy(value, &answer.error, sizeof answer.error);
  return done;
}

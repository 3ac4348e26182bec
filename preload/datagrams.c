// SPDX-License-Identifier: GPL-2.0-only
// Datagrams: they are sent to an address of 127.64.0.0/10 that stands for their destination
// (capture/stand_ins.h), and what comes from there is shown as coming from the destination. Shunt
// is asked once for each socket and destination in a second; the rest is the kernel's.
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "library.h"

enum {
  kSlots = 256,
  kRememberMs = 1000,
  kAtOnce = 16,          // messages of sendmmsg(2)
  kMostControl = 512,    // bytes, of a message whose destination is replaced
  kMostReceived = 1024,  // UIO_MAXIOV
  kMostTries = 10000,
};

struct remembered_way {
  uint64_t cookie;  ///< 0: none
  int64_t until_ms;
  struct sockaddr_storage destination;
  socklen_t destination_size;
  int verdict;  ///< of shunt_way_of()
  struct shunt_way way;
};

struct remembered_source {
  in_addr_t stand_in;  ///< 0: none
  struct sockaddr_storage meant;
};

static struct remembered_way ways[kSlots];
static struct remembered_source sources[kSlots];
static int busy;  // somebody reads or writes them

/// Who does not get them at once does without: they only save questions.
static bool take_memory(void) { return __atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE) == 0; }
static void leave_memory(void) { __atomic_store_n(&busy, 0, __ATOMIC_RELEASE); }

__attribute__((constructor)) static void begin(void) {
  pthread_atfork(NULL, NULL, leave_memory);  // another thread of the parent may have had them
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct remembered_way* slot_of(uint64_t cookie, const struct sockaddr* address,
                                      socklen_t size) {
  uint64_t sum = cookie * 0x9e3779b97f4a7c15u;
  for (socklen_t i = 0; i < size; ++i) sum = (sum ^ ((const uint8_t*)address)[i]) * 0x100000001b3u;
  return &ways[(sum >> 32) % kSlots];
}

static bool recall(uint64_t cookie, const struct sockaddr* address, socklen_t size,
                   struct shunt_way* way, int* verdict) {
  if (cookie == 0 || !take_memory()) return false;
  const struct remembered_way* const slot = slot_of(cookie, address, size);
  const bool known = slot->cookie == cookie && slot->destination_size == size &&
                     memcmp(&slot->destination, address, size) == 0 && now_ms() < slot->until_ms;
  if (known) {
    *way = slot->way;
    *verdict = slot->verdict;
  }
  leave_memory();
  return known;
}

static void remember(uint64_t cookie, const struct sockaddr* address, socklen_t size,
                     const struct shunt_way* way, int verdict) {
  if (cookie == 0 || !take_memory()) return;
  struct remembered_way* const slot = slot_of(cookie, address, size);
  slot->cookie = cookie;
  slot->until_ms = now_ms() + kRememberMs;
  memcpy(&slot->destination, address, size);
  slot->destination_size = size;
  slot->verdict = verdict;
  slot->way = *way;
  leave_memory();
}

void shunt_forget(int fd) {
  const uint64_t cookie = shunt_cookie(fd);
  int tries = 0;  // held for microseconds, unless it is a signal handler's own thread that has them
  while (!take_memory()) {
    if (++tries == kMostTries) return;
  }
  for (int i = 0; i < kSlots; ++i) {
    if (ways[i].cookie == cookie) ways[i].cookie = 0;
  }
  leave_memory();
}

int shunt_way_of(int fd, const struct sockaddr* address, socklen_t size, struct shunt_way* way) {
  if (size < sizeof address->sa_family || size > sizeof way->address) return 0;
  const int before = errno;
  if (shunt_internet_domain(fd) == 0 || shunt_integer_option(fd, SO_TYPE) == SOCK_STREAM) return 0;
  const uint64_t cookie = shunt_cookie(fd);
  int verdict = 0;
  if (recall(cookie, address, size, way, &verdict)) return verdict;
  const struct shunt_question question = {
      .kind = SHUNT_PRELOAD_DESTINATION, .socket = fd, .address = address, .size = size};
  struct shunt_preload_answer answer;
  int error = shunt_ask(&question, &answer);
  if (error == 0 && answer.verdict == SHUNT_PRELOAD_DONE) error = answer.error;
  if (error != 0) {
    errno = error;
    return -1;
  }
  verdict = answer.verdict == SHUNT_PRELOAD_DONE && answer.captured != 0;
  if (verdict != 0) {
    memcpy(&way->address, &answer.address, sizeof way->address);
    way->size = answer.address_size;
  }
  remember(cookie, address, size, way, verdict);
  errno = before;
  return verdict;
}

static bool is_packet_info(const struct cmsghdr* header) {
  return (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) ||
         (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO);
}

/// 127.64.0.0/10 at shunt's port: network order, or 0.
static in_addr_t stand_in_of(const struct sockaddr_storage* address) {
  in_port_t port = 0;
  struct in_addr v4 = {0};
  if (address->ss_family == AF_INET) {
    port = ((const struct sockaddr_in*)address)->sin_port;
    v4 = ((const struct sockaddr_in*)address)->sin_addr;
  } else if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6* const v6 = (const struct sockaddr_in6*)address;
    if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) return 0;
    port = v6->sin6_port;
    memcpy(&v4, v6->sin6_addr.s6_addr + 12, sizeof v4);
  }
  const bool ours = port == htons(shunt_settings()->port) && ntohl(v4.s_addr) >> 22 == 0x7f40 >> 6;
  return ours ? v4.s_addr : 0;
}

/// What names a local address or interface means the way to the destination, not the one to what
/// stands for it. Yields 0 or the errno.
static int copy_control(struct msghdr* message, char* into) {
  size_t size = 0;
  if (message->msg_control == NULL || message->msg_controllen == 0) return 0;
  for (struct cmsghdr* header = CMSG_FIRSTHDR(message); header != NULL;
       header = CMSG_NXTHDR(message, header)) {
    const char* const end = (const char*)message->msg_control + message->msg_controllen;
    if (header->cmsg_len < sizeof *header || header->cmsg_len > (size_t)(end - (char*)header)) {
      return EINVAL;
    }
    const size_t whole = CMSG_ALIGN(header->cmsg_len);
    if (is_packet_info(header)) continue;
    if (whole > kMostControl - size) return ENOBUFS;
    memcpy(into + size, header, header->cmsg_len);
    size += whole;
  }
  message->msg_control = size == 0 ? NULL : into;
  message->msg_controllen = size;
  return 0;
}

struct outgoing {
  struct shunt_way way;
  _Alignas(struct cmsghdr) char control[kMostControl];
};

static bool has_packet_info(struct msghdr* message) {
  if (message->msg_control == NULL) return false;
  for (struct cmsghdr* header = CMSG_FIRSTHDR(message); header != NULL;
       header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_len < sizeof *header) return false;  // which the kernel refuses
    if (is_packet_info(header)) return true;
  }
  return false;
}

static bool is_at_stand_in(int fd) {
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  const int before = errno;
  memset(&peer, 0, sizeof peer);
  const bool connected = next_getpeername(fd, (struct sockaddr*)&peer, &size) == 0;
  errno = before;
  return connected && stand_in_of(&peer) != 0;
}

/// `message` is a copy of the program's. Yields 0, or -1 with errno.
static int direct(int fd, struct msghdr* message, struct outgoing* to) {
  if (message->msg_name == NULL || message->msg_namelen == 0) {
    if (!has_packet_info(message) || !is_at_stand_in(fd)) return 0;
  } else {
    // The kernel looks at no more of it.
    if (message->msg_namelen > sizeof to->way.address && (int32_t)message->msg_namelen > 0) {
      message->msg_namelen = sizeof to->way.address;
    }
    const int verdict = shunt_way_of(fd, message->msg_name, message->msg_namelen, &to->way);
    if (verdict <= 0) return verdict;
    message->msg_name = &to->way.address;
    message->msg_namelen = to->way.size;
  }
  const int error = copy_control(message, to->control);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

/// connect(2) by another name, which would go past shunt.
static bool is_fast_open(int fd, int flags) {
  return (flags & MSG_FASTOPEN) != 0 && shunt_internet_domain(fd) != 0 &&
         shunt_integer_option(fd, SO_TYPE) == SOCK_STREAM;
}

typedef ssize_t (*sendto_function)(int, const void*, size_t, int, const struct sockaddr*,
                                   socklen_t);
typedef int (*sendmmsg_function)(int, struct mmsghdr*, unsigned, int);
typedef ssize_t (*recvfrom_function)(int, void*, size_t, int, struct sockaddr*, socklen_t*);
typedef int (*recvmmsg_function)(int, struct mmsghdr*, unsigned, int, struct timespec*);

INTERPOSED(ssize_t, sendto, int fd, const void* data, size_t size, int flags,
           const struct sockaddr* address, socklen_t address_size) {
  const sendto_function next = NEXT(sendto_function, sendto);
  if (!shunt_settings()->captured) return next(fd, data, size, flags, address, address_size);
  if (is_fast_open(fd, flags)) {
    errno = EOPNOTSUPP;
    return -1;
  }
  struct shunt_way way;
  const int verdict = address == NULL ? 0 : shunt_way_of(fd, address, address_size, &way);
  if (verdict < 0) return -1;
  if (verdict == 0) return next(fd, data, size, flags, address, address_size);
  return next(fd, data, size, flags, (const struct sockaddr*)&way.address, way.size);
}

INTERPOSED(ssize_t, sendmsg, int fd, const struct msghdr* message, int flags) {
  if (!shunt_settings()->captured || message == NULL) return next_sendmsg(fd, message, flags);
  if (is_fast_open(fd, flags)) {
    errno = EOPNOTSUPP;
    return -1;
  }
  struct msghdr copy = *message;
  struct outgoing to;
  return direct(fd, &copy, &to) == 0 ? next_sendmsg(fd, &copy, flags) : -1;
}

/// Of some messages. Yields how many were sent; `error` says why no more.
static int send_some(int fd, struct mmsghdr* messages, unsigned count, int flags, int* error) {
  struct mmsghdr copies[kAtOnce];
  struct outgoing to[kAtOnce];
  unsigned ready = 0;
  *error = 0;
  for (; ready < count; ++ready) {
    copies[ready] = messages[ready];
    if (direct(fd, &copies[ready].msg_hdr, &to[ready]) == 0) continue;
    *error = errno;
    break;
  }
  if (ready == 0) return 0;
  const int sent = NEXT(sendmmsg_function, sendmmsg)(fd, copies, ready, flags);
  if (sent < 0) *error = errno;
  for (int i = 0; i < sent; ++i) messages[i].msg_len = copies[i].msg_len;
  return sent < 0 ? 0 : sent;
}

INTERPOSED(int, sendmmsg, int fd, struct mmsghdr* messages, unsigned count, int flags) {
  if (!shunt_settings()->captured || messages == NULL) {
    return NEXT(sendmmsg_function, sendmmsg)(fd, messages, count, flags);
  }
  if (is_fast_open(fd, flags)) {
    errno = EOPNOTSUPP;
    return -1;
  }
  unsigned done = 0;
  while (done < count) {
    const unsigned some = count - done < kAtOnce ? count - done : kAtOnce;
    int error = 0;
    const int sent = send_some(fd, messages + done, some, flags, &error);
    done += (unsigned)sent;
    if ((unsigned)sent == some) continue;
    if (done == 0 && error != 0) {
      errno = error;
      return -1;
    }
    break;
  }
  return (int)done;
}

static bool recall_source(in_addr_t stand_in, struct sockaddr_storage* meant) {
  if (!take_memory()) return false;
  const struct remembered_source* const slot = &sources[ntohl(stand_in) % kSlots];
  const bool known = slot->stand_in == stand_in;
  if (known) *meant = slot->meant;
  leave_memory();
  return known;
}

static void remember_source(in_addr_t stand_in, const struct sockaddr_storage* meant) {
  if (!take_memory()) return;
  struct remembered_source* const slot = &sources[ntohl(stand_in) % kSlots];
  slot->stand_in = stand_in;
  slot->meant = *meant;
  leave_memory();
}

/// As a sockaddr_in6 for a socket of IPv6.
static void put_meant(const struct sockaddr_storage* meant, struct sockaddr_storage* address) {
  if (address->ss_family == meant->ss_family) {
    const size_t size =
        meant->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    memcpy(address, meant, size);
    return;
  }
  if (address->ss_family != AF_INET6) return;
  const struct sockaddr_in* const v4 = (const struct sockaddr_in*)meant;
  struct sockaddr_in6* const v6 = (struct sockaddr_in6*)address;
  v6->sin6_port = v4->sin_port;  // ::ffff:127.64.x.y becomes ::ffff:a.b.c.d
  memcpy(v6->sin6_addr.s6_addr + 12, &v4->sin_addr, sizeof v4->sin_addr);
}

void shunt_show_source(void* address, socklen_t room, socklen_t* size) {
  struct sockaddr_storage shown;
  struct sockaddr_storage meant;
  const int before = errno;
  memset(&shown, 0, sizeof shown);
  const socklen_t got = *size < room ? *size : room;
  if (address == NULL || got < sizeof(sa_family_t) || got > sizeof shown) return;
  memcpy(&shown, address, got);
  const in_addr_t stand_in = stand_in_of(&shown);
  if (stand_in == 0) return;
  if (!recall_source(stand_in, &meant)) {
    const struct shunt_question question = {.kind = SHUNT_PRELOAD_MEANT,
                                            .socket = -1,
                                            .address = (const struct sockaddr*)&shown,
                                            .size = got};
    struct shunt_preload_answer answer;
    const bool known = shunt_ask(&question, &answer) == 0 && answer.verdict == SHUNT_PRELOAD_DONE;
    errno = before;
    if (!known || answer.error != 0) return;
    meant = answer.address;
    remember_source(stand_in, &meant);
  }
  put_meant(&meant, &shown);
  memcpy(address, &shown, got);
}

INTERPOSED(ssize_t, recvfrom, int fd, void* data, size_t size, int flags, struct sockaddr* address,
           socklen_t* address_size) {
  const recvfrom_function next = NEXT(recvfrom_function, recvfrom);
  const socklen_t room = address == NULL || address_size == NULL ? 0 : *address_size;
  const ssize_t got = next(fd, data, size, flags, address, address_size);
  if (got < 0 || room == 0 || !shunt_settings()->captured) return got;
  shunt_show_source(address, room, address_size);
  return got;
}

/// recvfrom() of programs that were built with _FORTIFY_SOURCE.
INTERPOSED(ssize_t, __recvfrom_chk, int fd, void* data, size_t size, size_t room, int flags,
           struct sockaddr* address, socklen_t* address_size) {
  if (size > room) __builtin_trap();
  return shunt_recvfrom(fd, data, size, flags, address, address_size);
}

INTERPOSED(ssize_t, recvmsg, int fd, struct msghdr* message, int flags) {
  const socklen_t room = message == NULL || message->msg_name == NULL ? 0 : message->msg_namelen;
  const ssize_t got = next_recvmsg(fd, message, flags);
  if (got < 0 || room == 0 || !shunt_settings()->captured) return got;
  shunt_show_source(message->msg_name, room, &message->msg_namelen);
  return got;
}

INTERPOSED(int, recvmmsg, int fd, struct mmsghdr* messages, unsigned count, int flags,
           struct timespec* timeout) {
  const recvmmsg_function next = NEXT(recvmmsg_function, recvmmsg);
  if (!shunt_settings()->captured || messages == NULL) {
    return next(fd, messages, count, flags, timeout);
  }
  socklen_t rooms[kMostReceived];
  if (count > kMostReceived) count = kMostReceived;
  for (unsigned i = 0; i < count; ++i) rooms[i] = messages[i].msg_hdr.msg_namelen;
  const int got = next(fd, messages, count, flags, timeout);
  for (int i = 0; i < got; ++i) {
    shunt_show_source(messages[i].msg_hdr.msg_name, rooms[i], &messages[i].msg_hdr.msg_namelen);
  }
  return got;
}

// SPDX-License-Identifier: GPL-2.0-only
// What the parts of libshunt-preload.so have in common. The library keeps nothing by descriptor
// number: shunt knows sockets by their cookies (SO_COOKIE), so that dup(2), close(2), fork(2) and
// descriptors passed on need no following. Nothing is allocated and no lock is waited for, since
// most of what it stands for may be called by signal handlers and between vfork(2) and execve(2).
#pragma once

#include <dlfcn.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "preload.abi.h"

/// Defines what programs find instead of the C library's function of that name. By its assembler
/// name, since the headers declare some of them in other words.
#define INTERPOSED(result, name, ...)                                                     \
  __attribute__((visibility("default"))) result shunt_##name(__VA_ARGS__) __asm__(#name); \
  result shunt_##name(__VA_ARGS__)

/// The function of that name that the program would have found otherwise, of this type.
#define NEXT(type, name)                                                  \
  ({                                                                      \
    static void* next_##name;                                             \
    void* found_##name = __atomic_load_n(&next_##name, __ATOMIC_RELAXED); \
    if (found_##name == NULL) {                                           \
      found_##name = dlsym(RTLD_NEXT, #name);                             \
      __atomic_store_n(&next_##name, found_##name, __ATOMIC_RELAXED);     \
    }                                                                     \
    (type) found_##name;                                                  \
  })

typedef int (*address_function)(int, const struct sockaddr*, socklen_t);
typedef int (*name_function)(int, struct sockaddr*, socklen_t*);
typedef int (*option_function)(int, int, int, void*, socklen_t*);
typedef int (*socket_function)(int, int, int);
typedef ssize_t (*send_function)(int, const struct msghdr*, int);
typedef ssize_t (*receive_function)(int, struct msghdr*, int);

#define next_connect NEXT(address_function, connect)
#define next_getpeername NEXT(name_function, getpeername)
#define next_getsockopt NEXT(option_function, getsockopt)
#define next_socket NEXT(socket_function, socket)
#define next_sendmsg NEXT(send_function, sendmsg)
#define next_recvmsg NEXT(receive_function, recvmsg)

struct shunt_settings {
  bool captured;  ///< by SHUNT_PRELOAD
  bool broken;    ///< it cannot be understood: calls fail
  bool marked;    ///< by SHUNT_PRELOAD_MARK or SHUNT_PRELOAD_DEVICE
  uint32_t mark;  ///< 0: none
  uint16_t port;
  uint8_t token[SHUNT_PRELOAD_TOKEN_BYTES];
  char device[IFNAMSIZ];
  char name[SHUNT_PRELOAD_MOST_NAME + 1];
  char library[4096];      ///< its own path, "" where it is not in LD_PRELOAD
  char variables[3][256];  ///< "NAME=VALUE" of those that children are to have; "": it is not set
};
/// Read once, before the program's main().
const struct shunt_settings* shunt_settings(void);

struct shunt_question {
  enum shunt_preload_kind kind;
  int socket;  ///< -1: none
  const struct sockaddr* address;
  socklen_t size;
};
/// Asks shunt and waits. Yields 0, or the errno that the call is to fail with: ECONNREFUSED where
/// shunt is gone. CONNECT yields EINTR where a signal called the program away.
int shunt_ask(const struct shunt_question* question, struct shunt_preload_answer* answer);

/// AF_INET or AF_INET6 of an internet socket; 0: it is none. `errno` is kept.
int shunt_internet_domain(int fd);
int shunt_integer_option(int fd, int option);  ///< of SOL_SOCKET; 0 where there is none
uint64_t shunt_cookie(int fd);

/// Writes an address as getpeername(2) does.
int shunt_give_address(const struct shunt_preload_answer* answer, struct sockaddr* into,
                       socklen_t* size);

/// The destination of a datagram. Yields -1 with errno; 0: as the program said; 1: to `way`, which
/// stands for it.
struct shunt_way {
  struct sockaddr_storage address;
  socklen_t size;
};
int shunt_way_of(int fd, const struct sockaddr* address, socklen_t size, struct shunt_way* way);
/// Forgets what was remembered of a socket.
void shunt_forget(int fd);
/// Puts what an address stands for in its place, where it stands for anything. `room` are the bytes
/// there, `size` what the kernel said of the whole.
void shunt_show_source(void* address, socklen_t room, socklen_t* size);

/// The environment of a program that is executed with `environment`: the same, with the library.
enum { SHUNT_MOST_VARIABLES = 1024 };
struct shunt_environment {
  char* const* variables;
  char* own[SHUNT_MOST_VARIABLES];
  void* mapped;  ///< NULL: `own` was enough
  size_t mapped_size;
  char preload[3 * 4096];  ///< "LD_PRELOAD=…"
};
/// Yields 0 or the errno.
int shunt_prepare_environment(char* const* environment, struct shunt_environment* prepared);
void shunt_release_environment(struct shunt_environment* prepared);

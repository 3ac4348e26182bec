// SPDX-License-Identifier: GPL-2.0-only
// Lookups of names. The resolver of the C library connects and sends by calls of its own that no
// library can stand for; but it asks the name servers that the thread's state names (resolver(3)).
// Before each lookup these are replaced by addresses that stand for them, so that its questions
// come to shunt like all other datagrams.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <string.h>

#include "library.h"

typedef int (*init_function)(res_state);

/// An address where nobody answers: without shunt there are no lookups.
static struct sockaddr_in nowhere(void) {
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(shunt_settings()->port);
  address.sin_addr.s_addr = htonl(0x7f400000);  // 127.64.0.0 stands for nothing
  return address;
}

static void replace(res_state state, int index) {
  struct sockaddr_in* const v4 = &state->nsaddr_list[index];
  const struct sockaddr_in6* const v6 = state->_u._ext.nsaddrs[index];
  const bool is_v6 = v4->sin_family == 0 && v6 != NULL;
  struct shunt_question question = {.kind = SHUNT_PRELOAD_LOOKUP,
                                    .socket = -1,
                                    .address = (const struct sockaddr*)v4,
                                    .size = sizeof *v4};
  if (is_v6) {
    question.address = (const struct sockaddr*)v6;
    question.size = sizeof *v6;
  }
  struct shunt_preload_answer answer;
  if (shunt_ask(&question, &answer) != 0) {
    *v4 = nowhere();
  } else if (answer.verdict == SHUNT_PRELOAD_DONE) {
    if (answer.error == 0 && answer.address.ss_family == AF_INET) {
      memcpy(v4, &answer.address, sizeof *v4);
    } else {
      *v4 = nowhere();
    }
  }
}

static void redirect(res_state state) {
  const int error = errno;
  for (int i = 0; i < state->nscount && i < MAXNS; ++i) replace(state, i);
  errno = error;
}

/// Of the calling thread.
static void prepare(void) {
  if (!shunt_settings()->captured) return;
  res_state state = &_res;
  if ((state->options & RES_INIT) == 0) {
    const int error = errno;
    const init_function init = NEXT(init_function, __res_ninit);
    if (init == NULL || init(state) != 0) return;
    errno = error;
  }
  redirect(state);
}

INTERPOSED(int, __res_ninit, res_state state) {
  const init_function next = NEXT(init_function, __res_ninit);
  const int done = next(state);
  if (done == 0 && shunt_settings()->captured) redirect(state);
  return done;
}

INTERPOSED(int, __res_init, void) {
  const int done = NEXT(int (*)(void), __res_init)();
  if (done == 0 && shunt_settings()->captured) redirect(&_res);
  return done;
}

INTERPOSED(int, getaddrinfo, const char* node, const char* service, const struct addrinfo* hints,
           struct addrinfo** result) {
  prepare();
  return NEXT(int (*)(const char*, const char*, const struct addrinfo*, struct addrinfo**),
              getaddrinfo)(node, service, hints, result);
}

INTERPOSED(int, getnameinfo, const struct sockaddr* address, socklen_t size, char* host,
           socklen_t host_size, char* service, socklen_t service_size, int flags) {
  if ((flags & NI_NUMERICHOST) == 0) prepare();
  return NEXT(int (*)(const struct sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int),
              getnameinfo)(address, size, host, host_size, service, service_size, flags);
}

/// Its lookups run in threads of the C library's, which nobody can prepare.
INTERPOSED(int, getaddrinfo_a, int mode, struct gaicb** list, int count, struct sigevent* event) {
  if (shunt_settings()->captured) {
    errno = ENOSYS;
    return EAI_SYSTEM;
  }
  return NEXT(int (*)(int, struct gaicb**, int, struct sigevent*), getaddrinfo_a)(mode, list, count,
                                                                                  event);
}

INTERPOSED(struct hostent*, gethostbyname, const char* name) {
  prepare();
  return NEXT(struct hostent * (*)(const char*), gethostbyname)(name);
}

INTERPOSED(struct hostent*, gethostbyname2, const char* name, int family) {
  prepare();
  return NEXT(struct hostent * (*)(const char*, int), gethostbyname2)(name, family);
}

INTERPOSED(struct hostent*, gethostbyaddr, const void* address, socklen_t size, int family) {
  prepare();
  return NEXT(struct hostent * (*)(const void*, socklen_t, int), gethostbyaddr)(address, size,
                                                                                family);
}

INTERPOSED(int, gethostbyname_r, const char* name, struct hostent* into, char* buffer, size_t size,
           struct hostent** result, int* error) {
  prepare();
  return NEXT(int (*)(const char*, struct hostent*, char*, size_t, struct hostent**, int*),
              gethostbyname_r)(name, into, buffer, size, result, error);
}

INTERPOSED(int, gethostbyname2_r, const char* name, int family, struct hostent* into, char* buffer,
           size_t size, struct hostent** result, int* error) {
  prepare();
  return NEXT(int (*)(const char*, int, struct hostent*, char*, size_t, struct hostent**, int*),
              gethostbyname2_r)(name, family, into, buffer, size, result, error);
}

INTERPOSED(int, gethostbyaddr_r, const void* address, socklen_t address_size, int family,
           struct hostent* into, char* buffer, size_t size, struct hostent** result, int* error) {
  prepare();
  return NEXT(
      int (*)(const void*, socklen_t, int, struct hostent*, char*, size_t, struct hostent**, int*),
      gethostbyaddr_r)(address, address_size, family, into, buffer, size, result, error);
}

// The resolver's own functions have two names each: the headers' and, of old programs, libresolv's.
#define RESOLVER(name, parameters, arguments)          \
  INTERPOSED(int, name, parameters) {                  \
    prepare();                                         \
    return NEXT(int (*)(parameters), name)(arguments); \
  }
#define LIST(...) __VA_ARGS__

RESOLVER(res_query, LIST(const char* name, int class, int type, unsigned char* answer, int size),
         LIST(name, class, type, answer, size))
RESOLVER(__res_query, LIST(const char* name, int class, int type, unsigned char* answer, int size),
         LIST(name, class, type, answer, size))
RESOLVER(res_search, LIST(const char* name, int class, int type, unsigned char* answer, int size),
         LIST(name, class, type, answer, size))
RESOLVER(__res_search, LIST(const char* name, int class, int type, unsigned char* answer, int size),
         LIST(name, class, type, answer, size))
RESOLVER(res_send, LIST(const unsigned char* question, int length, unsigned char* answer, int size),
         LIST(question, length, answer, size))
RESOLVER(__res_send,
         LIST(const unsigned char* question, int length, unsigned char* answer, int size),
         LIST(question, length, answer, size))
RESOLVER(res_querydomain,
         LIST(const char* name, const char* domain, int class, int type, unsigned char* answer,
              int size),
         LIST(name, domain, class, type, answer, size))
RESOLVER(__res_querydomain,
         LIST(const char* name, const char* domain, int class, int type, unsigned char* answer,
              int size),
         LIST(name, domain, class, type, answer, size))

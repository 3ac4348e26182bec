// SPDX-License-Identifier: GPL-2.0-only
// What the library is told by its environment (preload.abi.h).
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "library.h"

static struct shunt_settings settings;
static int state;  // 0: not read, 1: being read, 2: read

extern char** environ;

/// As getenv(3), which some programs (bash) replace by one that answers later.
static const char* value_of(const char* name) {
  const size_t length = strlen(name);
  for (char** at = environ; at != NULL && *at != NULL; ++at) {
    if (strncmp(*at, name, length) == 0 && (*at)[length] == '=') return *at + length + 1;
  }
  return NULL;
}

static int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_number(const char* text, unsigned long most, unsigned long* value) {
  char* end = NULL;
  if (*text < '0' || *text > '9') return false;
  errno = 0;
  *value = strtoul(text, &end, 0);
  return errno == 0 && *end == '\0' && *value <= most;
}

/// The part up to the next colon, cut off; NULL: there is none.
static char* take_part(char** rest) {
  char* const part = *rest;
  if (part == NULL) return NULL;
  *rest = strchr(part, ':');
  if (*rest != NULL) *(*rest)++ = '\0';
  return part;
}

static bool parse_token(const char* text, uint8_t* into) {
  if (strlen(text) != SHUNT_PRELOAD_TOKEN_BYTES * 2) return false;
  for (size_t i = 0; i < SHUNT_PRELOAD_TOKEN_BYTES; ++i) {
    const int high = digit_of(text[2 * i]);
    const int low = digit_of(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    into[i] = (uint8_t)(high * 16 + low);
  }
  return true;
}

static bool parse_capture(const char* text) {
  char copy[256];
  if (strlen(text) >= sizeof copy) return false;
  strcpy(copy, text);
  char* rest = copy;
  const char* const version = take_part(&rest);
  const char* const name = take_part(&rest);
  const char* const token = take_part(&rest);
  const char* const port = take_part(&rest);
  unsigned long number = 0;
  if (port == NULL || rest != NULL) return false;
  if (!parse_number(version, INT_MAX, &number) || number != SHUNT_PRELOAD_VERSION) return false;
  if (*name == '\0' || strlen(name) > SHUNT_PRELOAD_MOST_NAME) return false;
  if (!parse_token(token, settings.token) || !parse_number(port, 65535, &number)) return false;
  strcpy(settings.name, name);
  settings.port = (uint16_t)number;
  return true;
}

/// "NAME=VALUE" for children; false: it is too long.
static bool keep_variable(int index, const char* name, const char* value) {
  char* const into = settings.variables[index];
  const int length = snprintf(into, sizeof settings.variables[0], "%s=%s", name, value);
  if (length > 0 && (size_t)length < sizeof settings.variables[0]) return true;
  into[0] = '\0';
  return false;
}

static void read_marks(void) {
  const char* const mark = value_of(SHUNT_PRELOAD_MARK_VARIABLE);
  const char* const device = value_of(SHUNT_PRELOAD_DEVICE_VARIABLE);
  unsigned long number = 0;
  if (mark != NULL) {
    settings.marked = true;
    settings.broken |= !parse_number(mark, UINT32_MAX, &number);
    settings.broken |= !keep_variable(1, SHUNT_PRELOAD_MARK_VARIABLE, mark);
    settings.mark = (uint32_t)number;
  }
  if (device == NULL) return;
  settings.marked = true;
  settings.broken |= !keep_variable(2, SHUNT_PRELOAD_DEVICE_VARIABLE, device);
  if (*device == '\0' || strlen(device) >= sizeof settings.device) {
    settings.broken = true;
  } else {
    strcpy(settings.device, device);
  }
}

/// The path by which the loader found this library: an element of LD_PRELOAD.
static void read_own_path(void) {
  Dl_info info;
  if (dladdr((const void*)&settings, &info) == 0 || info.dli_fname == NULL) return;
  if (info.dli_fname[0] != '/' || strlen(info.dli_fname) >= sizeof settings.library) return;
  strcpy(settings.library, info.dli_fname);
}

static void read_settings(void) {
  const char* const capture = value_of(SHUNT_PRELOAD_VARIABLE);
  if (capture != NULL) {
    settings.captured = true;
    settings.broken = !parse_capture(capture);
    settings.broken |= !keep_variable(0, SHUNT_PRELOAD_VARIABLE, capture);
  }
  read_marks();
  if (settings.captured || settings.marked) read_own_path();
  if (settings.broken) {
    static const char kSaid[] =
        "libshunt-preload.so: its environment is unknown to it: no network\n";
    if (write(STDERR_FILENO, kSaid, sizeof kSaid - 1) < 0) return;
  }
}

// Libraries that are initialized earlier may call as well. Another thread cannot be there yet.
const struct shunt_settings* shunt_settings(void) {
  if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == 0) {
    const int error = errno;
    __atomic_store_n(&state, 1, __ATOMIC_RELAXED);
    read_settings();
    __atomic_store_n(&state, 2, __ATOMIC_RELEASE);
    errno = error;
  }
  return &settings;
}

__attribute__((constructor)) static void begin(void) {
  const struct shunt_settings* const mine = shunt_settings();
  if (!mine->captured || mine->broken) return;
  const int error = errno;
  (void)next_recvmsg;  // dlsym() is not for signal handlers
  (void)next_getsockopt;
  struct shunt_preload_answer answer;
  const struct shunt_question hello = {.kind = SHUNT_PRELOAD_HELLO, .socket = -1};
  (void)shunt_ask(&hello, &answer);
  errno = error;
}

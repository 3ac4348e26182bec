// SPDX-License-Identifier: GPL-2.0-only
// The environment by which programs that are executed load the library, whatever the program that
// executes them made of its own.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "library.h"

static const char kPreload[] = "LD_PRELOAD=";

static bool has_name(const char* variable, const char* other) {
  const size_t length = strcspn(other, "=") + 1;
  return strncmp(variable, other, length) == 0;
}

/// One of ours, which is put in anew.
static bool is_ours(const char* variable) {
  if (has_name(variable, kPreload)) return true;
  const struct shunt_settings* const mine = shunt_settings();
  for (size_t i = 0; i < sizeof mine->variables / sizeof *mine->variables; ++i) {
    if (mine->variables[i][0] != '\0' && has_name(variable, mine->variables[i])) return true;
  }
  return false;
}

/// ld.so(8): elements are separated by colons or blanks.
static bool has_library(const char* list) {
  const char* const library = shunt_settings()->library;
  const size_t length = strlen(library);
  for (const char* at = list; *at != '\0';) {
    const size_t size = strcspn(at, ": ");
    if (size == length && strncmp(at, library, length) == 0) return true;
    at += size;
    at += strspn(at, ": ");
  }
  return false;
}

static int make_preload(const char* theirs, char* into, size_t room) {
  const char* const library = shunt_settings()->library;
  const bool there = has_library(theirs);
  const size_t size = sizeof kPreload + strlen(library) + 1 + strlen(theirs);
  if (size > room) return E2BIG;
  strcpy(into, kPreload);
  if (!there) strcat(into, library);
  if (!there && *theirs != '\0') strcat(into, ":");
  strcat(into, theirs);
  return 0;
}

int shunt_prepare_environment(char* const* environment, struct shunt_environment* prepared) {
  static char* const kEmpty[] = {NULL};
  if (environment == NULL) environment = kEmpty;
  size_t count = 0;
  const char* theirs = "";
  for (; environment[count] != NULL; ++count) {
    if (has_name(environment[count], kPreload)) theirs = environment[count] + sizeof kPreload - 1;
  }
  prepared->mapped = NULL;
  const int error = make_preload(theirs, prepared->preload, sizeof prepared->preload);
  if (error != 0) return error;
  char** into = prepared->own;
  if (count + 5 > SHUNT_MOST_VARIABLES) {
    prepared->mapped_size = (count + 5) * sizeof(char*);
    prepared->mapped = mmap(NULL, prepared->mapped_size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (prepared->mapped == MAP_FAILED) {
      prepared->mapped = NULL;
      return ENOMEM;
    }
    into = prepared->mapped;
  }
  prepared->variables = into;
  for (size_t i = 0; i < count; ++i) {
    if (!is_ours(environment[i])) *into++ = environment[i];
  }
  *into++ = prepared->preload;
  const struct shunt_settings* const mine = shunt_settings();
  for (size_t i = 0; i < sizeof mine->variables / sizeof *mine->variables; ++i) {
    if (mine->variables[i][0] != '\0') *into++ = (char*)mine->variables[i];
  }
  *into = NULL;
  return 0;
}

void shunt_release_environment(struct shunt_environment* prepared) {
  if (prepared->mapped != NULL) munmap(prepared->mapped, prepared->mapped_size);
}

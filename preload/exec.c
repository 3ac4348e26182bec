// SPDX-License-Identifier: GPL-2.0-only
// Programs that are executed. Each gets the library by its environment; what would not load it is
// not executed (EPERM), and stderr is told why: nothing goes round shunt in silence. All the
// functions are here, since those of the C library do not call each other by name.
#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "examine.h"
#include "library.h"

extern char** environ;

typedef int (*execve_function)(const char*, char* const*, char* const*);
typedef int (*fexecve_function)(int, char* const*, char* const*);
typedef int (*execveat_function)(int, const char*, char* const*, char* const*, int);
typedef int (*spawn_function)(pid_t*, const char*, const posix_spawn_file_actions_t*,
                              const posix_spawnattr_t*, char* const*, char* const*);

static bool concerned(void) { return shunt_settings()->captured || shunt_settings()->marked; }

static void say(const char* path, const char* what) {
  char line[4096 + 256];
  const bool captured = shunt_settings()->captured;
  const int size = snprintf(line, sizeof line, "shunt: %s %s: it is not run, since it would %s%s\n",
                            path, what, captured ? "go round shunt" : "send without its mark",
                            captured ? "; shunt run --method seccomp captures it" : "");
  const size_t length = size < (int)sizeof line ? (size_t)size : sizeof line - 1;
  if (size > 0 && write(STDERR_FILENO, line, length) < 0) return;
}

/// The path of an open file, where the kernel still knows it.
static const char* path_of(int fd, char* into, size_t room) {
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, into, room - 1);
  if (size <= 0) return "the program";
  into[size] = '\0';
  return into;
}

/// 0, or the errno; `fd` (-1: none) is the program, `path` then null.
static int check(const char* path, int fd) {
  struct shunt_finding finding;
  const char* const library = shunt_settings()->library;
  char found[SHUNT_MOST_PATH];
  if (path == NULL && fd < 0) return EFAULT;
  if (path == NULL) path = path_of(fd, found, sizeof found);
  if (library[0] == '\0' || faccessat(AT_FDCWD, library, R_OK, AT_EACCESS) != 0) {
    say(path, "cannot load " SHUNT_PRELOAD_LIBRARY);
    return EPERM;
  }
  shunt_examine(path, fd, &finding);
  if (shunt_may_run(finding.target)) return 0;
  say(finding.path, shunt_target_words(finding.target));
  return EPERM;
}

static int fail(int error) {
  errno = error;
  return -1;
}

/// execve(2), of a path.
static int execute(const char* path, char* const* arguments, char* const* environment) {
  const execve_function next = NEXT(execve_function, execve);
  if (!concerned()) return next(path, arguments, environment);
  struct shunt_environment prepared;
  int error = check(path, -1);
  if (error == 0) error = shunt_prepare_environment(environment, &prepared);
  if (error != 0) return fail(error);
  (void)next(path, arguments, prepared.variables);
  error = errno;
  shunt_release_environment(&prepared);
  return fail(error);
}

/// execvp(3): what the kernel takes for no program is the shell's.
static int execute_by_shell(const char* path, char* const* arguments, char* const* environment) {
  size_t count = 0;
  while (arguments[count] != NULL) ++count;
  if (count >= INT16_MAX) return fail(E2BIG);
  char* words[count + 3];
  words[0] = (char*)_PATH_BSHELL;
  words[1] = (char*)path;
  for (size_t i = 1; i <= count; ++i) words[i + 1] = arguments[i];
  if (count == 0) words[2] = NULL;
  return execute(_PATH_BSHELL, words, environment);
}

/// The next path of a program in `list`, which is moved on; false: there is none.
static bool next_path(const char** list, const char* program, char* into, size_t room) {
  while (*list != NULL) {
    const char* const begin = *list;
    const size_t size = strcspn(begin, ":");
    *list = begin[size] == '\0' ? NULL : begin + size + 1;
    const int length =
        snprintf(into, room, "%.*s%s%s", (int)size, begin, size == 0 ? "" : "/", program);
    if (length > 0 && (size_t)length < room) return true;
  }
  return false;
}

/// Whether another directory of PATH may have it, as glibc sees it (posix/execvpe.c).
static bool look_further(int error) {
  return error == ENOENT || error == ENOTDIR || error == EACCES || error == ESTALE ||
         error == ENODEV || error == ETIMEDOUT;
}

static const char* search_list(void) {
  const char* const path = getenv("PATH");
  return path != NULL ? path : "/bin:/usr/bin";
}

static int execute_found(const char* program, char* const* arguments, char* const* environment) {
  if (program == NULL || *program == '\0') return fail(ENOENT);
  if (strchr(program, '/') != NULL) {
    (void)execute(program, arguments, environment);
    return errno == ENOEXEC ? execute_by_shell(program, arguments, environment) : -1;
  }
  const char* list = search_list();
  char path[SHUNT_MOST_PATH];
  bool forbidden = false;
  int error = ENOENT;
  while (next_path(&list, program, path, sizeof path)) {
    (void)execute(path, arguments, environment);
    error = errno;
    if (error == ENOEXEC) return execute_by_shell(path, arguments, environment);
    forbidden = forbidden || error == EACCES;
    if (!look_further(error)) return -1;
  }
  return fail(forbidden ? EACCES : error);
}

INTERPOSED(int, execve, const char* path, char* const* arguments, char* const* environment) {
  return execute(path, arguments, environment);
}

INTERPOSED(int, execv, const char* path, char* const* arguments) {
  return execute(path, arguments, environ);
}

INTERPOSED(int, execvp, const char* program, char* const* arguments) {
  return execute_found(program, arguments, environ);
}

INTERPOSED(int, execvpe, const char* program, char* const* arguments, char* const* environment) {
  return execute_found(program, arguments, environment);
}

/// The arguments up to NULL, `first` among them, and what stands behind it.
static size_t count_words(const char* first, va_list list) {
  size_t count = 0;
  for (const char* word = first; word != NULL; word = va_arg(list, const char*)) ++count;
  return count;
}

static void take_words(const char* first, va_list list, size_t count, char** words) {
  words[0] = (char*)first;
  for (size_t i = 1; i <= count; ++i) words[i] = va_arg(list, char*);
}

#define WORDS_OF(first, words)                   \
  va_list list;                                  \
  va_start(list, first);                         \
  const size_t count = count_words(first, list); \
  va_end(list);                                  \
  if (count >= INT16_MAX) return fail(E2BIG);    \
  char* words[count + 1];                        \
  va_start(list, first);                         \
  take_words(first, list, count, words);

INTERPOSED(int, execl, const char* path, const char* first, ...) {
  WORDS_OF(first, words)
  va_end(list);
  return execute(path, words, environ);
}

INTERPOSED(int, execlp, const char* program, const char* first, ...) {
  WORDS_OF(first, words)
  va_end(list);
  return execute_found(program, words, environ);
}

INTERPOSED(int, execle, const char* path, const char* first, ...) {
  WORDS_OF(first, words)
  char* const* const environment = va_arg(list, char* const*);
  va_end(list);
  return execute(path, words, environment);
}

INTERPOSED(int, execveat, int directory, const char* path, char* const* arguments,
           char* const* environment, int flags) {
  const execveat_function next = NEXT(execveat_function, execveat);
  if (!concerned() || path == NULL) return next(directory, path, arguments, environment, flags);
  const bool itself = *path == '\0' && (flags & AT_EMPTY_PATH) != 0;
  const int fd = itself ? directory : openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  int error = fd < 0 ? errno : check(NULL, fd);
  if (!itself && fd >= 0) close(fd);
  struct shunt_environment prepared;
  if (error == 0) error = shunt_prepare_environment(environment, &prepared);
  if (error != 0) return fail(error);
  (void)next(directory, path, arguments, prepared.variables, flags);
  error = errno;
  shunt_release_environment(&prepared);
  return fail(error);
}

INTERPOSED(int, fexecve, int fd, char* const* arguments, char* const* environment) {
  const fexecve_function next = NEXT(fexecve_function, fexecve);
  if (!concerned()) return next(fd, arguments, environment);
  struct shunt_environment prepared;
  int error = check(NULL, fd);
  if (error == 0) error = shunt_prepare_environment(environment, &prepared);
  if (error != 0) return fail(error);
  (void)next(fd, arguments, prepared.variables);
  error = errno;
  shunt_release_environment(&prepared);
  return fail(error);
}

/// `path` names the program from here, or from where a file action leads, which cannot be followed:
/// a relative one has to be here too.
static int spawn(spawn_function next, pid_t* pid, const char* path,
                 const posix_spawn_file_actions_t* actions, const posix_spawnattr_t* attributes,
                 char* const* arguments, char* const* environment) {
  struct shunt_environment prepared;
  if (path[0] != '/' && access(path, F_OK) != 0) return ENOENT;
  int error = check(path, -1);
  if (error == 0) error = shunt_prepare_environment(environment, &prepared);
  if (error != 0) return error;
  error = next(pid, path, actions, attributes, arguments, prepared.variables);
  shunt_release_environment(&prepared);
  return error;
}

INTERPOSED(int, posix_spawn, pid_t* pid, const char* path,
           const posix_spawn_file_actions_t* actions, const posix_spawnattr_t* attributes,
           char* const* arguments, char* const* environment) {
  const spawn_function next = NEXT(spawn_function, posix_spawn);
  if (!concerned() || path == NULL) {
    return next(pid, path, actions, attributes, arguments, environment);
  }
  return spawn(next, pid, path, actions, attributes, arguments, environment);
}

INTERPOSED(int, posix_spawnp, pid_t* pid, const char* program,
           const posix_spawn_file_actions_t* actions, const posix_spawnattr_t* attributes,
           char* const* arguments, char* const* environment) {
  const spawn_function next = NEXT(spawn_function, posix_spawnp);
  if (!concerned() || program == NULL) {
    return next(pid, program, actions, attributes, arguments, environment);
  }
  if (strchr(program, '/') != NULL) {
    return spawn(next, pid, program, actions, attributes, arguments, environment);
  }
  const char* list = search_list();
  char path[SHUNT_MOST_PATH];
  char slashed[SHUNT_MOST_PATH + 2];
  while (next_path(&list, program, path, sizeof path)) {
    if (access(path, X_OK) != 0) continue;
    // With a slash it is not searched for once more.
    snprintf(slashed, sizeof slashed, "%s%s", strchr(path, '/') != NULL ? "" : "./", path);
    return spawn(next, pid, slashed, actions, attributes, arguments, environment);
  }
  return ENOENT;
}

/// The C library's own shell gets the program's environment.
static int prepare_shell(void) {
  if (!concerned()) return 0;
  struct shunt_environment prepared;
  int error = check(_PATH_BSHELL, -1);
  if (error == 0) error = shunt_prepare_environment(environ, &prepared);
  if (error != 0) return error;
  for (char* const* at = prepared.variables; *at != NULL; ++at) {
    const char* const equals = strchr(*at, '=');
    char name[64];
    const size_t length = equals == NULL ? sizeof name : (size_t)(equals - *at);
    if (length >= sizeof name) continue;
    memcpy(name, *at, length);
    name[length] = '\0';
    const char* const there = getenv(name);
    if (there == NULL || strcmp(there, equals + 1) != 0) setenv(name, equals + 1, 1);
  }
  shunt_release_environment(&prepared);
  return 0;
}

INTERPOSED(int, system, const char* command) {
  const int error = prepare_shell();
  if (error != 0) return fail(error);
  return NEXT(int (*)(const char*), system)(command);
}

INTERPOSED(FILE*, popen, const char* command, const char* mode) {
  const int error = prepare_shell();
  if (error == 0) return NEXT(FILE * (*)(const char*, const char*), popen)(command, mode);
  errno = error;
  return NULL;
}

// SPDX-License-Identifier: GPL-2.0-only
// Whether a program would load libshunt-preload.so, by its file. In C, since the library asks it
// before each execve(2), and shunt before it starts a command. Nothing is allocated, and whatever
// the file says, no more than some hundred kilobytes of it are read.
//
// Programs that are not dynamically linked have no loader that could load it; Go programs make
// their system calls themselves even where they have one; the loader ignores LD_PRELOAD where the
// program gains privilege by being executed (ld.so(8), AT_SECURE).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum shunt_target {
  SHUNT_TARGET_LOADS = 0,     ///< it loads the library
  SHUNT_TARGET_NO_PROGRAM,    ///< neither ELF nor a script with `#!`: a shell's, or nobody's
  SHUNT_TARGET_ABSENT,        ///< there is no such file, or none that may be looked for
  SHUNT_TARGET_UNREADABLE,    ///< it cannot be examined
  SHUNT_TARGET_STATIC,        ///< no PT_INTERP
  SHUNT_TARGET_GO,            ///< its connections are system calls of its own
  SHUNT_TARGET_SETUID,        ///< set-user-ID or set-group-ID, to another user or group
  SHUNT_TARGET_CAPABILITIES,  ///< file capabilities
  SHUNT_TARGET_FOREIGN,       ///< for another kind of machine than the library, 32 bits included
  SHUNT_TARGET_OTHER_LOADER,  ///< its loader is not glibc's
  SHUNT_TARGET_BROKEN,        ///< no ELF file that could be executed
  SHUNT_TARGET_NESTED,        ///< scripts as interpreters of scripts, too deep for the kernel too
};

/// A file, or bytes that stand for one.
struct shunt_reader {
  /// Reads up to `size` bytes at `offset`; yields how many, -1 on failure.
  long (*read_at)(const void* context, void* into, size_t size, uint64_t offset);
  const void* context;
};

enum { SHUNT_MOST_PATH = 4096 };

struct shunt_finding {
  enum shunt_target target;
  char path[SHUNT_MOST_PATH];  ///< of the file that it is about: the interpreter, of a script
};

/// Of an ELF file; SHUNT_TARGET_NO_PROGRAM where it is none.
enum shunt_target shunt_examine_elf(const struct shunt_reader* file);
/// The interpreter of a script that begins with `head`; "" where there is none, as the kernel reads
/// it (fs/binfmt_script.c). `into` has SHUNT_MOST_PATH bytes.
void shunt_script_interpreter(const char* head, size_t size, char* into);

/// Of a file and, where it is a script, of its interpreter. `fd` (-1: none) is the file, `path` its
/// name for the finding, by which it is opened otherwise. Opens and closes descriptors.
void shunt_examine(const char* path, int fd, struct shunt_finding* finding);

/// Whether such a program is captured or, as SHUNT_TARGET_ABSENT, cannot run anyhow.
bool shunt_may_run(enum shunt_target target);
/// "is statically linked": for a sentence that begins with the path.
const char* shunt_target_words(enum shunt_target target);

#ifdef __cplusplus
}
#endif

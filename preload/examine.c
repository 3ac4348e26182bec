// SPDX-License-Identifier: GPL-2.0-only
#include "examine.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
  kMostProgramHeaders = 512,
  kMostSections = 8192,
  kMostNoteBytes = 64 * 1024,
  kMostNested = 5,    // fs/exec.c: exec_binprm()
  kScriptHead = 256,  // BINPRM_BUF_SIZE, linux/binfmts.h
  kSectionsAtOnce = 16,
};

#if defined(__x86_64__)
#define SHUNT_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define SHUNT_MACHINE EM_AARCH64
#elif defined(__riscv)
#define SHUNT_MACHINE EM_RISCV
#else
#error "which e_machine (elf.h) do programs of this machine have?"
#endif
#define SHUNT_CLASS (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32)
#define SHUNT_DATA (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

typedef ElfW(Ehdr) Header;
typedef ElfW(Phdr) Segment;
typedef ElfW(Shdr) Section;
typedef ElfW(Nhdr) Note;

static bool read_whole(const struct shunt_reader* file, void* into, size_t size, uint64_t offset) {
  if (offset > UINT64_MAX - size) return false;
  return file->read_at(file->context, into, size, offset) == (long)size;
}

/// A note of the owner "Go" (cmd/internal/buildid): name size, description size, type, name.
static bool has_go_note(const struct shunt_reader* file, const Segment* segment) {
  const uint64_t end = segment->p_filesz < kMostNoteBytes ? segment->p_filesz : kMostNoteBytes;
  uint64_t at = 0;
  while (at + sizeof(Note) + 4 <= end) {
    struct {
      Note note;
      char name[4];
    } head;
    if (!read_whole(file, &head, sizeof head, segment->p_offset + at)) return false;
    const bool short_enough = head.note.n_namesz == 3 || head.note.n_namesz == 4;
    if (short_enough && memcmp(head.name, "Go", 3) == 0) return true;
    const uint64_t name = ((uint64_t)head.note.n_namesz + 3) & ~(uint64_t)3;
    at += sizeof(Note) + name + (((uint64_t)head.note.n_descsz + 3) & ~(uint64_t)3);
  }
  return false;
}

static bool is_go_section(const struct shunt_reader* file, uint64_t name_at) {
  static const char* const kNames[] = {".note.go.buildid", ".go.buildinfo", ".gopclntab"};
  char name[24];
  const long got = file->read_at(file->context, name, sizeof name - 1, name_at);
  if (got <= 0) return false;
  name[got] = '\0';
  for (size_t i = 0; i < sizeof kNames / sizeof *kNames; ++i) {
    if (strcmp(name, kNames[i]) == 0) return true;
  }
  return false;
}

static bool has_go_section(const struct shunt_reader* file, const Header* header) {
  if (header->e_shoff == 0 || header->e_shentsize != sizeof(Section)) return false;
  const unsigned count = header->e_shnum < kMostSections ? header->e_shnum : kMostSections;
  Section names;
  if (header->e_shstrndx >= count) return false;
  if (!read_whole(file, &names, sizeof names,
                  header->e_shoff + (uint64_t)header->e_shstrndx * sizeof names)) {
    return false;
  }
  Section sections[kSectionsAtOnce];
  for (unsigned at = 0; at < count; at += kSectionsAtOnce) {
    const unsigned some = count - at < kSectionsAtOnce ? count - at : kSectionsAtOnce;
    const uint64_t offset = header->e_shoff + (uint64_t)at * sizeof(Section);
    if (!read_whole(file, sections, some * sizeof(Section), offset)) return false;
    for (unsigned i = 0; i < some; ++i) {
      if (is_go_section(file, names.sh_offset + sections[i].sh_name)) return true;
    }
  }
  return false;
}

/// ld-linux-x86-64.so.2 and the like: glibc's on every machine.
static enum shunt_target of_loader(const struct shunt_reader* file, const Segment* interp) {
  char path[SHUNT_MOST_PATH];
  if (interp->p_filesz < 2 || interp->p_filesz > sizeof path) return SHUNT_TARGET_BROKEN;
  if (!read_whole(file, path, interp->p_filesz, interp->p_offset)) return SHUNT_TARGET_BROKEN;
  if (path[interp->p_filesz - 1] != '\0') return SHUNT_TARGET_BROKEN;
  const char* const slash = strrchr(path, '/');
  const char* const name = slash == NULL ? path : slash + 1;
  const bool glibc = strncmp(name, "ld-linux", 8) == 0 || strcmp(name, "ld64.so.1") == 0;
  return glibc ? SHUNT_TARGET_LOADS : SHUNT_TARGET_OTHER_LOADER;
}

static bool is_for_this_machine(const Header* header) {
  return header->e_ident[EI_CLASS] == SHUNT_CLASS && header->e_ident[EI_DATA] == SHUNT_DATA &&
         header->e_machine == SHUNT_MACHINE;
}

enum shunt_target shunt_examine_elf(const struct shunt_reader* file) {
  Header header;
  memset(&header, 0, sizeof header);
  const long got = file->read_at(file->context, &header, sizeof header, 0);
  if (got < SELFMAG || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return SHUNT_TARGET_NO_PROGRAM;
  if (got < EI_NIDENT + 4) return SHUNT_TARGET_BROKEN;
  if (!is_for_this_machine(&header)) return SHUNT_TARGET_FOREIGN;
  if (got != (long)sizeof header) return SHUNT_TARGET_BROKEN;
  const bool executable = header.e_type == ET_EXEC || header.e_type == ET_DYN;
  if (!executable || header.e_phentsize != sizeof(Segment)) return SHUNT_TARGET_BROKEN;
  if (header.e_phnum == 0 || header.e_phnum > kMostProgramHeaders) return SHUNT_TARGET_BROKEN;
  enum shunt_target loader = SHUNT_TARGET_STATIC;
  bool go = false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Segment segment;
    if (!read_whole(file, &segment, sizeof segment, header.e_phoff + i * sizeof segment)) {
      return SHUNT_TARGET_BROKEN;
    }
    if (segment.p_type == PT_INTERP) loader = of_loader(file, &segment);
    go = go || (segment.p_type == PT_NOTE && has_go_note(file, &segment));
  }
  if (go || has_go_section(file, &header)) return SHUNT_TARGET_GO;
  return loader;
}

void shunt_script_interpreter(const char* head, size_t size, char* into) {
  into[0] = '\0';
  if (size < 2 || head[0] != '#' || head[1] != '!') return;
  if (size > kScriptHead) size = kScriptHead;
  size_t at = 2;
  while (at < size && (head[at] == ' ' || head[at] == '\t')) ++at;
  size_t length = 0;
  while (at + length < size && strchr(" \t\n", head[at + length]) == NULL) ++length;
  memcpy(into, head + at, length);
  into[length] = '\0';
}

static long read_file(const void* context, void* into, size_t size, uint64_t offset) {
  if (offset > INT64_MAX) return 0;
  return pread(*(const int*)context, into, size, (off_t)offset);
}

/// security/commoncap.c: whether the loader will see AT_SECURE.
static enum shunt_target privilege_of(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) return SHUNT_TARGET_UNREADABLE;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return SHUNT_TARGET_LOADS;
  const bool user = (status.st_mode & S_ISUID) != 0 && status.st_uid != getuid();
  const mode_t both = S_ISGID | S_IXGRP;
  const bool group = (status.st_mode & both) == both && status.st_gid != getgid();
  if (user || group) return SHUNT_TARGET_SETUID;
  if (getuid() == 0) return SHUNT_TARGET_LOADS;
  const bool capable = fgetxattr(fd, "security.capability", NULL, 0) > 0;
  return capable ? SHUNT_TARGET_CAPABILITIES : SHUNT_TARGET_LOADS;
}

/// `next` gets the interpreter's path where it is a script.
static enum shunt_target examine_file(int fd, char* next) {
  next[0] = '\0';
  const struct shunt_reader file = {.read_at = read_file, .context = &fd};
  char head[kScriptHead];
  const long got = read_file(&fd, head, sizeof head, 0);
  if (got < 0) return SHUNT_TARGET_UNREADABLE;
  shunt_script_interpreter(head, (size_t)got, next);
  if (next[0] != '\0') return SHUNT_TARGET_LOADS;  // of scripts neither bit counts
  const enum shunt_target target = shunt_examine_elf(&file);
  return target == SHUNT_TARGET_LOADS ? privilege_of(fd) : target;
}

static int open_program(const char* path, enum shunt_target* why_not) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    const bool there = errno == EACCES && access(path, X_OK) == 0;
    const bool ours = errno == EMFILE || errno == ENFILE || errno == ENOMEM || there;
    *why_not = ours ? SHUNT_TARGET_UNREADABLE : SHUNT_TARGET_ABSENT;
    return -1;
  }
  struct stat status;
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) return fd;
  close(fd);
  *why_not = SHUNT_TARGET_ABSENT;  // a directory, a device: nothing that could be executed
  return -1;
}

void shunt_examine(const char* path, int fd, struct shunt_finding* finding) {
  char next[SHUNT_MOST_PATH];
  const size_t length = strlen(path);
  finding->path[0] = '\0';
  finding->target = SHUNT_TARGET_ABSENT;
  if (length >= sizeof finding->path) return;
  memcpy(finding->path, path, length + 1);
  for (int depth = 0; depth <= kMostNested; ++depth) {
    const bool opened = depth > 0 || fd < 0;
    if (opened) {
      fd = open_program(finding->path, &finding->target);
      if (fd < 0) return;
    }
    finding->target = examine_file(fd, next);
    if (opened) close(fd);
    if (next[0] == '\0') return;
    memcpy(finding->path, next, sizeof next);
  }
  finding->target = SHUNT_TARGET_NESTED;
}

bool shunt_may_run(enum shunt_target target) {
  return target == SHUNT_TARGET_LOADS || target == SHUNT_TARGET_NO_PROGRAM ||
         target == SHUNT_TARGET_ABSENT;
}

const char* shunt_target_words(enum shunt_target target) {
  switch (target) {
    case SHUNT_TARGET_LOADS: return "loads libraries by LD_PRELOAD";
    case SHUNT_TARGET_NO_PROGRAM: return "is no program";
    case SHUNT_TARGET_ABSENT: return "does not exist";
    case SHUNT_TARGET_UNREADABLE: return "cannot be read";
    case SHUNT_TARGET_STATIC: return "is statically linked";
    case SHUNT_TARGET_GO: return "is a Go program, which makes its system calls itself";
    case SHUNT_TARGET_SETUID: return "is a setuid or setgid program";
    case SHUNT_TARGET_CAPABILITIES: return "has file capabilities";
    case SHUNT_TARGET_FOREIGN: return "is for another kind of machine, or for 32 bits";
    case SHUNT_TARGET_OTHER_LOADER: return "has another loader than glibc's";
    case SHUNT_TARGET_BROKEN: return "is no proper ELF file";
    case SHUNT_TARGET_NESTED: return "is a script of scripts, nested too deep";
  }
  return "is unknown";
}

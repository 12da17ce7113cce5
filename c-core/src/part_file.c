/* Part files: "<path>.part" is written under a lock, and renamed to the path
 * when it is whole. With resume a sidecar, "<path>.part.meta", says what it is
 * a part of; it is written before the first byte and removed before the file
 * is cut, so what it says is true at every moment at which a process can die.
 *
 * The lock is on the file, not on its name: whoever gets it makes sure that the
 * file still has the name, as the one before may have renamed or removed it.
 *
 * Storage thread only. */
#include "part_file.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "file.h"
#include "file_root.h"

enum {
  OPEN_TRIES = 16,
  HASH_BLOCK = 256 * 1024
};

static bool is_open(const nt__part_file_t* part) {
  return part->node.next != NULL;
}

/* The first error is kept. `missing` is what a missing file means. */
static int fail(nt__part_file_t* part, int error, int missing,
                const char* what) {
  int ours = nt__file_error(error, missing);

  if (part->error != 0 || ours == 0)
    return part->error;
  part->error = ours;
  snprintf(part->message, sizeof(part->message), "%s %s: %s", what,
           part->part == NULL ? "a file" : part->part, uv_strerror(error));
  return ours;
}

static int refuse(nt__part_file_t* part, int error, const char* message) {
  if (part->error == 0) {
    part->error = error;
    snprintf(part->message, sizeof(part->message), "%s: %s",
             nt_error_message(error), message);
  }
  return part->error;
}

/* ---- Opening ------------------------------------------------------------- */

static char* append(const char* path, const char* suffix) {
  size_t size = strlen(path) + strlen(suffix) + 1;
  char* longer = nt__malloc(size);

  if (longer != NULL)
    snprintf(longer, size, "%s%s", path, suffix);
  return longer;
}

static int find_paths(nt__part_file_t* part, const char* path) {
  int err;

  part->temporary = path == NULL;
  if (part->temporary)
    err = nt__temp_dirs_name(&part->files->temp, part->policy->temp_dir,
                             &part->target);
  else
    err = nt__file_root_write(part->policy, path, &part->target);
  if (err)
    return refuse(part, err, path == NULL ? "for temporary files" : path);
  part->part = append(part->target, ".part");
  part->sidecar_path = append(part->target, ".part.meta");
  if (part->part == NULL || part->sidecar_path == NULL)
    return refuse(part, NT_E_NOMEM, "");
  return 0;
}

/* Nothing there, or a regular file: opening anything else may have effects. */
static int check_place(nt__part_file_t* part, const char* path) {
  nt__file_info_t info;
  int err = nt__file_look(path, &info);

  if (err == UV_ENOENT)
    return 0;
  if (err)
    return fail(part, err, NT_E_NO_FOLDER, "cannot look at");
  return info.regular ? 0 : refuse(part, NT_E_NOT_A_FILE, path);
}

static bool is_open_here(const nt__part_file_t* part) {
  const nt__node_t* parts = &part->files->parts;
  const nt__node_t* node;

  for (node = parts->next; node != parts; node = node->next) {
    const nt__part_file_t* other =
        nt__container_of(node, nt__part_file_t, node);

    if (other->device == part->device && other->inode == part->inode)
      return true;
  }
  return false;
}

/* 0, UV_EBUSY, or UV_EAGAIN when the name is that of another file by now. */
static int lock(nt__part_file_t* part) {
  nt__file_info_t own;
  nt__file_info_t there;
  int err = nt__file_info(part->file, &own);

  if (err)
    return err;
  if (!own.regular)
    return UV_ENXIO;
  part->device = own.device;
  part->inode = own.inode;
  if (is_open_here(part))
    return UV_EBUSY;
  err = nt__file_lock(part->file);
  if (err)
    return err;
  if (nt__file_look(part->part, &there) != 0 || there.inode != own.inode ||
      there.device != own.device) {
    nt__file_unlock(part->file);
    return UV_EAGAIN;
  }
  part->size = own.size;
  return 0;
}

static int open_locked(nt__part_file_t* part) {
  int flags = UV_FS_O_RDWR | UV_FS_O_CREAT | UV_FS_O_NOFOLLOW;
  int tries = OPEN_TRIES;
  int err;

  do {
    if (check_place(part, part->part))
      return part->error;
    err = nt__file_open(part->part, flags, &part->file);
    if (err)
      break;
    err = lock(part);
    if (err)
      nt__file_close(part->file);
  } while (err == UV_EAGAIN && --tries > 0);
  if (err == UV_EBUSY || err == UV_EAGAIN)
    return refuse(part, NT_E_BUSY, part->target);
  if (err)
    return fail(part, err, NT_E_NO_FOLDER, "cannot create");
  nt__list_append(&part->files->parts, &part->node);
  return 0;
}

/* ---- The sidecar --------------------------------------------------------- */

static bool load_sidecar(nt__part_file_t* part) {
  char* text = nt__malloc(NT__SIDECAR_MAX);
  size_t size = NT__SIDECAR_MAX;
  uv_file file;
  bool good = false;

  if (text == NULL || check_place(part, part->sidecar_path) != 0 ||
      nt__file_open(part->sidecar_path, UV_FS_O_RDONLY | UV_FS_O_NOFOLLOW,
                    &file) != 0)
    goto free_text;
  good = nt__file_read(file, text, &size, 0) == 0 &&
         nt__sidecar_read(text, size, part->url, &part->sidecar);
  nt__file_close(file);

free_text:
  nt__free(text);
  return good;
}

static int save_sidecar(nt__part_file_t* part, const nt__sidecar_t* sidecar) {
  int flags = UV_FS_O_WRONLY | UV_FS_O_CREAT | UV_FS_O_EXCL | UV_FS_O_NOFOLLOW;
  nt__buf_t text;
  size_t size;
  uv_file file;
  int err;

  nt__buf_init(&text, NT__SIDECAR_MAX);
  err = nt__sidecar_write(&text, part->url, sidecar);
  if (err == 0 && text.size == NT__SIDECAR_MAX)
    err = NT_E_FULL;
  if (err) /* a URL too long to go on with */
    goto free_text;
  err = nt__file_open(part->sidecar_path, flags, &file);
  if (err)
    goto free_text;
  size = text.size;
  err = nt__file_write(file, text.data, &size, 0);
  nt__file_close(file);
  if (err)
    nt__file_remove(part->sidecar_path);

free_text:
  nt__buf_free(&text);
  return err;
}

int nt__part_open(nt__part_file_t* part, const char* path) {
  int err = find_paths(part, path);

  if (err == 0)
    err = check_place(part, part->target);
  if (err == 0)
    err = open_locked(part);
  if (err)
    return err;
  part->resumable =
      part->resume && !part->temporary && part->size > 0 && load_sidecar(part);
  part->error = 0; /* a sidecar that is none does no harm */
  if (part->resumable && part->sidecar.length != 0 &&
      part->size > part->sidecar.length)
    part->resumable = false;
  if (!part->resumable)
    part->size = 0;
  return 0;
}

/* ---- Writing ------------------------------------------------------------- */

/* The digest of what is there already. */
static int hash_start(nt__part_file_t* part) {
  char* block = nt__malloc(HASH_BLOCK);
  uint64_t done = 0;
  int err = 0;

  if (block == NULL)
    return refuse(part, NT_E_NOMEM, "");
  while (done < part->size && err == 0 && !atomic_load(part->cancelled)) {
    uint64_t left = part->size - done;
    size_t n = left < HASH_BLOCK ? (size_t) left : HASH_BLOCK;

    err = nt__file_read(part->file, block, &n, done);
    if (err == 0 && n == 0)
      err = UV_EIO;
    if (err == 0)
      nt__sha256_update(&part->hash, block, n);
    done += n;
  }
  nt__free(block);
  return fail(part, err, NT_E_FILE, "cannot read");
}

/* Cuts what is there to `size` bytes. What has that size is left alone, above
 * all a new file: ext4 starts to write back what was ever cut to nothing as
 * soon as it is closed, and close() takes a third of a second a gigabyte. */
static int cut(nt__part_file_t* part, uint64_t size) {
  nt__file_info_t info;
  int err = nt__file_info(part->file, &info);

  if (err == 0 && info.size != size)
    err = nt__file_truncate(part->file, size);
  part->size = size;
  return fail(part, err, NT_E_FILE, "cannot write");
}

int nt__part_begin(nt__part_file_t* part, uint64_t offset,
                   const nt__sidecar_t* sidecar) {
  int err;

  nt__sha256_init(&part->hash);
  if (offset == 0) {
    nt__file_remove(part->sidecar_path);
    part->resumable = false;
  }
  err = cut(part, offset);
  if (err == 0 && offset > 0 && part->digest != NULL)
    err = hash_start(part);
  if (err == 0 && offset == 0 && sidecar != NULL && part->resume &&
      !part->temporary)
    part->resumable = save_sidecar(part, sidecar) == 0;
  return err;
}

int nt__part_write(nt__part_file_t* part, const void* data, size_t size) {
  int err;

  if (part->error != 0 || atomic_load(part->cancelled))
    return part->error;
  if (part->temporary &&
      nt__temp_dirs_grow(&part->files->temp, part->policy->temp_max_bytes,
                         size) != 0)
    return refuse(part, NT_E_TEMP_SIZE, part->target);
  err = nt__file_write(part->file, data, &size, part->size);
  part->size += size; /* also the part of it that a full disk has taken */
  if (err)
    return fail(part, err, NT_E_FILE, "cannot write");
  if (part->digest != NULL)
    nt__sha256_update(&part->hash, data, size);
  return 0;
}

/* ---- The end ------------------------------------------------------------- */

static int check_digest(nt__part_file_t* part) {
  unsigned char digest[NT__SHA256_SIZE];

  if (part->digest == NULL)
    return 0;
  nt__sha256_final(&part->hash, digest);
  if (memcmp(digest, part->digest, sizeof(digest)) == 0)
    return 0;
  part->resumable = false; /* all of it may be wrong */
  return refuse(part, NT_E_DIGEST, part->target);
}

static void release(nt__part_file_t* part) {
  nt__list_remove(&part->node);
  part->node.next = NULL;
  nt__file_unlock(part->file);
  nt__file_close(part->file);
}

static int sync_folder(nt__part_file_t* part) {
  char* folder = nt__strdup(part->target);
  int err;

  if (folder == NULL)
    return UV_ENOMEM;
  *(strrchr(folder, '/') == folder ? folder + 1 : strrchr(folder, '/')) = '\0';
  err = nt__file_sync_folder(folder);
  nt__free(folder);
  return err;
}

/* From here on an abort comes too late. */
static int put_in_place(nt__part_file_t* part) {
  int err;

  if (!nt__fate_seal(part->fate))
    return refuse(part, NT_E_ABORTED, part->target);
  err = nt__file_rename(part->part, part->target);
  if (err)
    return fail(part, err, NT_E_FILE, "cannot rename");
  if (part->durable)
    sync_folder(part); /* the file is in place: there is no way back */
  nt__file_remove(part->sidecar_path);
  release(part);
  return 0;
}

static int add_extension(nt__part_file_t* part, const char* extension) {
  char* target = append(part->target, extension);

  if (target == NULL)
    return refuse(part, NT_E_NOMEM, "");
  nt__free(part->target);
  part->target = target;
  return 0;
}

int nt__part_commit(nt__part_file_t* part, const char* extension) {
  int err = part->error;

  if (err == 0)
    err = check_digest(part);
  if (err == 0 && part->durable)
    err = fail(part, nt__file_sync(part->file), NT_E_FILE, "cannot write back");
  if (err == 0 && part->temporary)
    err = add_extension(part, extension);
  return err ? err : put_in_place(part);
}

void nt__part_close(nt__part_file_t* part, bool remove) {
  if (!is_open(part))
    return;
  if (remove || !part->resumable || part->size == 0) {
    nt__file_remove(part->sidecar_path);
    nt__file_remove(part->part);
  }
  release(part);
}

void nt__part_fini(nt__part_file_t* part) {
  nt__free(part->target);
  nt__free(part->part);
  nt__free(part->sidecar_path);
}

/* A skip list (Pugh 1990): lookups for HEAD and order for listings from one structure, ~1 us a key at 300,000 keys. */
#include "store.h"

#include <stdlib.h>
#include <string.h>

enum { LEVELS = 20, PARTS_AT_MOST = 10000 };

static Object *heads[LEVELS];
static int levels = 1;
static uint64_t objects;

/* Fills `links` with the pointers that lead to the first key not below `key`, one for each level; returns that object. */
static Object *descend(const char *key, Object **links[LEVELS]) {
  Object **row = heads;
  for (int level = levels - 1; level >= 0; level--) {
    while (row[level] != NULL && strcmp(row[level]->key, key) < 0) row = row[level]->next;
    if (links != NULL) links[level] = &row[level];
  }
  return row[0];
}

Object *object_from(const char *key) { return descend(key, NULL); }

Object *object_find(const char *key) {
  Object *found = descend(key, NULL);
  return found != NULL && strcmp(found->key, key) == 0 ? found : NULL;
}

static int draw_height(void) {
  static uint64_t state = 88172645463325252u; /* xorshift64: the same heights in every run */
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  int height = 1;
  for (uint64_t bits = state >> 11; (bits & 3) == 0 && height < LEVELS; bits >>= 2) height++;
  return height;
}

void object_put(const char *key, uint64_t size, const char *etag) {
  Object **links[LEVELS];
  Object *object = descend(key, links);
  if (object == NULL || strcmp(object->key, key) != 0) {
    int height = draw_height();
    for (; levels < height; levels++) links[levels] = &heads[levels];
    object = malloc(sizeof *object + (size_t)height * sizeof object->next[0]);
    object->key = strdup(key);
    for (int level = 0; level < height; level++) {
      object->next[level] = *links[level];
      *links[level] = object;
    }
    objects++;
  }
  object->size = size;
  strncpy(object->etag, etag, ETAG_ROOM - 1);
  object->etag[ETAG_ROOM - 1] = 0;
}

void object_delete(const char *key) {
  Object **links[LEVELS];
  Object *object = descend(key, links);
  if (object == NULL || strcmp(object->key, key) != 0) return;
  for (int level = 0; level < levels; level++) {
    if (*links[level] == object) *links[level] = object->next[level];
  }
  free(object->key);
  free(object);
  objects--;
}

uint64_t object_count(void) { return objects; }

void objects_clear(void) {
  for (Object *object = heads[0]; object != NULL;) {
    Object *following = object->next[0];
    free(object->key);
    free(object);
    object = following;
  }
  memset(heads, 0, sizeof heads);
  levels = 1;
  objects = 0;
}

static Upload **uploads;
static uint64_t begun, room;

uint64_t upload_begin(const char *key) {
  if (begun == room) {
    room = room == 0 ? 1024 : room * 2;
    uploads = realloc(uploads, room * sizeof *uploads);
  }
  Upload *upload = calloc(1, sizeof *upload);
  upload->key = strdup(key);
  uploads[begun++] = upload;
  return begun;
}

Upload *upload_find(uint64_t id) { return id >= 1 && id <= begun ? uploads[id - 1] : NULL; }

Part *upload_part(Upload *upload, int number) {
  if (number < 1 || number > PARTS_AT_MOST) return NULL;
  if (number > upload->room) {
    int wanted = number < 64 ? 64 : number * 2;
    upload->parts = realloc(upload->parts, (size_t)wanted * sizeof(Part));
    memset(upload->parts + upload->room, 0, (size_t)(wanted - upload->room) * sizeof(Part));
    upload->room = wanted;
  }
  return &upload->parts[number - 1];
}

void upload_end(uint64_t id) {
  Upload *upload = upload_find(id);
  if (upload == NULL) return;
  free(upload->parts);
  free(upload->key);
  free(upload);
  uploads[id - 1] = NULL;
}

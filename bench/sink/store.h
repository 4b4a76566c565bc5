/* What the sink remembers: keys in byte order with size and ETag, and the parts of unfinished uploads. No bodies. */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETAG_ROOM 48

typedef struct Object {
  char *key;
  uint64_t size;
  char etag[ETAG_ROOM];
  struct Object *next[]; /* next[0]: the following key */
} Object;

Object *object_find(const char *key);
/* The first object whose key is not below `key`. */
Object *object_from(const char *key);
void object_put(const char *key, uint64_t size, const char *etag);
void object_delete(const char *key);
uint64_t object_count(void);
void objects_clear(void);

typedef struct {
  uint64_t size;
  char etag[ETAG_ROOM];
  char checksum[64]; /* as the client sent it, empty when it sent none */
  bool present;
} Part;

typedef struct {
  char *key;
  Part *parts; /* parts[0] is number 1 */
  int room;
} Upload;

/* Ids count from 1. */
uint64_t upload_begin(const char *key);
/* NULL when there is no such upload, or no longer. */
Upload *upload_find(uint64_t id);
/* NULL when `number` is not 1 to 10,000. */
Part *upload_part(Upload *upload, int number);
void upload_end(uint64_t id);

#endif

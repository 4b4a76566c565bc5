/* The part of S3's API that copying needs. One bucket, whatever it is called; no credentials are checked. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "http.h"
#include "store.h"

static struct {
  uint64_t put, part, create, complete, abort, head, list, get, delete, refused, body_bytes, connections;
  int open, most_open;
} counts;

void count_connection(int change) {
  if (change > 0) counts.connections++;
  counts.open += change;
  if (counts.open > counts.most_open) counts.most_open = counts.open;
}

static const char *const namespace = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

static void fail(Answer *answer, int status, const char *code) {
  counts.refused++;
  answer->status = status;
  text_print(&answer->body, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
}

/* Hex MD5 when it was worked out or sent along; else a mark that nobody takes for an MD5. */
static void name_content(const Request *request, char etag[ETAG_ROOM]) {
  static uint64_t serial;
  unsigned char digest[EVP_MAX_MD_SIZE + 3];
  if (request->md5 != NULL) EVP_DigestFinal_ex(request->md5, digest, NULL);
  else if (EVP_DecodeBlock(digest, (const unsigned char *)request->content_md5, (int)strlen(request->content_md5)) != 18) {
    snprintf(etag, ETAG_ROOM, "unread-%llx", (unsigned long long)++serial);
    return;
  }
  for (int i = 0; i < 16; i++) snprintf(etag + 2 * i, 3, "%02x", digest[i]);
}

static void put_object(Request *request, const char *key, Answer *answer) {
  counts.put++;
  if (request->only_if_absent && object_find(key) != NULL) return fail(answer, 412, "PreconditionFailed");
  char etag[ETAG_ROOM];
  name_content(request, etag);
  object_put(key, request->body_bytes, etag);
  text_print(&answer->headers, "ETag: \"%s\"\r\n", etag);
  if (request->checksum[0] != 0) text_print(&answer->headers, "%s\r\n", request->checksum);
}

static uint64_t number_of(const char *query, const char *name) {
  char *value = query_value(query, name);
  uint64_t number = value == NULL ? 0 : strtoull(value, NULL, 10);
  free(value);
  return number;
}

static void put_part(Request *request, Answer *answer) {
  counts.part++;
  Upload *upload = upload_find(number_of(request->query, "uploadId"));
  if (upload == NULL) return fail(answer, 404, "NoSuchUpload");
  Part *part = upload_part(upload, (int)number_of(request->query, "partNumber"));
  if (part == NULL) return fail(answer, 400, "InvalidArgument");
  part->present = true;
  part->size = request->body_bytes;
  name_content(request, part->etag);
  const char *value = strchr(request->checksum, ' ');
  snprintf(part->checksum, sizeof part->checksum, "%s", value == NULL ? "" : value + 1);
  text_print(&answer->headers, "ETag: \"%s\"\r\n", part->etag);
  if (request->checksum[0] != 0) text_print(&answer->headers, "%s\r\n", request->checksum);
}

static void create_upload(Request *request, const char *key, Answer *answer) {
  counts.create++;
  uint64_t id = upload_begin(key);
  if (request->algorithm[0] != 0) text_print(&answer->headers, "x-amz-checksum-algorithm: %s\r\n", request->algorithm);
  if (request->type[0] != 0) text_print(&answer->headers, "x-amz-checksum-type: %s\r\n", request->type);
  text_print(&answer->body,
             "<?xml version=\"1.0\"?><InitiateMultipartUploadResult %s><Bucket>b</Bucket><Key>k</Key>"
             "<UploadId>%llu</UploadId></InitiateMultipartUploadResult>",
             namespace, (unsigned long long)id);
}

/* ETag of parts: the MD5 of their MD5s and their number, where they have MD5s. */
static uint64_t join_parts(const Upload *upload, char etag[ETAG_ROOM]) {
  uint64_t size = 0;
  int count = 0;
  EVP_MD_CTX *md5 = EVP_MD_CTX_new();
  EVP_DigestInit_ex(md5, EVP_md5(), NULL);
  for (int at = 0; at < upload->room; at++) {
    const Part *part = &upload->parts[at];
    if (!part->present) continue;
    size += part->size;
    count++;
    for (int i = 0; i < 32; i += 2) {
      unsigned byte = 0;
      sscanf(part->etag + i, "%2x", &byte);
      EVP_DigestUpdate(md5, &(unsigned char){(unsigned char)byte}, 1);
    }
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  EVP_DigestFinal_ex(md5, digest, NULL);
  EVP_MD_CTX_free(md5);
  for (int i = 0; i < 16; i++) snprintf(etag + 2 * i, 3, "%02x", digest[i]);
  snprintf(etag + 32, ETAG_ROOM - 32, "-%d", count);
  return size;
}

static void complete_upload(Request *request, const char *key, Answer *answer) {
  counts.complete++;
  uint64_t id = number_of(request->query, "uploadId");
  Upload *upload = upload_find(id);
  if (upload == NULL) return fail(answer, 404, "NoSuchUpload");
  if (request->only_if_absent && object_find(key) != NULL) return fail(answer, 412, "PreconditionFailed");
  char etag[ETAG_ROOM];
  object_put(key, join_parts(upload, etag), etag);
  upload_end(id);
  text_print(&answer->body, "<?xml version=\"1.0\"?><CompleteMultipartUploadResult %s><Key>k</Key><ETag>\"%s\"</ETag>",
             namespace, etag);
  int length = 0;
  char algorithm[16] = "";
  if (sscanf(request->checksum, "x-amz-checksum-%15[a-z0-9]: %n", algorithm, &length) == 1) {
    for (char *c = algorithm; *c != 0; c++) *c = (char)(*c >= 'a' ? *c - 32 : *c);
    text_print(&answer->body, "<Checksum%s>%s</Checksum%s><ChecksumType>%s</ChecksumType>", algorithm,
               request->checksum + length, algorithm, request->type[0] == 0 ? "FULL_OBJECT" : request->type);
  }
  text_print(&answer->body, "</CompleteMultipartUploadResult>");
}

static void list_parts(Request *request, Answer *answer) {
  counts.list++;
  Upload *upload = upload_find(number_of(request->query, "uploadId"));
  if (upload == NULL) return fail(answer, 404, "NoSuchUpload");
  text_print(&answer->body, "<?xml version=\"1.0\"?><ListPartsResult %s><IsTruncated>false</IsTruncated>", namespace);
  for (int at = 0; at < upload->room; at++) {
    const Part *part = &upload->parts[at];
    if (!part->present) continue;
    text_print(&answer->body, "<Part><PartNumber>%d</PartNumber><Size>%llu</Size><ETag>\"%s\"</ETag>", at + 1,
               (unsigned long long)part->size, part->etag);
    if (part->checksum[0] != 0) text_print(&answer->body, "<ChecksumCRC32>%s</ChecksumCRC32>", part->checksum);
    text_print(&answer->body, "</Part>");
  }
  text_print(&answer->body, "</ListPartsResult>");
}

static void add_key(Text *body, const char *key, bool encoded) {
  for (const char *c = key; *c != 0; c++) {
    bool plain = (*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z') || strchr("-._~/", *c) != NULL;
    if (plain || (!encoded && strchr("&<>", *c) == NULL)) text_add(body, c, 1);
    else text_print(body, encoded ? "%%%02X" : "&#%u;", (unsigned char)*c);
  }
}

/* Both versions of ListObjects: the place to go on from is the last key or folder told. */
static void list_objects(Request *request, Answer *answer) {
  counts.list++;
  static const char *const starts[] = {"continuation-token", "start-after", "marker"};
  char *after = NULL;
  for (int i = 0; i < 3 && after == NULL; i++) after = query_value(request->query, starts[i]);
  char *prefix = query_value(request->query, "prefix");
  char *delimiter = query_value(request->query, "delimiter");
  char *encoding = query_value(request->query, "encoding-type");
  size_t prefix_length = prefix == NULL ? 0 : strlen(prefix);
  size_t after_length = after == NULL ? 0 : strlen(after);
  bool folders = delimiter != NULL && *delimiter != 0;
  bool after_folder = folders && after_length > 0 && after[after_length - 1] == *delimiter;
  uint64_t most = number_of(request->query, "max-keys");
  if (most == 0 || most > 1000) most = 1000;

  Text *body = &answer->body;
  text_print(body, "<?xml version=\"1.0\"?><ListBucketResult %s><Name>b</Name>", namespace);
  uint64_t told = 0;
  const char *last = NULL;
  size_t last_length = 0;
  const char *from = after_length > 0 && (prefix_length == 0 || strcmp(after, prefix) > 0) ? after : prefix;
  Object *object = object_from(from == NULL ? "" : from);
  for (; object != NULL && told < most; object = object->next[0]) {
    if (prefix_length > 0 && strncmp(object->key, prefix, prefix_length) != 0) break;
    if (after_length > 0 && strcmp(object->key, after) == 0) continue;
    if (after_folder && strncmp(object->key, after, after_length) == 0) continue;
    const char *end = folders ? strchr(object->key + prefix_length, *delimiter) : NULL;
    if (end != NULL) {
      size_t length = (size_t)(end - object->key) + 1;
      if (last != NULL && last_length == length && strncmp(last, object->key, length) == 0) continue;
      char *folder = strndup(object->key, length);
      text_print(body, "<CommonPrefixes><Prefix>");
      add_key(body, folder, encoding != NULL);
      text_print(body, "</Prefix></CommonPrefixes>");
      free(folder);
      last_length = length;
    } else {
      text_print(body, "<Contents><Key>");
      add_key(body, object->key, encoding != NULL);
      text_print(body,
                 "</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"%s\"</ETag><Size>%llu</Size>"
                 "<StorageClass>STANDARD</StorageClass></Contents>",
                 object->etag, (unsigned long long)object->size);
      last_length = strlen(object->key);
    }
    last = object->key;
    told++;
  }
  bool more = object != NULL && told == most && strncmp(object->key, prefix == NULL ? "" : prefix, prefix_length) == 0;
  if (more) {
    char *next = strndup(last, last_length);
    text_print(body, "<NextContinuationToken>");
    add_key(body, next, false);
    text_print(body, "</NextContinuationToken><NextMarker>");
    add_key(body, next, encoding != NULL);
    text_print(body, "</NextMarker>");
    free(next);
  }
  text_print(body, "<KeyCount>%llu</KeyCount><MaxKeys>%llu</MaxKeys><IsTruncated>%s</IsTruncated></ListBucketResult>",
             (unsigned long long)told, (unsigned long long)most, more ? "true" : "false");
  free(after), free(prefix), free(delimiter), free(encoding);
}

static void head(const char *key, Answer *answer) {
  counts.head++;
  answer->headers_only = true;
  Object *object = key == NULL ? NULL : object_find(key);
  if (key != NULL && object == NULL) answer->status = 404;
  if (key == NULL) text_print(&answer->headers, "x-amz-bucket-region: us-east-1\r\n");
  if (object != NULL)
    text_print(&answer->headers, "ETag: \"%s\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n", object->etag);
  text_print(&answer->headers, "Content-Length: %llu\r\n", (unsigned long long)(object == NULL ? 0 : object->size));
}

/* What is stored below ?prefix=, and what was asked since the start or the last reset. */
static void stats(Request *request, Answer *answer) {
  answer->at_once = true;
  char *prefix = query_value(request->query, "prefix");
  size_t length = prefix == NULL ? 0 : strlen(prefix);
  uint64_t keys = 0, bytes = 0;
  for (Object *object = object_from(prefix == NULL ? "" : prefix); object != NULL; object = object->next[0]) {
    if (length > 0 && strncmp(object->key, prefix, length) != 0) break;
    keys++;
    bytes += object->size;
  }
  free(prefix);
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  text_print(&answer->body,
             "{\"keys\":%lu,\"bytes\":%lu,\"put\":%lu,\"part\":%lu,\"create\":%lu,\"complete\":%lu,\"abort\":%lu,"
             "\"head\":%lu,\"list\":%lu,\"get\":%lu,\"delete\":%lu,\"refused\":%lu,\"bodyBytes\":%lu,"
             "\"connections\":%lu,\"mostOpen\":%d,\"cpuSeconds\":%.3f}\n",
             keys, bytes, counts.put, counts.part, counts.create, counts.complete, counts.abort, counts.head,
             counts.list, counts.get, counts.delete, counts.refused, counts.body_bytes, counts.connections,
             counts.most_open, cpu);
  if (strcmp(request->method, "POST") == 0) {
    objects_clear();
    int open = counts.open;
    memset(&counts, 0, sizeof counts);
    counts.open = counts.most_open = open;
  }
}

static bool asks(const Request *request, const char *parameter) {
  size_t length = strlen(parameter);
  for (const char *at = request->query; at != NULL && *at != 0; at = strchr(at, '&'), at += at != NULL) {
    if (strncmp(at, parameter, length) == 0 && strchr("=&", at[length]) != NULL) return true;
  }
  return false;
}

void route(Request *request, Answer *answer) {
  answer->status = 200;
  counts.body_bytes += request->body_bytes;
  if (strcmp(request->path, "/_stats") == 0) return stats(request, answer);
  char *slash = strchr(request->path + 1, '/');
  const char *key = slash == NULL || slash[1] == 0 ? NULL : slash + 1;
  const char *method = request->method;
  bool of_upload = asks(request, "uploadId");
  if (strcmp(method, "HEAD") == 0) return head(key, answer);
  if (strcmp(method, "PUT") == 0) {
    if (key == NULL) return; /* a bucket: there already */
    return of_upload ? put_part(request, answer) : put_object(request, key, answer);
  }
  if (strcmp(method, "POST") == 0 && key != NULL && asks(request, "uploads")) return create_upload(request, key, answer);
  if (strcmp(method, "POST") == 0 && key != NULL && of_upload) return complete_upload(request, key, answer);
  if (strcmp(method, "DELETE") == 0) {
    answer->status = 204;
    if (of_upload) {
      counts.abort++;
      upload_end(number_of(request->query, "uploadId"));
    } else if (key != NULL) {
      counts.delete++;
      object_delete(key);
    }
    return;
  }
  if (strcmp(method, "GET") == 0) {
    if (of_upload) return list_parts(request, answer);
    if (asks(request, "location")) {
      text_print(&answer->body, "<?xml version=\"1.0\"?><LocationConstraint %s/>", namespace);
      return;
    }
    if (key == NULL) return list_objects(request, answer);
    counts.get++;
    return fail(answer, 404, "NoSuchKey"); /* bodies are not kept */
  }
  fail(answer, 501, "NotImplemented");
}

/* One request as the connection reads it, and the answer that the routes make of it. */
#ifndef HTTP_H
#define HTTP_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  char *bytes;
  size_t length, room;
} Text;

void text_add(Text *text, const void *bytes, size_t length);
void text_print(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct {
  char method[8];
  char *path;            /* decoded, without the query */
  char *query;           /* as sent, "" when there is none */
  char checksum[96];     /* the line "x-amz-checksum-<algorithm>: <value>", without its end */
  char algorithm[64];    /* value of x-amz-checksum-algorithm */
  char type[32];         /* value of x-amz-checksum-type */
  char content_md5[32];  /* base64 */
  bool only_if_absent;   /* If-None-Match: * */
  uint64_t body_bytes;   /* decoded */
  EVP_MD_CTX *md5;       /* of the body; NULL when it is not wanted */
} Request;

typedef struct {
  int status;
  Text headers; /* whole lines, without Content-Length unless `headers_only` */
  Text body;
  bool headers_only; /* an answer to HEAD */
  bool at_once;      /* not subject to the latency */
} Answer;

/* Value of a query parameter, decoded, to be freed; NULL when it is not there. */
char *query_value(const char *query, const char *name);
/* In place. */
void percent_decode(char *text);

void count_connection(int change);
void route(Request *request, Answer *answer);

#endif

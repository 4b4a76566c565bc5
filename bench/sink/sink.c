/*
 * An S3 server for measuring clients: epoll, one thread, keeps keys and sizes and throws bodies away.
 *
 *   gcc -O2 -o sink sink.c routes.c store.c -lssl -lcrypto
 *   sink [-p PORT] [-m] [-l MS] [-t CERT.pem -k KEY.pem]
 *
 * -p 0 takes a free port; the first line on stdout is the port. -m works out MD5 ETags, as S3 does; without it the ETag
 * is the Content-MD5 that came along, or an opaque mark. -l delays each answer. GET /_stats[?prefix=], POST /_stats
 * (forgets everything).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http.h"

enum { HEAD_AT_MOST = 64 * 1024, READ_AT_ONCE = 256 * 1024, READS_IN_A_ROW = 4 };

static bool wants_md5;
static int64_t latency_ns;
static SSL_CTX *tls;
static int poller;

void text_add(Text *text, const void *bytes, size_t length) {
  if (text->length + length + 1 > text->room) {
    text->room = (text->length + length + 1) * 2;
    text->bytes = realloc(text->bytes, text->room);
  }
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  text->bytes[text->length] = 0;
}

void text_print(Text *text, const char *format, ...) {
  char line[2048];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  text_add(text, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

void percent_decode(char *text) {
  char *to = text;
  for (const char *from = text; *from != 0; to++) {
    unsigned byte;
    if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) *to = (char)byte, from += 3;
    else *to = *from++;
  }
  *to = 0;
}

char *query_value(const char *query, const char *name) {
  size_t length = strlen(name);
  for (const char *at = query; *at != 0;) {
    const char *end = strchrnul(at, '&');
    if (strncmp(at, name, length) == 0 && at[length] == '=') {
      char *value = strndup(at + length + 1, (size_t)(end - at) - length - 1);
      for (char *c = value; *c != 0; c++) *c = *c == '+' ? ' ' : *c;
      percent_decode(value);
      return value;
    }
    at = *end == 0 ? end : end + 1;
  }
  return NULL;
}

/* Chunked framing. HTTP's own (RFC 9112, 7.1) and aws-chunked are the same but for extensions, which are skipped. */
typedef struct {
  enum { SIZE, EXTENSION, DATA, AFTER_DATA, TRAILER, ENDED } state;
  uint64_t left;
  bool line_has_text;
} Chunks;

typedef struct Connection Connection;
typedef void Taker(Connection *, const unsigned char *, size_t);

struct Connection {
  int fd;
  SSL *ssl;
  bool greeted;      /* TLS handshake done */
  bool wants_write;  /* as told to epoll */
  bool closes;       /* this request said "Connection: close" */
  bool ends;         /* close when the answer is sent */
  bool dead;         /* closed; freed when no answer is held back for it */
  int held_back;
  Text head;
  Text out;
  size_t out_sent;
  bool in_body;
  bool chunked, aws_chunked;
  uint64_t body_left;
  Chunks outer, inner;
  Request request;
};

static size_t read_chunks(Chunks *chunks, Connection *connection, const unsigned char *bytes, size_t length, Taker *take) {
  size_t at = 0;
  while (at < length && chunks->state != ENDED) {
    if (chunks->state == DATA) {
      size_t piece = length - at < chunks->left ? length - at : (size_t)chunks->left;
      take(connection, bytes + at, piece);
      at += piece;
      chunks->left -= piece;
      if (chunks->left == 0) chunks->state = AFTER_DATA;
      continue;
    }
    unsigned char byte = bytes[at++];
    if (byte == '\r') continue;
    switch (chunks->state) {
      case SIZE:
        if (byte == '\n') chunks->state = chunks->left > 0 ? DATA : TRAILER;
        else if (byte == ';') chunks->state = EXTENSION;
        else chunks->left = chunks->left * 16 + (uint64_t)(byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
        break;
      case EXTENSION:
        if (byte == '\n') chunks->state = chunks->left > 0 ? DATA : TRAILER;
        break;
      case AFTER_DATA:
        if (byte == '\n') chunks->state = SIZE;
        break;
      case TRAILER:
        if (byte != '\n') chunks->line_has_text = true;
        else if (chunks->line_has_text) chunks->line_has_text = false;
        else chunks->state = ENDED;
        break;
      default:
        break;
    }
  }
  return at;
}

static void take_bytes(Connection *connection, const unsigned char *bytes, size_t length) {
  connection->request.body_bytes += length;
  if (connection->request.md5 != NULL) EVP_DigestUpdate(connection->request.md5, bytes, length);
}

static void take_body(Connection *connection, const unsigned char *bytes, size_t length) {
  if (connection->aws_chunked) read_chunks(&connection->inner, connection, bytes, length, take_bytes);
  else take_bytes(connection, bytes, length);
}

static void forget_request(Request *request) {
  free(request->path);
  free(request->query);
  EVP_MD_CTX_free(request->md5);
  memset(request, 0, sizeof *request);
}

static void release(Connection *connection) {
  if (!connection->dead || connection->held_back > 0) return;
  forget_request(&connection->request);
  free(connection->head.bytes);
  free(connection->out.bytes);
  free(connection);
}

/* Its memory is given back by release(), when nobody up the stack uses it any more. */
static void hang_up(Connection *connection) {
  if (connection->dead) return;
  connection->dead = true;
  SSL_free(connection->ssl);
  close(connection->fd);
  count_connection(-1);
}

static void watch(Connection *connection, bool for_write) {
  if (connection->wants_write == for_write) return;
  connection->wants_write = for_write;
  struct epoll_event event = {.events = EPOLLIN | (for_write ? EPOLLOUT : 0), .data.ptr = connection};
  epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Bytes moved; 0 when the connection has to wait; hangs up at its end. */
static size_t moved(Connection *connection, ssize_t count) {
  if (count > 0) return (size_t)count;
  if (connection->ssl != NULL) {
    int error = SSL_get_error(connection->ssl, (int)count);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
  } else if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  hang_up(connection);
  return 0;
}

static void flush(Connection *connection) {
  Text *out = &connection->out;
  while (!connection->dead && connection->out_sent < out->length) {
    const char *from = out->bytes + connection->out_sent;
    size_t length = out->length - connection->out_sent;
    size_t sent = moved(connection, connection->ssl != NULL ? SSL_write(connection->ssl, from, (int)length)
                                                            : send(connection->fd, from, length, MSG_NOSIGNAL));
    if (connection->dead) return;
    if (sent == 0) return watch(connection, true);
    connection->out_sent += sent;
  }
  if (connection->dead) return;
  out->length = connection->out_sent = 0;
  watch(connection, false);
  if (connection->ends) hang_up(connection);
}

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ll + time.tv_nsec;
}

/* Answers held back for the latency, which is the same for all: first in, first out. */
typedef struct Held {
  Connection *connection;
  Text text;
  bool ends;
  int64_t due_ns;
  struct Held *next;
} Held;
static Held *first_held, *last_held;

static void hold_back(Connection *connection, const Text *text, bool ends) {
  Held *held = calloc(1, sizeof *held);
  *held = (Held){connection, *text, ends, now_ns() + latency_ns, NULL};
  if (first_held == NULL) first_held = held;
  else last_held->next = held;
  last_held = held;
  connection->held_back++;
}

static void send_due(void) {
  int64_t now = now_ns();
  while (first_held != NULL && first_held->due_ns <= now) {
    Held *held = first_held;
    Connection *connection = held->connection;
    first_held = held->next;
    connection->held_back--;
    if (!connection->dead) {
      text_add(&connection->out, held->text.bytes, held->text.length);
      connection->ends = held->ends;
      flush(connection);
    }
    release(connection);
    free(held->text.bytes);
    free(held);
  }
}

static const char *date_line(void) {
  static char line[64];
  static time_t second;
  time_t current = time(NULL);
  if (current != second) {
    struct tm parts;
    gmtime_r(&current, &parts);
    strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT", &parts);
    second = current;
  }
  return line;
}

static void answer_request(Connection *connection) {
  bool ends = connection->closes;
  static uint64_t requests;
  Answer answer = {0};
  route(&connection->request, &answer);
  forget_request(&connection->request);
  const char *phrase = answer.status == 200 ? "OK" : answer.status == 204 ? "No Content" : "Refused";
  Text whole = {0};
  text_print(&whole, "HTTP/1.1 %d %s\r\n%s\r\nServer: sink\r\nx-amz-request-id: %llX\r\n", answer.status, phrase,
             date_line(), (unsigned long long)++requests);
  if (answer.headers.length > 0) text_add(&whole, answer.headers.bytes, answer.headers.length);
  if (!answer.headers_only && answer.status != 204) text_print(&whole, "Content-Length: %zu\r\n", answer.body.length);
  if (answer.body.length > 0) text_print(&whole, "Content-Type: application/xml\r\n");
  text_print(&whole, ends ? "Connection: close\r\n\r\n" : "\r\n");
  if (answer.body.length > 0) text_add(&whole, answer.body.bytes, answer.body.length);
  free(answer.headers.bytes);
  free(answer.body.bytes);
  if (latency_ns > 0 && !answer.at_once) return hold_back(connection, &whole, ends);
  text_add(&connection->out, whole.bytes, whole.length);
  free(whole.bytes);
  connection->ends = ends;
  flush(connection);
}

/* The value of this header when `line` is it, else NULL. */
static const char *value_of(const char *line, const char *name) {
  size_t length = strlen(name);
  if (strncasecmp(line, name, length) != 0 || line[length] != ':') return NULL;
  for (line += length + 1; *line == ' '; line++) {}
  return line;
}

/* False when the bytes are no request. Sets up the reading of its body. */
static bool read_head(Connection *connection, char *head, bool *expects) {
  Request *request = &connection->request;
  char *rest = NULL;
  char *line = strtok_r(head, "\r\n", &rest);
  char target[8192];
  if (line == NULL || sscanf(line, "%7s %8191s", request->method, target) != 2) return false;
  char *question = strchr(target, '?');
  request->query = strdup(question == NULL ? "" : question + 1);
  if (question != NULL) *question = 0;
  request->path = strdup(target);
  percent_decode(request->path);
  connection->closes = connection->chunked = connection->aws_chunked = false;
  connection->body_left = 0;
  while ((line = strtok_r(NULL, "\r\n", &rest)) != NULL) {
    const char *value;
    if ((value = value_of(line, "content-length")) != NULL) connection->body_left = strtoull(value, NULL, 10);
    else if ((value = value_of(line, "transfer-encoding")) != NULL) connection->chunked = strcasestr(value, "chunked") != NULL;
    else if ((value = value_of(line, "x-amz-content-sha256")) != NULL) connection->aws_chunked = strncmp(value, "STREAMING-", 10) == 0;
    else if ((value = value_of(line, "connection")) != NULL) connection->closes = strcasecmp(value, "close") == 0;
    else if (value_of(line, "expect") != NULL) *expects = true;
    else if ((value = value_of(line, "if-none-match")) != NULL) request->only_if_absent = *value == '*';
    else if ((value = value_of(line, "content-md5")) != NULL) snprintf(request->content_md5, sizeof request->content_md5, "%s", value);
    else if ((value = value_of(line, "x-amz-checksum-algorithm")) != NULL) snprintf(request->algorithm, sizeof request->algorithm, "%s", value);
    else if ((value = value_of(line, "x-amz-checksum-type")) != NULL) snprintf(request->type, sizeof request->type, "%s", value);
    else if (strncasecmp(line, "x-amz-checksum-", 15) == 0) snprintf(request->checksum, sizeof request->checksum, "%s", line);
  }
  memset(&connection->outer, 0, sizeof connection->outer);
  memset(&connection->inner, 0, sizeof connection->inner);
  if (wants_md5 && strcmp(request->method, "PUT") == 0) {
    request->md5 = EVP_MD_CTX_new();
    EVP_DigestInit_ex(request->md5, EVP_md5(), NULL);
  }
  return true;
}

/* Takes what came: heads, bodies and the heads after them. */
static void take(Connection *connection, const unsigned char *bytes, size_t length) {
  while (!connection->dead) {
    if (!connection->in_body) {
      if (length == 0) return;
      Text *head = &connection->head;
      size_t before = head->length, overlap = before < 3 ? before : 3;
      size_t piece = length < HEAD_AT_MOST ? length : HEAD_AT_MOST;
      const unsigned char *whole = before > 0 ? NULL : memmem(bytes, piece, "\r\n\r\n", 4);
      text_add(head, bytes, whole == NULL ? piece : (size_t)(whole - bytes) + 4);
      char *end = memmem(head->bytes + before - overlap, head->length - before + overlap, "\r\n\r\n", 4);
      if (end == NULL) {
        if (head->length > HEAD_AT_MOST) hang_up(connection);
        return;
      }
      size_t used = (size_t)(end - head->bytes) + 4 - before;
      bytes += used, length -= used;
      *end = 0;
      head->length = 0;
      bool expects = false;
      if (!read_head(connection, head->bytes, &expects)) return hang_up(connection);
      connection->in_body = true;
      if (expects) {
        text_add(&connection->out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        flush(connection);
        continue;
      }
    }
    size_t used;
    bool complete;
    if (connection->chunked) {
      used = read_chunks(&connection->outer, connection, bytes, length, take_body);
      complete = connection->outer.state == ENDED;
    } else {
      used = length < connection->body_left ? length : (size_t)connection->body_left;
      if (used > 0) take_body(connection, bytes, used);
      connection->body_left -= used;
      complete = connection->body_left == 0;
    }
    bytes += used, length -= used;
    if (!complete) return;
    connection->in_body = false;
    answer_request(connection);
  }
}

static void receive(Connection *connection) {
  static unsigned char room[READ_AT_ONCE];
  for (int turn = 0; turn < READS_IN_A_ROW && !connection->dead; turn++) {
    if (connection->ssl != NULL && !connection->greeted) {
      int done = SSL_accept(connection->ssl);
      if (done != 1) {
        moved(connection, done);
        return;
      }
      connection->greeted = true;
    }
    ssize_t count = connection->ssl != NULL ? SSL_read(connection->ssl, room, sizeof room)
                                            : recv(connection->fd, room, sizeof room, 0);
    size_t got = moved(connection, count);
    if (got == 0) return;
    take(connection, room, got);
    if (connection->dead) return;
    if (connection->ssl == NULL && got < sizeof room) return;
    if (connection->ssl != NULL && SSL_pending(connection->ssl) > 0) turn = 0;
  }
}

static void welcome(int listener) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    Connection *connection = calloc(1, sizeof *connection);
    connection->fd = fd;
    if (tls != NULL) {
      connection->ssl = SSL_new(tls);
      SSL_set_fd(connection->ssl, fd);
      SSL_set_accept_state(connection->ssl);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    count_connection(+1);
  }
}

static int listen_on(int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 4096) != 0) {
    perror("sink");
    exit(1);
  }
  getsockname(listener, (struct sockaddr *)&address, &length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return listener;
}

static void open_tls(const char *certificate, const char *key) {
  tls = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_file(tls, certificate, SSL_FILETYPE_PEM) == 1 &&
      SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) == 1)
    return;
  fprintf(stderr, "sink: cannot use %s and %s\n", certificate, key);
  exit(1);
}

int main(int count, char **arguments) {
  int port = 0, option;
  const char *certificate = NULL, *key = NULL;
  while ((option = getopt(count, arguments, "p:ml:t:k:")) != -1) {
    switch (option) {
      case 'p': port = atoi(optarg); break;
      case 'm': wants_md5 = true; break;
      case 'l': latency_ns = (int64_t)(atof(optarg) * 1e6); break;
      case 't': certificate = optarg; break;
      case 'k': key = optarg; break;
      default: return 2;
    }
  }
  signal(SIGPIPE, SIG_IGN);
  if (certificate != NULL) open_tls(certificate, key == NULL ? certificate : key);
  poller = epoll_create1(EPOLL_CLOEXEC);
  int listener = listen_on(port);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  struct epoll_event events[256];
  for (;;) {
    int64_t wait_ns = first_held == NULL ? -1 : first_held->due_ns - now_ns();
    if (first_held != NULL && wait_ns < 0) wait_ns = 0;
    struct timespec patience = {wait_ns / 1000000000, wait_ns % 1000000000};
    int ready = epoll_pwait2(poller, events, 256, wait_ns < 0 ? NULL : &patience, NULL);
    for (int i = 0; i < ready; i++) {
      Connection *connection = events[i].data.ptr;
      if (connection == NULL) {
        welcome(listener);
        continue;
      }
      if (events[i].events & EPOLLOUT) flush(connection);
      if (!connection->dead && (events[i].events & ~(uint32_t)EPOLLOUT)) receive(connection);
      release(connection);
    }
    send_due();
  }
}

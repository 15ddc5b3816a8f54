/* Byte streams on the loop: connections (Unix sockets, TCP) and the pipes and terminals of child
 * processes. Reading is by pull, so a slow reader slows the writer: about 64 KiB wait here.
 *
 * Everything runs on the loop's thread. Operations follow core/op.h. Error domain: "net". */
#ifndef MP_CORE_STREAM_H
#define MP_CORE_STREAM_H

#include "loop.h"

#include <stddef.h>
#include <sys/types.h>

typedef struct mp_stream mp_stream;

typedef enum {
  MP_STREAM_PIPE,     /* one direction; ends by being closed */
  MP_STREAM_SOCKET,   /* both directions, each ends on its own */
  MP_STREAM_TERMINAL, /* the master side of a pty: EIO is its end */
} mp_stream_kind;

/* Wraps a descriptor, which belongs to the stream from here on, also on failure. */
int mp_stream_open(mp_loop *loop, int fd, mp_stream_kind kind, mp_stream **stream, mp_error *err);

/* The descriptor beneath, still owned by the stream. */
int mp_stream_fd(const mp_stream *stream);

/* Closes at once: what was not written is lost, operations under way end with MP_CANCELLED. The
 * stream is invalid on return. Accepts NULL. */
void mp_stream_close(mp_stream *stream);

/* -- Reading: one operation at a time; a second is refused with code "busy". ------------------ */

/* bytes: valid until the callback returns. NULL without an error is the end of the stream.
 * A line comes without its "\n" or "\r\n"; a last one without newline counts. */
typedef void (*mp_stream_read_cb)(void *data, const char *bytes, size_t len, const mp_error *err);

/* Some bytes: at least one, at most `max`. */
int mp_stream_read(mp_stream *stream, size_t max, mp_stream_read_cb cb, void *data, mp_op **op,
                   mp_error *err);

/* One line. A line longer than `limit` is MP_LIMIT; its bytes can still be read. */
int mp_stream_read_line(mp_stream *stream, size_t limit, mp_stream_read_cb cb, void *data,
                        mp_op **op, mp_error *err);

/* Everything up to the end ("" and not NULL when there is nothing); more than `limit` is
 * MP_LIMIT. */
int mp_stream_read_all(mp_stream *stream, size_t limit, mp_stream_read_cb cb, void *data,
                       mp_op **op, mp_error *err);

/* What is here already, without waiting: true and a result as the calls above would give it, valid
 * until the next call on this stream. False: use those (also for a line over the limit). */
bool mp_stream_take(mp_stream *stream, size_t max, const char **bytes, size_t *len);
bool mp_stream_take_line(mp_stream *stream, size_t limit, const char **line, size_t *len);

/* Pushes everything that arrives into `on_bytes` from now on, in place of the operations above;
 * NULL bytes are the end of the stream (or what was as good as that: an error), the last call. */
typedef void (*mp_stream_on_bytes)(void *data, const char *bytes, size_t len);
void mp_stream_push(mp_stream *stream, mp_stream_on_bytes on_bytes, void *data);

/* For a stream that nobody reads: keep up to `limit` bytes for a reader that may come, throw away
 * all that follows, so that the writer never waits; a reader gets MP_LIMIT behind the kept bytes.
 * No effect where someone has read already. */
void mp_stream_absorb(mp_stream *stream, size_t limit);

/* Takes in up to `limit` bytes before anyone asks, so that the end is seen when it comes. */
void mp_stream_read_ahead(mp_stream *stream, size_t limit);

/* Bytes that mp_stream_absorb threw away. */
size_t mp_stream_dropped(const mp_stream *stream);

/* What is in the pipe now is the last of it, although someone still holds the other end. */
void mp_stream_finish(mp_stream *stream);

/* True when the other end was closed, whether or not everything has been read. */
bool mp_stream_hung_up(mp_stream *stream);

/* Called once, when the end of the stream (or an error) has been seen. One listener. */
void mp_stream_on_end(mp_stream *stream, void (*on_end)(void *data), void *data);

/* -- Writing ---------------------------------------------------------------------------------- */

typedef void (*mp_stream_write_cb)(void *data, const mp_error *err);

/* Copies the bytes; calls back when the kernel has taken all of them. Several writes may wait in
 * order. Cancelling one that is under way leaves the stream unfit for more. */
int mp_stream_write(mp_stream *stream, const void *bytes, size_t len, mp_stream_write_cb cb,
                    void *data, mp_op **op, mp_error *err);

/* No more will be written: when the writes that wait are done, the other end sees the end. A
 * terminal gets its end-of-file character. May be repeated. */
void mp_stream_end(mp_stream *stream);

/* -- Connecting ------------------------------------------------------------------------------- */

/* Either a Unix socket's path or a host (name or address) and port. Borrowed. */
typedef struct {
  const char *path;
  const char *host;
  unsigned port;
} mp_stream_address;

/* stream: the callback's, NULL on error. Error codes: an errno name, MP_TIMEOUT, "resolve". */
typedef void (*mp_stream_connect_cb)(void *data, mp_stream *stream, const mp_error *err);

/* Connects within `timeout` milliseconds (0: no limit). Names are resolved off the loop's thread;
 * the addresses of a name are tried in order, each starting when the one before has failed or has
 * not answered for 250 ms (RFC 8305). */
int mp_stream_connect(mp_loop *loop, const mp_stream_address *address, uint64_t timeout,
                      mp_stream_connect_cb cb, void *data, mp_op **op, mp_error *err);

/* A Unix socket's path fits into sockaddr_un, or an error with a hint. */
int mp_stream_check_path(const char *path, mp_error *err);

/* -- Listening -------------------------------------------------------------------------------- */

typedef struct mp_listener mp_listener;

/* Listens on a Unix socket (made with mode 0600; an existing file is EADDRINUSE) or on an address
 * given as numbers. Port 0 takes a free one. */
int mp_stream_listen(mp_loop *loop, const mp_stream_address *address, mp_listener **listener,
                     mp_error *err);

/* The port that is listened on; 0 for a Unix socket. */
unsigned mp_listener_port(const mp_listener *listener);

/* The next connection. One operation at a time. */
int mp_listener_accept(mp_listener *listener, mp_stream_connect_cb cb, void *data, mp_op **op,
                       mp_error *err);

/* Stops listening; removes the Unix socket's file if it is still ours. Accepts NULL. */
void mp_listener_close(mp_listener *listener);

#endif

/* What the files of core/stream share. */
#ifndef MP_CORE_STREAM_INTERNAL_H
#define MP_CORE_STREAM_INTERNAL_H

#include "lines.h"
#include "stream.h"

#define MP_NET "net"

typedef enum { READ_SOME, READ_LINE, READ_ALL } read_kind;

typedef struct {
  mp_op op;
  bool active;
  bool cancelled;
  read_kind kind;
  size_t max;
  mp_stream_read_cb cb;
  void *data;
} read_op;

struct mp_stream {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
  } uv; /* first: a handle is its stream */
  mp_loop *loop;
  mp_stream_kind kind;
  /* Who may still touch this memory: the owner, the open handle, each write, the delayed turn. */
  unsigned refs;

  mp_lines input;
  read_op reader;
  bool was_read; /* someone has read, or tried to */
  bool reading;  /* uv_read_start is in force */
  bool delayed;  /* `turn` will run */
  bool at_end;
  bool end_told;
  int error; /* libuv's code that ended reading */
  mp_stream_on_bytes on_bytes;
  void *on_bytes_data;
  void (*on_end)(void *data);
  void *on_end_data;
  size_t ahead;   /* mp_stream_read_ahead; 0: off */
  size_t keep;    /* mp_stream_absorb; 0: off */
  size_t dropped; /* what that threw away */
  bool finite;    /* mp_stream_finish: `remaining` more bytes and then the end */
  size_t remaining;

  unsigned writes; /* under way */
  bool ending;     /* no more writes are taken */
  bool broken;     /* a write was cancelled half-way */
  bool closing;
};

/* A stream around an initialised but not yet opened handle, for the connecting side. */
mp_stream *mp_stream_new_(mp_loop *loop, mp_stream_kind kind);

void mp_stream_release_(mp_stream *stream);

/* Closes the handle and leaves the owner's reference. May be repeated. */
void mp_stream_close_handle_(mp_stream *stream);

/* Fills an address from path or numbers; *len is its length. */
int mp_stream_sockaddr_(const mp_stream_address *address, struct sockaddr_storage *to,
                        socklen_t *len, mp_error *err);

/* "`host` port 80" or "`/path`", for messages. The caller frees it. */
char *mp_stream_address_text_(const mp_stream_address *address);

#endif

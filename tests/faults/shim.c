/*
 * Records what one process does to its storage, and when it speaks to others, so that any power cut can be replayed.
 *
 * Preloaded (LD_PRELOAD). Every file whose name begins with CRASH_PREFIX is followed; the log is CRASH_LOG:
 *
 *   op (1 byte), length of the name (4), offset (8), length of the data (8), name, data
 *   W write   T truncate to offset   S synced   U unlinked   M said to somebody outside (data: the first KiB of it)
 *
 * A sync counts from before its call, and what is said from before it is sent: both are to the disadvantage of the
 * process that is looked at. Directory entries count as durable; memory maps are not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536
#define SAID 1024

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char prefix[512];
static char *names[FILES];
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);

#define REAL(result, name, ...) \
	static result (*real)(__VA_ARGS__); \
	if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void)
{
	const char *wanted = getenv("CRASH_PREFIX"), *log = getenv("CRASH_LOG");
	real_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	real_writev = (ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
	int (*real_open)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
	if (!wanted || !log) return;
	strncpy(prefix, wanted, sizeof prefix - 1);
	log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int followed(const char *name)
{
	return log_fd >= 0 && name && strncmp(name, prefix, strlen(prefix)) == 0;
}

static const char *name_of(int fd)
{
	return fd >= 0 && fd < FILES ? names[fd] : NULL;
}

static void record(char op, const char *name, uint64_t offset, const void *data, uint64_t length)
{
	uint32_t name_length = strlen(name);
	char head[21];
	head[0] = op;
	memcpy(head + 1, &name_length, 4);
	memcpy(head + 5, &offset, 8);
	memcpy(head + 13, &length, 8);
	struct iovec parts[3] = {{head, sizeof head}, {(void *)name, name_length}, {(void *)data, length}};
	pthread_mutex_lock(&mutex);
	real_writev(log_fd, parts, data ? 3 : 2);
	pthread_mutex_unlock(&mutex);
}

static void said(int fd, const struct iovec *parts, int count)
{
	char text[SAID];
	size_t length = 0;
	struct stat kind;
	if (log_fd < 0 || fd < 0 || fstat(fd, &kind) || !S_ISSOCK(kind.st_mode)) return;
	for (int i = 0; i < count && length < SAID; i++) {
		size_t more = parts[i].iov_len < SAID - length ? parts[i].iov_len : SAID - length;
		memcpy(text + length, parts[i].iov_base, more);
		length += more;
	}
	record('M', "", 0, text, length);
}

static int opened(int fd, const char *name, int flags)
{
	if (fd >= 0 && fd < FILES) {
		free(names[fd]);
		names[fd] = followed(name) ? strdup(name) : NULL;
		if (names[fd] && flags & O_TRUNC) record('T', name, 0, NULL, 0);
	}
	return fd;
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		REAL(int, name, const char *, int, ...); \
		va_list rest; \
		va_start(rest, flags); \
		int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
		va_end(rest); \
		return opened(real(path, flags, mode), path, flags); \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
	int name(int folder, const char *path, int flags, ...) \
	{ \
		REAL(int, name, int, const char *, int, ...); \
		va_list rest; \
		va_start(rest, flags); \
		int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
		va_end(rest); \
		return opened(real(folder, path, flags, mode), path, flags); \
	}
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
	REAL(int, close, int);
	if (fd >= 0 && fd < FILES) {
		free(names[fd]);
		names[fd] = NULL;
	}
	return real(fd);
}

#define PWRITE(name, offset_type) \
	ssize_t name(int fd, const void *data, size_t length, offset_type offset) \
	{ \
		REAL(ssize_t, name, int, const void *, size_t, offset_type); \
		ssize_t done = real(fd, data, length, offset); \
		if (done > 0 && name_of(fd)) record('W', names[fd], offset, data, done); \
		return done; \
	}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t length)
{
	if (name_of(fd)) {
		off_t at = lseek(fd, 0, SEEK_CUR);
		ssize_t done = real_write(fd, data, length);
		if (done > 0) record('W', names[fd], at, data, done);
		return done;
	}
	said(fd, &(struct iovec){(void *)data, length}, 1);
	return real_write(fd, data, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	said(fd, parts, count);
	return real_writev(fd, parts, count);
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
	REAL(ssize_t, send, int, const void *, size_t, int);
	said(fd, &(struct iovec){(void *)data, length}, 1);
	return real(fd, data, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
	said(fd, message->msg_iov, message->msg_iovlen);
	return real(fd, message, flags);
}

#define TRUNCATE(name, length_type) \
	int name(int fd, length_type length) \
	{ \
		REAL(int, name, int, length_type); \
		int failed = real(fd, length); \
		if (!failed && name_of(fd)) record('T', names[fd], length, NULL, 0); \
		return failed; \
	}
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
	int name(int fd) \
	{ \
		REAL(int, name, int); \
		if (name_of(fd)) record('S', names[fd], 0, NULL, 0); \
		return real(fd); \
	}
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path)
{
	REAL(int, unlink, const char *);
	int failed = real(path);
	if (!failed && followed(path)) record('U', path, 0, NULL, 0);
	return failed;
}

/*
 * An intruder in the program: loaded with LD_PRELOAD, it takes over at the first wait for the client, when the sandbox
 * is on, and tries what INTRUDER names, comma-separated. It says of each how it went (errno, 0: it worked) and leaves.
 *
 * INTRUDER_INSIDE and INTRUDER_OUTSIDE are the root and a directory outside it. With INTRUDER_CLOCK instead, it only
 * sets the wall clock back at every look; with INTRUDER_MARK, it makes a file to say that it was loaded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *attempts, *inside, *outside, *clock_goes_back;
static pid_t parent;

__attribute__((constructor)) static void begin(void)
{
	parent = getppid();
	attempts = getenv("INTRUDER");
	inside = getenv("INTRUDER_INSIDE");
	outside = getenv("INTRUDER_OUTSIDE");
	clock_goes_back = getenv("INTRUDER_CLOCK");
	const char *mark = getenv("INTRUDER_MARK");
	if (mark)
		close(open(mark, O_WRONLY | O_CREAT, 0666));
}

static const char *at(const char *dir, const char *name)
{
	static char paths[4][4096];
	static unsigned turn;
	char *path = paths[turn++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

#define IN(name) at(inside, name)
#define OUT(name) at(outside, name)

static long page(int protection)
{
	void *memory = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? -1 : (long)memory;
}

static long look_up(const char *path, long flags)
{
	struct open_how how = { .flags = flags };
	return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

/* A descriptor that gives no access, but names what is outside. */
static int shadow(void)
{
	return openat(AT_FDCWD, OUT("secret"), O_PATH);
}

static int inner(int flags)
{
	return openat(AT_FDCWD, IN("file"), flags);
}

static const struct timespec when[2];
static const struct timeval then[2];

static long try(const char *name)
{
	static char *none[] = { NULL };
	struct rlimit more = { 1 << 20, 1 << 20 };
	struct sockaddr_un log = { AF_UNIX, "/dev/log" };
	char byte = 'x';
#define IS(text) (strcmp(name, text) == 0)
#define TRY(text, call) \
	if (IS(text)) \
	return (call)
	/* Programs, processes, sockets. */
	TRY("execve", execve("/bin/true", none, none));
	TRY("execveat", syscall(SYS_execveat, AT_FDCWD, "/bin/true", none, none, 0));
#ifdef SYS_fork
	TRY("fork", syscall(SYS_fork));
#endif
	TRY("clone", syscall(SYS_clone, 17, 0, 0, 0, 0));
	TRY("clone3", syscall(SYS_clone3, NULL, 0));
	TRY("socket", socket(AF_INET, SOCK_STREAM, 0));
	TRY("unix-socket", socket(AF_UNIX, SOCK_DGRAM, 0));
	TRY("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){ 0 }));
	TRY("connect", connect(0, (void *)&log, sizeof log));
	TRY("bind", bind(0, (void *)&log, sizeof log));
	TRY("ptrace", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	TRY("process_vm_readv", syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
	TRY("process_vm_writev", syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0));
	TRY("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
	TRY("bpf", syscall(SYS_bpf, 0, NULL, 0));
	TRY("mount", syscall(SYS_mount, "none", IN("dir"), "tmpfs", 0, NULL));
	TRY("chroot", chroot(IN("dir")));
	TRY("unshare", unshare(CLONE_NEWUSER));
	TRY("setuid", syscall(SYS_setuid, 0));
	TRY("userfaultfd", syscall(SYS_userfaultfd, 0));
#ifdef __x86_64__
	/* The same machine by its other doors: 32-bit calls, and those of x32. */
	if (IS("i386-execve")) {
		long answer = 11;
		__asm__ volatile("int $0x80" : "+a"(answer) : "b"(0), "c"(0), "d"(0) : "memory");
		return answer;
	}
	TRY("x32-execve", syscall(0x40000000 | 520, "/bin/true", none, none));
	TRY("x32-open", syscall(0x40000000 | 257, AT_FDCWD, "/etc/passwd", O_RDONLY));
#endif
	/* What is outside: contents and names. */
	TRY("read-passwd", openat(AT_FDCWD, "/etc/passwd", O_RDONLY));
	TRY("look-up-passwd", look_up("/etc/passwd", O_RDONLY));
	TRY("list-outside", openat(AT_FDCWD, outside, O_RDONLY | O_DIRECTORY));
	TRY("read-outside", openat(AT_FDCWD, OUT("secret"), O_RDONLY));
	TRY("write-outside", openat(AT_FDCWD, OUT("secret"), O_WRONLY));
	TRY("truncate-outside", openat(AT_FDCWD, OUT("secret"), O_WRONLY | O_TRUNC));
	TRY("truncate-by-path", truncate(OUT("secret"), 0));
	TRY("create-outside", openat(AT_FDCWD, OUT("new"), O_WRONLY | O_CREAT | O_EXCL, 0600));
	TRY("unnamed-outside", openat(AT_FDCWD, outside, O_WRONLY | O_TMPFILE, 0600));
	TRY("mkdir-outside", mkdirat(AT_FDCWD, OUT("newdir"), 0700));
	TRY("rename-outside", renameat(AT_FDCWD, OUT("secret"), AT_FDCWD, OUT("renamed")));
	TRY("rename-out", renameat(AT_FDCWD, IN("file"), AT_FDCWD, OUT("moved")));
	TRY("rename-in", renameat(AT_FDCWD, OUT("secret"), AT_FDCWD, IN("moved")));
	TRY("link-out", linkat(AT_FDCWD, IN("file"), AT_FDCWD, OUT("link"), 0));
	TRY("link-in", linkat(AT_FDCWD, OUT("secret"), AT_FDCWD, IN("link"), 0));
	TRY("link-descriptor-in", linkat(shadow(), "", AT_FDCWD, IN("link2"), AT_EMPTY_PATH));
	TRY("remove-outside", unlinkat(AT_FDCWD, OUT("secret"), 0));
	TRY("remove-directory-outside", unlinkat(AT_FDCWD, OUT("empty"), AT_REMOVEDIR));
	TRY("through-own-descriptor", openat(AT_FDCWD, "/proc/self/fd/0/../../root/etc/passwd", O_RDONLY));
	TRY("through-proc", openat(AT_FDCWD, "/proc/self/root/etc/passwd", O_RDONLY));
	TRY("other-memory", openat(AT_FDCWD, "/proc/self/mem", O_RDWR));
	TRY("handle", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY));
	/* What is outside: modes, owners, times, attributes. By path, or by a descriptor without access. */
	TRY("chmod", chmod(OUT("secret"), 0777));
	TRY("fchmodat", syscall(SYS_fchmodat, AT_FDCWD, OUT("secret"), 0777));
	TRY("fchmodat2", syscall(452, AT_FDCWD, OUT("secret"), 0777, 0));
	TRY("fchmodat2-descriptor", syscall(452, shadow(), "", 0777, AT_EMPTY_PATH));
	TRY("fchmod-descriptor", fchmod(shadow(), 0777));
	TRY("chown", chown(OUT("secret"), 1, 1));
	TRY("fchownat", fchownat(AT_FDCWD, OUT("secret"), 1, 1, 0));
	TRY("fchownat-descriptor", fchownat(shadow(), "", 1, 1, AT_EMPTY_PATH));
	TRY("utimensat", utimensat(AT_FDCWD, OUT("secret"), when, 0));
	TRY("utimensat-descriptor", utimensat(shadow(), "", when, AT_EMPTY_PATH));
	TRY("utimes", utimes(OUT("secret"), then));
	TRY("setxattr", syscall(SYS_setxattr, OUT("secret"), "user.x", "y", 1, 0));
	/* In the root, what no half of scp does. */
	TRY("symlink-inside", symlinkat("/etc/passwd", AT_FDCWD, IN("symlink")));
	TRY("fifo-inside", mknodat(AT_FDCWD, IN("fifo"), S_IFIFO | 0600, 0));
	TRY("device-inside", mknodat(AT_FDCWD, IN("device"), S_IFCHR | 0600, 0x103));
	TRY("chmod-inside", chmod(IN("file"), 04777));
	TRY("utimensat-inside", utimensat(AT_FDCWD, IN("file"), when, 0));
	TRY("give-away", fchown(inner(O_RDONLY) >= 0 ? inner(O_RDONLY) : inner(O_WRONLY), 1, -1));
	TRY("read-inside", inner(O_RDONLY));
	TRY("write-inside", inner(O_WRONLY));
	TRY("create-inside", openat(AT_FDCWD, IN("created"), O_WRONLY | O_CREAT | O_EXCL, 0600));
	TRY("mkdir-inside", mkdirat(AT_FDCWD, IN("made"), 0700));
	TRY("remove-inside", unlinkat(AT_FDCWD, IN("file"), 0));
	TRY("remove-directory-inside", unlinkat(AT_FDCWD, IN("dir"), AT_REMOVEDIR));
	/* Code, other processes, and the way back. */
	TRY("executable-memory", page(PROT_READ | PROT_EXEC));
	TRY("make-executable", mprotect((void *)page(PROT_READ | PROT_WRITE), 4096, PROT_READ | PROT_EXEC));
	TRY("map-program", (long)mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE, inner(O_RDONLY), 0) == -1 ? -1 : 0);
	TRY("memory-file", syscall(SYS_memfd_create, "x", 0));
	TRY("personality", syscall(SYS_personality, 0x0400000));
	TRY("kill", syscall(SYS_kill, parent, 0));
	TRY("signal-parent", syscall(SYS_tgkill, parent, parent, 0));
	TRY("raise-limit", setrlimit(RLIMIT_FSIZE, &more));
	TRY("dumpable", syscall(SYS_prctl, 4, 1, 0, 0, 0));
	TRY("chdir", chdir("/"));
	TRY("type-into-terminal", ioctl(0, TIOCSTI, &byte));
	TRY("send-elsewhere", sendto(0, &byte, 1, 0, (void *)&log, sizeof log));
	TRY("io_uring_enter", syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0));
	errno = ENOTNAM;
	return -1;
}

static void act(void)
{
	static char list[8192];
	snprintf(list, sizeof list, "%s", attempts);
	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		errno = 0;
		long answer = try(name);
		int why = answer < 0 ? (errno ? errno : (int)-answer) : 0;
		char line[128];
		int length = snprintf(line, sizeof line, "%s %d\n", name, why);
		if (write(2, line, length) != length)
			_exit(3);
	}
	_exit(0);
}

/* The program waits for two descriptors: signals, and the client. At its start, Rust looks at three. */
int poll(struct pollfd *fds, nfds_t count, int milliseconds)
{
	struct timespec limit = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
	if (attempts && count == 2)
		act();
	return syscall(SYS_ppoll, fds, count, milliseconds < 0 ? NULL : &limit, NULL, 8);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static time_t looks;
	int answer = syscall(SYS_clock_gettime, clock, now);
	if (clock_goes_back && clock == CLOCK_REALTIME)
		now->tv_sec -= 3600 * 24 * 365 * (looks++ % 60);
	return answer;
}

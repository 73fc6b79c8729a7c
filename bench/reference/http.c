/*
 * The server that bench/peers.py measures HTTP load generators against, and loadgen with them.
 *
 * One thread, one epoll. Whatever the first bytes of a connection are, it answers with 64 bytes of HTTP and closes: the
 * answer and the FIN leave in one segment, so the server closes first and TIME-WAIT is on its side. With --silent it
 * reads, never answers, and holds; but on SIGUSR1 it answers whatever it holds at that moment, because ab opens one
 * connection and all others only after its first answer. Several share one address by SO_REUSEPORT.
 *
 *     http --listen 127.0.0.1:9000 --count FILE [--silent]
 *
 * --count    two native 64-bit numbers, kept up to date there: connections accepted so far, and open now
 *
 * Prints {"listening": true} once connections can come; ends when standard input is closed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 512, ACCEPTS_MAX = 256, FILES_MAX = 65536 };

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nwelcome";
_Static_assert(sizeof ANSWER - 1 == 64, "loadgen reads back exactly 64 bytes");

static volatile sig_atomic_t answer_all;
static volatile uint64_t *count; /* accepted, open */
static bool is_open[FILES_MAX];

static void on_signal(int signal_number)
{
    (void)signal_number;
    answer_all = 1;
}

static void end(int fd, bool answer)
{
    if (answer) /* MSG_MORE keeps it back until close(), which puts the FIN on the same segment */
        (void)!send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL | MSG_MORE);
    close(fd);
    is_open[fd] = false;
    count[1]--;
}

static void die(const char *what)
{
    fprintf(stderr, "http: %s: %s\n", what, strerror(errno));
    exit(1);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"silent", no_argument, NULL, 's'},
                                            {0}};
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *count_file = NULL;
    bool silent = false;
    char *colon;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'l' && (colon = strchr(optarg, ':'))) {
            *colon = '\0';
            address.sin_port = htons((uint16_t)atoi(colon + 1));
            if (inet_pton(AF_INET, optarg, &address.sin_addr) != 1)
                address.sin_port = 0;
        } else if (c == 'c') {
            count_file = optarg;
        } else if (c == 's') {
            silent = true;
        }
    }
    if (!address.sin_port || !count_file) {
        fprintf(stderr, "http: the usage is at the top of http.c\n");
        return 2;
    }

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
    setrlimit(RLIMIT_NOFILE, &files);

    int count_fd = open(count_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (count_fd < 0 || ftruncate(count_fd, 2 * sizeof(uint64_t)) < 0)
        die(count_file);
    count = mmap(NULL, 2 * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, count_fd, 0);
    if (count == MAP_FAILED)
        die("mmap");

    static const int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 65535) < 0)
        die("listen");
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    struct epoll_event incoming = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &incoming) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0)
        die("epoll");
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    printf("{\"listening\":true}\n");
    fflush(stdout);

    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int fd = 0; answer_all && fd < FILES_MAX; fd++)
            if (is_open[fd])
                end(fd, true);
        if (answer_all) {
            answer_all = 0;
            continue; /* the events may be of what was just closed */
        }
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener) {
                for (int accepts = 0; accepts < ACCEPTS_MAX; accepts++) {
                    int got = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                    if (got < 0) {
                        if (errno == EMFILE) /* the harness starts enough of us; never spin here */
                            die("accept4");
                        break;
                    }
                    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = got};
                    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, got, &event) < 0)
                        die("epoll_ctl");
                    is_open[got] = true;
                    count[0]++;
                    count[1]++;
                }
                continue;
            }
            char buffer[4096];
            ssize_t size = recv(fd, buffer, sizeof buffer, 0);
            if (size < 0 && (errno == EAGAIN || errno == EINTR))
                continue;
            if (size > 0 && silent)
                continue;
            end(fd, size > 0);
        }
    }
}

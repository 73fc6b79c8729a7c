/*
 * The reference sink: the listener that both clients are measured against.
 *
 * One thread, one epoll: accepts in batches, holds every connection (watched), echoes what it reads and
 * closes when the other side does. Start several on one address and the kernel spreads the connections
 * over them by hash (SO_REUSEPORT), which is how more are held than one process may have descriptors.
 *
 *     sink --listen 127.0.0.1:9000 [--backlog 65535] [--expect N]
 *
 * --expect   connections it will have to hold at once; refuses to start when descriptors do not suffice
 *
 * Standard output, two lines of JSON: {"listening": true} once connections can come, and, on SIGTERM or
 * when standard input is closed, accepted, open (now), peak (open at once), dropped_bytes (of echoes that
 * did not fit the send buffer) and cpu_ns (user and system, of the whole life).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ACCEPTS_MAX bounds one batch, so that a flood of new connections never starves those that are open. */
enum { EVENTS_MAX = 512, ACCEPTS_MAX = 1024, SPARE_DESCRIPTORS = 16 };

static volatile sig_atomic_t stopping;
static uint64_t accepted, open_count, peak, dropped_bytes;
static int epoll_fd, listener;
static bool full; /* no descriptor left: the listener is not watched until one is free again */

static void on_signal(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void usage(const char *what)
{
    fprintf(stderr, "sink: bad or missing %s; the usage is at the top of sink.c\n", what);
    exit(2);
}

static void watch(int op, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll_fd, op, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_batch(void)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP);
            accepted++;
            if (++open_count > peak)
                peak = open_count;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE) {
            /* Level-triggered, it would be reported for ever and we would spin. */
            full = true;
            watch(EPOLL_CTL_MOD, listener, 0);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            die("accept4");
        }
    }
}

static void serve_connection(int fd, uint32_t events)
{
    char buffer[16384];
    if (!(events & (EPOLLHUP | EPOLLERR))) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got > 0) {
            ssize_t sent = send(fd, buffer, (size_t)got, MSG_NOSIGNAL);
            if (sent < got)
                dropped_bytes += (uint64_t)(got - (sent > 0 ? sent : 0));
            return;
        }
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
    }
    close(fd);
    open_count--;
    if (full) {
        full = false;
        watch(EPOLL_CTL_MOD, listener, EPOLLIN);
    }
}

static unsigned long number(const char *text, unsigned long max, const char *what)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > max)
        usage(what);
    return value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"backlog", required_argument, NULL, 'b'},
                                            {"expect", required_argument, NULL, 'e'},
                                            {NULL, 0, NULL, 0}};
    struct sockaddr_in address = {.sin_family = AF_INET};
    unsigned long backlog = 65535, expect = 0;
    char *colon;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'l':
            if (!(colon = strchr(optarg, ':')))
                usage("--listen");
            *colon = '\0';
            if (inet_pton(AF_INET, optarg, &address.sin_addr) != 1)
                usage("--listen");
            address.sin_port = htons((uint16_t)number(colon + 1, 65535, "--listen"));
            break;
        case 'b': backlog = number(optarg, INT32_MAX, "--backlog"); break;
        case 'e': expect = number(optarg, INT32_MAX, "--expect"); break;
        default: usage("option");
        }
    }
    if (!address.sin_port)
        usage("--listen");

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("setrlimit");
    if (expect + SPARE_DESCRIPTORS > files.rlim_cur) {
        fprintf(stderr, "sink: %lu connections expected, only %ju descriptors allowed; start more sinks\n", expect,
                (uintmax_t)files.rlim_cur);
        return 1;
    }

    /* Blocked but for the moments inside epoll_pwait, so that a signal is never missed between two waits. */
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t stop_signals, while_waiting;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    sigprocmask(SIG_BLOCK, &stop_signals, &while_waiting);
    sigdelset(&while_waiting, SIGTERM);
    sigdelset(&while_waiting, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    static const int on = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
        die("setsockopt");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(listener, (int)backlog) < 0)
        die("listen");
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create1");
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    struct epoll_event input = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input); /* refused for a file or /dev/null: SIGTERM then */
    printf("{\"listening\":true}\n");
    fflush(stdout);

    while (!stopping) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_pwait(epoll_fd, events, EVENTS_MAX, -1, &while_waiting);
        if (n < 0 && errno != EINTR)
            die("epoll_pwait");
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            char byte;
            if (fd == listener)
                accept_batch();
            else if (fd == STDIN_FILENO)
                stopping = read(STDIN_FILENO, &byte, 1) <= 0;
            else
                serve_connection(fd, events[i].events);
        }
    }

    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    printf("{\"accepted\":%" PRIu64 ",\"open\":%" PRIu64 ",\"peak\":%" PRIu64 ",\"dropped_bytes\":%" PRIu64
           ",\"cpu_ns\":%" PRIu64 "}\n",
           accepted, open_count, peak, dropped_bytes, (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec);
    return 0;
}
